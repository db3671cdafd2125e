"""Routes of the console: sessions, form tokens and errors around its pages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException as AnyHttpException

from vrec.config.serve import ServeConfig
from vrec.core.errors import VrecError
from vrec.serving.console.languages import ConsoleLanguage, choose_language
from vrec.serving.console.pages import (
    bundles,
    catalog,
    experiments,
    health,
    overview,
    rules,
    shoppers,
    uploads,
)
from vrec.serving.console.requests import CONSOLE, ConsoleRequest, local_path_of, read_form_fields
from vrec.serving.console.sessions import (
    SESSION_COOKIE,
    SESSION_S,
    ConsoleSession,
    SessionSigner,
    claimed_key,
)
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.audit import mark_audited_as
from vrec.serving.http.errors import HttpProblem, log_error, request_id_of, to_problem
from vrec.serving.http.keys import ApiKeyring
from vrec.serving.http.routers import PageRoute, service_router
from vrec.serving.http.routes.pages import PAGE_POLICY, file_route

STATIC = Path(__file__).parent / "static"
LANGUAGE_COOKIE = "vrec-console-language"
LANGUAGE_S = 365 * 86_400
"""Seconds for which the reader's choice of a language is kept."""
SIGN_IN = f"{CONSOLE}/sign-in"
ENDED = "ended"
"""Problem of a reader who was signed in, and is no longer."""
SCOPE = "manage"
"""Scope of keys that may use the console."""
Handler = Callable[[ConsoleRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ConsoleAccess:
    """Sign-in of the console, which is one for all tenants."""

    data: str
    """Data folder with the secret that signs sessions."""
    keys: ApiKeyring | None
    """Keys of all tenants; None without keys."""


def console_routes(
    backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None, access: ConsoleAccess
) -> APIRouter:
    """Return the routes below `/console`; without API keys they need no session."""
    router, console = service_router(is_open=True), _Console(backend, config, keys, access)
    for file in sorted(STATIC.iterdir()):
        router.routes.append(
            PageRoute(f"{CONSOLE}/static/{file.name}", file_route(file), include_in_schema=False)
        )
    console.add(router, "GET", "/sign-in", _show_sign_in, is_open=True)
    console.add(router, "POST", "/sign-in", console.sign_in, is_open=True)
    console.add(router, "POST", "/sign-out", console.sign_out, is_open=True)
    console.add(router, "POST", "/language", _choose_language, is_open=True)
    for module in (overview, catalog, uploads, shoppers, rules, bundles, experiments, health):
        for method, path, handler in module.ROUTES:
            console.add(router, method, path, handler)
    console.add(router, "GET", "/{path:path}", _refuse_path)  # the last, since it matches any
    return router


class _Console:
    """State that the requests share."""

    def __init__(
        self, backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None, access: ConsoleAccess
    ) -> None:
        self._backend, self._config, self._keys = backend, config, keys
        self._all_keys = access.keys
        find = access.keys.with_handle if access.keys is not None else lambda _: None
        self._signer = SessionSigner(access.data, find)

    def add(
        self, router: APIRouter, method: str, path: str, handler: Handler, *, is_open: bool = False
    ) -> None:
        """Add a page, or the target of a form; `is_open` lets in readers without a session."""

        async def respond(request: Request) -> Response:
            page, is_new = await self._request_of(request)
            if method == "POST" and not is_open and page.signed_in:
                mark_audited_as(request, f"console{path}", page.key_name)
            try:
                response = await self._answer(page, handler, is_open=is_open)
            except (AnyHttpException, VrecError, TimeoutError) as error:
                response = _error_page(page, error)
            if is_new and SESSION_COOKIE not in response.headers.get("set-cookie", ""):
                await self._set_session(page, response, page.session)
            response.headers["content-security-policy"] = PAGE_POLICY
            # Under no-referrer, browsers hide the origin of forms, which the middleware checks.
            response.headers["referrer-policy"] = "same-origin"
            return response

        route = PageRoute(f"{CONSOLE}{path}", respond, methods=[method], include_in_schema=False)
        router.routes.append(route)

    async def _request_of(self, request: Request) -> tuple[ConsoleRequest, bool]:
        """Return the request with its session, and whether that is a new one."""
        cookie = request.cookies.get(SESSION_COOKIE, "")
        session = await asyncio.to_thread(self._signer.session, cookie) if cookie else None
        if session is not None and session.key and not self._may_manage(session.key):
            session = None
        has_ended = session is None and claimed_key(cookie) != ""
        is_new, session = session is None, session or ConsoleSession.begin()
        token = await asyncio.to_thread(self._signer.form_token, session)
        accepted = request.headers.getlist("accept-language")
        language = choose_language(request.cookies.get(LANGUAGE_COOKIE), accepted)
        page = ConsoleRequest(
            request, self._backend, self._config, language, session, token, self._keys is not None
        )
        page = replace(page, has_ended=has_ended)
        return page, is_new

    async def _answer(self, page: ConsoleRequest, handler: Handler, *, is_open: bool) -> Response:
        if not is_open and not page.signed_in:
            here = page.here if page.request.method == "GET" else CONSOLE
            return page.moved(SIGN_IN, next=here, **({"problem": ENDED} if page.has_ended else {}))
        if page.request.method != "POST":
            return await handler(page)
        form = await read_form_fields(page.request)
        if not self._signer.fits(form.pop("token", ""), page.session):
            detail = (
                "the form is of another session, which may have ended: load the page again, and repeat it"
            )
            raise HttpProblem(403, "other-session", detail)
        return await handler(replace(page, form=form))

    def _may_manage(self, handle: str) -> bool:
        key = None if self._keys is None else self._keys.with_handle(handle)
        return key is not None and SCOPE in key.scopes

    async def sign_in(self, page: ConsoleRequest) -> Response:
        """Begin a session for a key that may manage the service."""
        target = local_path_of(page.form.get("next", ""))
        key = None if self._all_keys is None else self._all_keys.find(page.form.get("key", "").strip())
        if key is None or SCOPE not in key.scopes:
            problem = "unknown" if key is None else "scope"
            return page.page("sign_in.html", 401 if key is None else 403, next=target, problem=problem)
        response = page.moved(target)
        await self._set_session(page, response, ConsoleSession.begin(key.handle))
        return response

    async def sign_out(self, page: ConsoleRequest) -> Response:
        """End the session."""
        response = page.moved(SIGN_IN, done="signed_out")
        await self._set_session(page, response, ConsoleSession.begin())
        return response

    async def _set_session(self, page: ConsoleRequest, response: Response, session: ConsoleSession) -> None:
        cookie = await asyncio.to_thread(self._signer.cookie, session)
        _set_cookie(page.request, response, SESSION_COOKIE, cookie, SESSION_S)


async def _show_sign_in(page: ConsoleRequest) -> Response:
    target = local_path_of(page.query("next"))
    problem = ENDED if page.has_ended or page.query("problem") == ENDED else ""
    return page.moved(target) if page.signed_in else page.page("sign_in.html", next=target, problem=problem)


async def _refuse_path(page: ConsoleRequest) -> Response:
    raise HttpProblem(404, "not-found", f"the console has no page {page.request.url.path}")


async def _choose_language(page: ConsoleRequest) -> Response:
    code = page.form.get("language", "")
    if code not in ConsoleLanguage.NAMES:
        raise HttpProblem(422, "invalid-form", "the console does not have this language")
    response = page.moved(local_path_of(page.form.get("next", "")))
    _set_cookie(page.request, response, LANGUAGE_COOKIE, code, LANGUAGE_S)
    return response


def _set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    # Behind a proxy that ends TLS, the service itself is reached without.
    schemes = (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=CONSOLE,
        httponly=True,
        samesite="strict",
        secure="https" in schemes,
    )


def _error_page(page: ConsoleRequest, error: Exception) -> Response:
    problem = to_problem(error)
    if problem.status_code >= 500:
        log_error(request_id_of(page.request), error)
    response = page.page("error.html", problem.status_code, problem=problem)
    response.headers.update(problem.headers or {})
    return response
