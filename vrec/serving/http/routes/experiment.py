"""Routes of the A/B test: read, start and stop it. Its figures are those of `/v1/arms`."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.serving.ab_test.log import PresentExperiment
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.audit import name_audited
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.conditional import IfMatchOne, named_version
from vrec.serving.http.errors import FieldProblem, HttpProblem, error_responses, request_id_of
from vrec.serving.http.keys import ApiKeyring, key_name, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.experiment import (
    ArmName,
    ExperimentRequest,
    ExperimentResponse,
    experiment_content,
)
from vrec.serving.http.schemas.responses import json_response

PATH = "/v1/experiment"
_ETAG = {"ETag": {"description": "Version of the A/B test, for If-Match.", "schema": {"type": "string"}}}
_FOUND: dict[int | str, dict[str, Any]] = {200: {"model": ExperimentResponse, "headers": _ETAG}}


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes `/v1/experiment`."""
    router = service_router("experiment", require_scope("manage", keys))
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)

    @router.get(PATH, responses={**_FOUND, **error_responses(*errors)})
    async def get_experiment() -> Response:
        """Return the A/B test in force. Its `ETag` goes into `If-Match` of a change."""
        return _response(await backend.experiment.present())

    _add_changes(router, backend, errors)
    return router


def _add_changes(router: APIRouter, backend: ServingBackend, errors: Sequence[int]) -> None:
    @router.put(
        PATH,
        responses={**_FOUND, **error_responses(412, 415, 428, *errors)},
        openapi_extra=openapi_body(ExperimentRequest),
    )
    async def put_experiment(request: Request, if_match: IfMatchOne = None) -> Response:
        """Start another A/B test in place of the version that `If-Match` names; its figures begin now. It
        holds at once in the answers of this replica, and within `serve.refresh_s` in those of all."""
        body = await read_body(request, ExperimentRequest)
        _check_condition(if_match)
        changed = await backend.experiment.change(
            body.salt,
            [arm.to_config() for arm in body.arms],
            named_version(if_match),
            by=key_name(request),
            request_id=request_id_of(request),
        )
        return _response(changed)

    @router.delete(PATH, responses={**_FOUND, **error_responses(412, 428, *errors)})
    async def stop_experiment(
        request: Request,
        winner: Annotated[ArmName, Query(description="Name of the arm that everybody gets.")],
        if_match: IfMatchOne = None,
    ) -> Response:
        """Stop the version of the A/B test that `If-Match` names: everybody gets one arm. Shoppers who are in
        this arm stay in it."""
        name_audited(request, winner=winner)
        _check_condition(if_match)
        present = await backend.experiment.present()
        arm = next((arm for arm in present.config.arms if arm.name == winner), None)
        if arm is None:
            names = ", ".join(arm.name for arm in present.config.arms)
            problem = FieldProblem(where="winner", detail=f"there is no such arm: there are {names}")
            detail = "1 query parameter is invalid: correct it and send the request again"
            raise HttpProblem(422, "invalid-request", detail, errors=[problem])
        stopped = await backend.experiment.change(
            present.config.salt,
            [arm.model_copy(update={"share": 1.0})],
            named_version(if_match),
            by=key_name(request),
            request_id=request_id_of(request),
        )
        return _response(stopped)


def _check_condition(if_match: str | None) -> None:
    if if_match is None:
        detail = "read the A/B test, and send its ETag in If-Match, so that no change is lost"
        raise HttpProblem(428, "precondition-required", detail)


def _response(present: PresentExperiment) -> Response:
    return json_response(experiment_content(present), headers={"etag": f'"{present.version}"'})
