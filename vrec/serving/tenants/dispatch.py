"""ASGI application that passes each request to the application of its tenant."""

from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrec.config.serve import TenantConfig
from vrec.core.errors import VrecError
from vrec.serving.console.requests import CONSOLE
from vrec.serving.console.sessions import SESSION_COOKIE, claimed_key
from vrec.serving.http.errors import HttpProblem, log_error, problem_response
from vrec.serving.http.keys import ApiKeyring, request_secret
from vrec.serving.http.request_ids import request_id_of_headers
from vrec.serving.tenants.context import DEFAULT_TENANT, as_tenant
from vrec.serving.tenants.limits import MEDIA_PREFIX

TENANT_HEADER = "x-vrec-tenant"
"""Header of responses with the tenant that answered; the default one sends none."""


class TenantDispatcher:
    """ASGI application over those of the tenants.

    The API key alone decides: its tenant's application checks it again, among that tenant's keys only. Where
    no key can be sent, a name decides that anybody may know: of the key in the console's cookie, of the
    tenant in the address of a file, and of a page's origin before its request.
    """

    def __init__(
        self,
        find: Callable[[str], Awaitable[ASGIApp]],
        declared: Callable[[], Mapping[str, TenantConfig]],
        keys: ApiKeyring | None,
    ) -> None:
        """Build the application.

        Args:
            find: Function that returns a tenant's application, or raises VrecError if it has none now.
            declared: Function that returns the settings of all tenants but the default one.
            keys: Keys of all tenants; without keys there is only the default tenant.
        """
        self._find, self._declared, self._keys = find, declared, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        declared = self._declared()
        tenant = DEFAULT_TENANT
        if declared and self._keys is not None and scope["type"] == "http":
            tenant = _tenant_of(scope, self._keys, declared)
        with as_tenant(tenant):
            if tenant == DEFAULT_TENANT:
                await (await self._find(tenant))(scope, receive, send)
                return
            named = _named(send, tenant)
            try:
                app = await self._find(tenant)
            except VrecError as error:
                request_id = request_id_of_headers(scope["headers"])
                log_error(request_id, error)
                await problem_response(_not_served(), request_id)(scope, receive, named)
                return
            await app(scope, receive, named)


def _tenant_of(scope: Scope, keys: ApiKeyring, declared: Mapping[str, TenantConfig]) -> str:
    # As the middleware reads them, so that both see the same key.
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    path: str = scope["path"]
    if path == CONSOLE or path.startswith(f"{CONSOLE}/"):
        key = keys.with_handle(claimed_key(_session_cookie(headers.get("cookie", ""))))
    else:
        secret = request_secret(headers)
        key = keys.find_any(secret) if secret else None
        if key is None:
            return _tenant_without_key(scope, headers, declared)
    return key.tenant if key is not None and key.tenant in declared else DEFAULT_TENANT


def _tenant_without_key(
    scope: Scope, headers: Mapping[str, str], declared: Mapping[str, TenantConfig]
) -> str:
    if scope["path"].startswith(MEDIA_PREFIX):
        named = parse_qs(scope["query_string"].decode("latin-1")).get("tenant", [DEFAULT_TENANT])[0]
        return named if named in declared else DEFAULT_TENANT
    origin = headers.get("origin")
    if scope["method"] == "OPTIONS" and origin is not None:
        # A browser asks for permission without the key that it will send.
        return next((name for name, one in declared.items() if origin in one.cors_origins), DEFAULT_TENANT)
    return DEFAULT_TENANT


def _not_served() -> HttpProblem:
    # The reason may name paths of the service.
    detail = "this shop is not in service: its operator finds the reason in the service's log"
    return HttpProblem(503, "not-served", detail, headers={"Retry-After": "10"})


def _session_cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(SESSION_COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _named(send: Send, tenant: str) -> Send:
    """Return a sender that adds the tenant's name to a response."""

    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            header = (TENANT_HEADER.encode(), tenant.encode())
            message = {**message, "headers": [*message.get("headers", []), header]}
        await send(message)

    return send_named
