"""Routes of the links of shoppers to their accounts in other domains."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.profiles.links import LinkTaken
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import FieldProblem, HttpProblem, error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.lists import now_us
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.links import (
    LinkedDomainsResponse,
    LinkRequest,
    LinkResponse,
    LinksResponse,
    ListLinksQuery,
    link_body,
)
from vrec.serving.http.schemas.requests import Domain, UserId
from vrec.serving.http.schemas.responses import json_response


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes below `/v1/links`, and `/v1/linked-domains`."""
    router, manage = service_router("links"), require_scope("manage", keys)
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)
    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": LinkResponse, "description": "It held before, and is as it was."},
        201: {"model": LinkResponse, "description": "It holds from now on."},
        **error_responses(409, 415, *errors),
    }

    @router.put(
        "/v1/links/{domain}/{user_id:id}",
        responses=responses,
        openapi_extra=openapi_body(LinkRequest),
        dependencies=manage,
    )
    async def put_link(
        request: Request, domain: Annotated[Domain, Path()], user_id: Annotated[UserId, Path()]
    ) -> Response:
        """Link a shopper to the account in another domain: what the account does there, before and after,
        counts in the shopper's next list, with the weight that the bundle has learned for the domain."""
        body = await read_body(request, LinkRequest)
        try:
            link, is_new = await backend.links.put(body.to_link(user_id, domain, now_us()))
        except LinkTaken as error:
            problem = FieldProblem(where="domain" if error.is_own else "other_user_id", detail=str(error))
            raise HttpProblem(409, "link-taken", f"{error}. Fix: {error.fix}", errors=[problem]) from None
        return json_response(link_body(link), 201 if is_new else 200)

    @router.delete(
        "/v1/links/{domain}/{user_id:id}",
        responses={200: {"model": LinkResponse}, **error_responses(404, *errors)},
        dependencies=manage,
    )
    async def revoke_link(domain: Annotated[Domain, Path()], user_id: Annotated[UserId, Path()]) -> Response:
        """Revoke a link: from the next list on everything is as if it had never been. Revoking it again
        changes nothing."""
        return json_response(link_body(await backend.links.revoke(user_id, domain, now_us())))

    _add_reading(router, backend, keys, errors)
    return router


def _add_reading(
    router: APIRouter, backend: ServingBackend, keys: ApiKeyring | None, errors: Sequence[int]
) -> None:
    @router.get(
        "/v1/links",
        responses={200: {"model": LinksResponse}, **error_responses(*errors)},
        dependencies=require_scope("manage", keys),
    )
    async def list_links(query: Annotated[ListLinksQuery, Query()]) -> Response:
        """Return the links of a shopper, or a page of those of all, revoked ones too. Over all pages they are
        a LINKS table for `vrec fit --links`; one that changes meanwhile may come again."""
        if query.user_id is not None:
            found, following = await backend.links.of(query.user_id), 0
        else:
            after = 0 if query.cursor is None else decode_cursor(query.cursor, ("list_links",), int, "cursor")
            found, following = await backend.links.after(after, query.limit)
        more = encode_cursor(("list_links",), following) if following else None
        return json_response({"links": [link_body(link) for link in found], "next_cursor": more})

    @router.get(
        "/v1/linked-domains",
        responses={200: {"model": LinkedDomainsResponse}, **error_responses(*errors)},
        dependencies=require_scope("read", keys),
    )
    async def list_linked_domains(user_id: Annotated[UserId, Query()]) -> Response:
        """Return the domains to which a link of the shopper holds, without the accounts there: those for
        which events of the shopper may be `linked`."""
        held = [link.other_domain for link in await backend.links.of(user_id) if link.revoked_at is None]
        domains = [{"domain": name, "counts": backend.links.counts(name)} for name in held]
        return json_response({"user_id": user_id, "domains": domains})
