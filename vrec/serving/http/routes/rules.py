"""Routes of the shop's rules: read, put, remove, and see what a change would do."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.backends import ExperimentBackend, RuleExpectation
from vrec.serving.deployments.protocol import BackendUnavailable, ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body, read_json, validate_body
from vrec.serving.http.errors import HttpProblem, error_responses, request_id_of
from vrec.serving.http.keys import ApiKeyring, key_name, require_scope
from vrec.serving.http.lists import now_us
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.responses import json_response
from vrec.serving.http.schemas.rules import (
    RULE_BODY,
    RULE_MODELS,
    RuleHistoryResponse,
    RuleId,
    RulePreviewRequest,
    RulePreviewResponse,
    RuleResponse,
    RulesResponse,
    changed_body,
    previewed_list,
    to_micros,
    to_rule,
)
from vrec.serving.messages import RecommendQuery
from vrec.serving.rules.book import RuleChange, RuleVersion, ShopRule
from vrec.serving.rules.errors import UnknownRule

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
IfMatch = Annotated[
    str | None, Header(alias="If-Match", max_length=200, pattern=r'^(\*|(W/)?"[^"]*"( *, *(W/)?"[^"]*")*)$')
]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", pattern=r"^\*$")]


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes below `/v1/rules`."""
    router = service_router("rules", require_scope("manage", keys))
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)
    _add_reading(router, backend, errors)
    _add_changes(router, backend, errors)

    @router.post(
        "/v1/rules:preview",
        responses={200: {"model": RulePreviewResponse}, **error_responses(404, 415, *errors)},
        openapi_extra=openapi_body(RulePreviewRequest),
    )
    async def preview_rule(request: Request) -> Response:
        """Return what a rule, or its removal, changes for some shoppers. Nothing is stored or counted."""
        body = await read_body(request, RulePreviewRequest)
        rule = None if body.rule is None else to_rule(body.rule_id, body.rule)
        if rule is None and body.rule_id not in (await backend.rules.book()).versions:
            raise UnknownRule(f"there is no rule {body.rule_id}")
        queries = _queries(body, backend.experiment, request_id_of(request))
        lists = await backend.rules.preview(queries, body.rule_id, rule)
        shown = [previewed_list(query.user_id, *pair) for query, pair in zip(queries, lists, strict=True)]
        return json_response({"changed": sum(one["before"] != one["after"] for one in shown), "lists": shown})

    return router


def _add_reading(router: APIRouter, backend: ServingBackend, errors: Sequence[int]) -> None:
    @router.get("/v1/rules", responses={200: {"model": RulesResponse}, **error_responses(*errors)})
    async def list_rules() -> Response:
        """Return all rules by id, those that ended too."""
        book = await backend.rules.book()
        known = await _known_videos(backend, book.versions.values())
        return json_response({"rules": [_content(one, known) for one in book.versions.values()]})

    @router.get(
        "/v1/rules/{rule_id}",
        responses={200: {"model": RuleResponse, "headers": _ETAG}, **error_responses(404, *errors)},
    )
    async def get_rule(rule_id: Annotated[RuleId, Path()]) -> Response:
        """Return a rule. Its `ETag` goes into `If-Match` of a change."""
        version = (await backend.rules.book()).versions.get(rule_id)
        if version is None:
            raise UnknownRule(f"there is no rule {rule_id}")
        return await _rule_response(backend, version, 200)

    @router.get(
        "/v1/rules/{rule_id}/history",
        responses={200: {"model": RuleHistoryResponse}, **error_responses(404, *errors)},
    )
    async def get_rule_history(rule_id: Annotated[RuleId, Path()]) -> Response:
        """Return all changes of a rule, also of one that was removed: what, when and by whom."""
        versions = await backend.rules.history(rule_id)
        if not versions:
            raise UnknownRule(f"there never was a rule {rule_id}")
        content = [
            {**changed_body(one.change, one.number), "request_id": one.change.request_id} for one in versions
        ]
        return json_response({"rule_id": rule_id, "versions": content})


