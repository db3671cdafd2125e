"""FastAPI application of the service over a ServingBackend."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

import vrec
from vrec.config.serve import ServeConfig, TenantLimits
from vrec.serving.budgets.middleware import BudgetMiddleware
from vrec.serving.console.app import ConsoleAccess, console_routes
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.door.backend import behind_door, open_door
from vrec.serving.http.audit import AuditMiddleware
from vrec.serving.http.compression import CompressionMiddleware
from vrec.serving.http.cors import BrowserAccessMiddleware
from vrec.serving.http.errors import ProblemDocument, install_error_handlers
from vrec.serving.http.head import add_head_methods, without_head
from vrec.serving.http.keys import ApiKeyring
from vrec.serving.http.middleware import SecurityMiddleware
from vrec.serving.http.routers import add_routes
from vrec.serving.http.routes import (
    assistant,
    audit,
    batches,
    bulk,
    bundles,
    catalog,
    consents,
    creators,
    events,
    experiment,
    hand_overs,
    links,
    moments,
    pages,
    recommendations,
    records,
    rules,
    streams,
    trends,
    users,
)
from vrec.serving.http.schemas.assistant import ASSISTANT_BODY, AssistantForm
from vrec.serving.http.schemas.batches import BatchRequest
from vrec.serving.http.schemas.bundles import MoveBundleRequest
from vrec.serving.http.schemas.consents import ConsentRequest
from vrec.serving.http.schemas.events import EVENTS_BODY
from vrec.serving.http.schemas.experiment import ExperimentRequest
from vrec.serving.http.schemas.links import LinkRequest
from vrec.serving.http.schemas.moments import ExampleForm, MomentsRequest
from vrec.serving.http.schemas.requests import RECOMMEND_BODY, SearchRequest
from vrec.serving.http.schemas.rules import RULE_MODELS, RulePreviewRequest
from vrec.serving.http.schemas.slots import SLOTS_BODY
from vrec.serving.http.schemas.streams import BeatRequest, BeatsRequest, StreamRequest
from vrec.serving.http.schemas.users import JoinSessionRequest
from vrec.serving.http.schemas.videos import (
    AddVideoRequest,
    BulkVideoRow,
    UpdateVideoRequest,
    UploadVideoForm,
)
from vrec.serving.observability.metrics import metrics_recorder
from vrec.serving.tenants.context import DEFAULT_TENANT
from vrec.serving.tenants.limits import TenantLimitsMiddleware

_BODY_MODELS: tuple[TypeAdapter[Any], ...] = (
    EVENTS_BODY,
    RECOMMEND_BODY,
    SLOTS_BODY,
    ASSISTANT_BODY,
    *(TypeAdapter(model) for model in (SearchRequest, AddVideoRequest, UploadVideoForm, UpdateVideoRequest)),
    *(
        TypeAdapter(model)
        for model in (
            BulkVideoRow,
            *RULE_MODELS,
            RulePreviewRequest,
            JoinSessionRequest,
            BatchRequest,
            StreamRequest,
            BeatRequest,
            BeatsRequest,
            LinkRequest,
            ConsentRequest,
        )
    ),
    TypeAdapter(MoveBundleRequest),
    TypeAdapter(MomentsRequest),
    TypeAdapter(ExampleForm),
    TypeAdapter(AssistantForm),
    TypeAdapter(ExperimentRequest),
)
"""Bodies that routes read themselves, of which FastAPI therefore does not know."""

_ROUTED = (
    recommendations,
    assistant,
    moments,
    hand_overs,
    trends,
    events,
    consents,
    records,
    users,
    catalog,
    bulk,
    streams,
    links,
    creators,
    rules,
    batches,
    bundles,
    experiment,
    audit,
)
"""Modules of routes, in the order in which paths are matched: ids of shoppers may have slashes."""


@dataclass(frozen=True, slots=True)
class TenantHttp:
    """Tenant whose requests an application answers."""

    name: str
    limits: TenantLimits
    service_data: str
    """Data folder of the service, with the secret that signs sessions of the console."""


def create_app(
    backend: ServingBackend,
    config: ServeConfig,
    *,
    metrics: Callable[[], bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    tenant: TenantHttp | None = None,
) -> FastAPI:
    """Create the application.

    Args:
        backend: The service that answers the requests.
        config: Settings of `vrec serve`.
        metrics: Returns the text of `/metrics` in Prometheus's format; None leaves that route out.
        environment: Environment variables that hold the API keys; by default those of the process.
        tenant: Tenant whose keys are accepted; None for the default one.

    Raises:
        ServeError: The API keys are invalid.
        PrivacyError: A key of pseudonyms is missing or short.
    """
    security, environment = config.security, os.environ if environment is None else environment
    name = DEFAULT_TENANT if tenant is None else tenant.name
    backend = behind_door(backend, open_door(config, name, environment))
    keys = ApiKeyring.from_environment(
        environment, security.keys_variable, security.shopper_secrets_variable, name
    )
    # The page to sign in is one for all tenants: which one's console opens depends on the key.
    console = ConsoleAccess(
        config.data if tenant is None else tenant.service_data,
        ApiKeyring.from_environment(environment, security.keys_variable, tenant=None),
    )
    # FastAPI's documentation pages are off: they load scripts from other hosts.
    app = FastAPI(title="vrec", version=vrec.__version__, docs_url=None, redoc_url=None)
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(AuditMiddleware, backend=backend, has_keys=keys is not None)
    app.add_middleware(
        BudgetMiddleware,
        config=config.budgets,
        recorder=metrics_recorder,
        tenant_ms_per_second=None if tenant is None else tenant.limits.cpu_ms_per_second,
    )
    if tenant is not None:
        app.add_middleware(TenantLimitsMiddleware, limits=tenant.limits)
    app.add_middleware(SecurityMiddleware, keys=keys, config=security)
    if security.cors_origins:
        # Outermost, so that a page can read refusals too.
        app.add_middleware(BrowserAccessMiddleware, origins=security.cors_origins)
    routers = [module.routes(backend, config, keys) for module in _ROUTED]
    routers += [
        pages.routes(backend, config, keys, metrics),
        console_routes(backend, config, keys, console),
    ]
    for router in routers:
        add_head_methods(router)
        add_routes(app, router)
    install_error_handlers(app, [route for router in routers for route in router.routes])
    app.openapi = _openapi(app, config.own_kinds)
    return app


def _openapi(app: FastAPI, own_kinds: Collection[str]) -> Callable[[], dict[str, Any]]:
    """Return a function that returns the OpenAPI document, including the models of `_BODY_MODELS`.

    The shop's own kinds of events are among the kinds.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _, definitions = TypeAdapter.json_schemas(
                [
                    *((number, "validation", body) for number, body in enumerate(_BODY_MODELS)),
                    ("problem", "serialization", TypeAdapter(ProblemDocument)),
                ],
                ref_template="#/components/schemas/{model}",
            )
            definitions["$defs"]["EventKind"]["enum"] += list(own_kinds)
            document = get_openapi(title=app.title, version=app.version, routes=without_head(app.routes))
            document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
            app.openapi_schema = document
        return app.openapi_schema

    return openapi
