"""Requests to the console: who sent them, in which language, and the forms in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response

from vrec.config.serve import ServeConfig
from vrec.serving.console.languages import ConsoleLanguage
from vrec.serving.console.rendering import link, render
from vrec.serving.console.sessions import ConsoleSession
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.errors import HttpProblem, request_id_of

CONSOLE = "/console"
"""Path of the console; those of its pages begin with it."""
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 100
"""Maximum number of fields in a form."""
FORM_PAGES = ("catalog", "shoppers", "rules", "bundles", "experiments", "sign-in")
"""Parts of the console whose first page has forms."""


@dataclass(frozen=True, eq=False)
class ConsoleRequest:
    """Request to a page of the console."""

    request: Request
    backend: ServingBackend
    config: ServeConfig
    language: ConsoleLanguage
    session: ConsoleSession
    token: str
    """Token of the session's forms."""
    has_keys: bool
    """Whether the service has API keys."""
    has_ended: bool = False
    """Whether the reader was signed in, and is no longer."""
    form: Mapping[str, str] = field(default_factory=dict)
    """Fields of the form; {} for a request without one."""

    @property
    def signed_in(self) -> bool:
        """True if the reader may use the console."""
        return not self.has_keys or self.session.key != ""

    @property
    def key_name(self) -> str | None:
        """Name of the session's API key; None without keys."""
        return self.session.key.partition("@")[0] or None

    def query(self, name: str, most: int = 500) -> str:
        """Return the first characters of a query parameter, stripped of spaces; "" if it is absent."""
        return self.request.query_params.get(name, "").strip()[:most]

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page made from a template."""
        shared = {
            "page": self,
            "path": self.request.url.path,
            "here": self.here,
            "currency": self.config.currency,
            "money_text": lambda value: self.language.money(value, self.config.currency),
            "done": self.query("done", 20),
            "request_id": request_id_of(self.request),
        }
        return Response(
            render(template, self.language, shared | values), status, media_type="text/html; charset=utf-8"
        )

    @property
    def here(self) -> str:
        """Path and query of this page, without the message of what was done; for a form, the page of its part
        of the console, as the target of a form cannot be loaded."""
        if self.request.method == "POST":
            part = self.request.url.path.removeprefix(f"{CONSOLE}/").partition("/")[0]
            return f"{CONSOLE}/{part}" if part in FORM_PAGES else CONSOLE
        given = {name: value for name, value in self.request.query_params.items() if name != "done"}
        return link(self.request.url.path, **given)

    def moved(self, path: str, **query: Any) -> Response:
        """Return a redirection after a form, to a page that can be loaded again."""
        return Response(status_code=303, headers={"location": link(path, **query)})


async def read_form_fields(request: Request) -> dict[str, str]:
    """Return the fields of a form; raise HttpProblem if it is none, or a field stands in it twice."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != FORM_TYPE:
        raise HttpProblem(415, "unsupported-media-type", f"send the form as {FORM_TYPE}")
    try:
        pairs = parse_qsl(
            (await request.body()).decode(),
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise HttpProblem(422, "invalid-form", "the form cannot be read: send it from the page") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise HttpProblem(422, "invalid-form", "a field of the form is there twice: send it from the page")
    return fields


def local_path_of(target: str) -> str:
    """Return a path of the console that a form names, or that of its first page for any other address."""
    plain = target.startswith((f"{CONSOLE}/", f"{CONSOLE}?")) and not any(ord(one) < 33 for one in target)
    return target if plain and "\\" not in target and "//" not in target.partition("?")[0] else CONSOLE