def _add_changes(router: APIRouter, backend: ServingBackend, errors: Sequence[int]) -> None:
    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": RuleResponse, "headers": _ETAG},
        201: {"model": RuleResponse, "headers": _ETAG},
        **error_responses(409, 412, 415, 428, *errors),
    }

    @router.put(
        "/v1/rules/{rule_id}", status_code=201, responses=responses, openapi_extra=openapi_body(*RULE_MODELS)
    )
    async def put_rule(
        request: Request,
        rule_id: Annotated[RuleId, Path()],
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Create a rule, or replace the version of it that `If-Match` names. It holds at once in the answers
        of this replica, and within `serve.refresh_s` in those of all."""
        rule = to_rule(rule_id, validate_body(await read_json(request), RULE_BODY))
        expected = _expectation(if_match, if_none_match)
        if expected is None:
            if rule_id in (await backend.rules.book()).versions:
                raise _unconditional(rule_id)
            expected = "absent"
        version = await backend.rules.change(_change(request, rule_id, rule), expected)
        return await _rule_response(backend, version, 201 if expected == "absent" else 200)

    @router.delete(
        "/v1/rules/{rule_id}",
        status_code=204,
        response_class=Response,
        responses=error_responses(404, 412, 428, *errors),
    )
    async def remove_rule(
        request: Request, rule_id: Annotated[RuleId, Path()], if_match: IfMatch = None
    ) -> Response:
        """Remove the version of a rule that `If-Match` names; its history stays."""
        expected = _expectation(if_match, None)
        if expected is None:
            if rule_id not in (await backend.rules.book()).versions:
                raise UnknownRule(f"there is no rule {rule_id}")
            raise _unconditional(rule_id)
        await backend.rules.change(_change(request, rule_id, None), expected)
        return Response(status_code=204)


_ETAG = {"ETag": {"description": "Version of the rule, for If-Match.", "schema": {"type": "string"}}}


def _expectation(if_match: str | None, if_none_match: str | None) -> RuleExpectation | None:
    """Return the versions that a request's conditions name; None without conditions."""
    if if_match is None:
        return None if if_none_match is None else "absent"
    if if_match == "*":
        return "any" if if_none_match is None else frozenset()
    tags = _TAG.findall(if_match)
    # A tag of something else matches no version.
    return frozenset(int(tag) for tag in tags if tag.isdecimal() and len(tag) < 19)


def _unconditional(rule_id: str) -> HttpProblem:
    detail = f"the rule {rule_id} exists: read it, and send its ETag in If-Match, so that no change is lost"
    return HttpProblem(428, "precondition-required", detail)


def _change(request: Request, rule_id: str, rule: ShopRule | None) -> RuleChange:
    return RuleChange(rule_id, rule, key_name(request), now_us(), request_id_of(request))


async def _rule_response(backend: ServingBackend, version: RuleVersion, status: int) -> Response:
    content = _content(version, await _known_videos(backend, [version]))
    return json_response(content, status, {"etag": f'"{version.number}"'})


async def _known_videos(backend: ServingBackend, versions: Iterable[RuleVersion]) -> Collection[str] | None:
    """Return those of the videos that rules name which the catalog has; None if that is not known now."""
    rules = (one.change.rule for one in versions)
    names = dict.fromkeys(name for rule in rules if rule is not None for name in rule.video_ids)
    try:
        return await backend.cards(list(names)) if names else ()
    except (BackendUnavailable, TimeoutError):
        return None


def _content(version: RuleVersion, known: Collection[str] | None) -> dict[str, Any]:
    """Return a RuleResponse as a dict."""
    rule = version.change.rule
    assert rule is not None  # books have the rules that exist
    state = rule.state(now_us())
    unknown = [] if known is None else [name for name in rule.video_ids if name not in known]
    changed = changed_body(version.change, version.number)
    return {"rule_id": rule.rule_id, "state": state, **changed, "unknown": unknown}


def _queries(
    body: RulePreviewRequest, experiment: ExperimentBackend, request_id: str
) -> list[RecommendQuery]:
    """Return the requests of a preview's lists."""
    at, filters = to_micros(body.at) or now_us(), body.filters.to_filters(body.kinds, [])
    return [
        RecommendQuery(
            request_id=request_id,
            user_id=user_id,
            surface=body.surface,
            k=body.k,
            at=at,
            filters=filters,
            order=experiment.arm_of(user_id).order,
        )
        for user_id in dict.fromkeys(body.shoppers)
    ]
