"""The FastAPI application of the service, over nodes that it awaits and otherwise knows nothing of."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

import vrec
from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http import errors as problems
from vrec.serving.http.keys import ApiKeyring
from vrec.serving.http.middleware import SecurityMiddleware
from vrec.serving.http.routes import catalog as catalogue
from vrec.serving.http.routes import events, pages
from vrec.serving.http.routes import recommendations as lists
from vrec.serving.http.schemas.requests import (
    AddVideoRequest,
    EventRequest,
    EventsRequest,
    RecommendRequest,
    SearchRequest,
    UpdateVideoRequest,
    UploadVideoForm,
)


def create_app(
    nodes: ServingBackend,
    config: ServeConfig,
    *,
    metrics: Callable[[], bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> FastAPI:
    """The application over the nodes; `metrics` gives Prometheus's text for `/metrics`, and `environment`,
    that of the process by default, holds the keys. Raises ServeError for keys that cannot be."""
    keys = ApiKeyring.from_environment(
        os.environ if environment is None else environment, config.security.keys_variable
    )
    # No pages of documentation: they would load scripts from elsewhere.
    app = FastAPI(title="vrec", version=vrec.__version__, docs_url=None, redoc_url=None)
    app.add_middleware(SecurityMiddleware, keys=keys, config=config.security)
    routers = [part.routes(nodes, config, keys) for part in (lists, events, catalogue)]
    routers.append(pages.routes(nodes, config, keys, metrics))
    for router in routers:
        app.include_router(router)
    problems.install_error_handlers(app, [route for router in routers for route in router.routes])
    app.openapi = _document(app)
    return app


def _document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """A function that gives the OpenAPI document, with the models of bodies that routes read themselves."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            models = (
                EventRequest,
                EventsRequest,
                RecommendRequest,
                SearchRequest,
                AddVideoRequest,
                UploadVideoForm,
                UpdateVideoRequest,
            )
            _, more = models_json_schema(
                [*((model, "validation") for model in models), (problems.ProblemDocument, "serialization")],
                ref_template="#/components/schemas/{model}",
            )
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            found.setdefault("components", {}).setdefault("schemas", {}).update(more["$defs"])
            app.openapi_schema = found
        return app.openapi_schema

    return document
