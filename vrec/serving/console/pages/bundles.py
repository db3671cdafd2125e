"""Bundles: the one in service, its offline figures, and the one that was refused."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Response

from vrec.serving.console.requests import ConsoleRequest

MAX_FIGURES = 60
"""Maximum number of offline figures shown of a component."""


async def show_bundles(page: ConsoleRequest) -> Response:
    """Show the bundle in service."""
    state = await page.backend.service_state()
    figures = {name: list(flat_figures(metrics))[:MAX_FIGURES] for name, metrics in state.metrics.items()}
    return page.page("bundles.html", state=state, figures=figures, data=page.config.data)


def flat_figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | str]]:
    """Yield the path and value of each number and text in metrics; lists and nulls are left out."""
    for name, value in metrics.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flat_figures(value, f"{path}.")
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield path, value


ROUTES = (("GET", "/bundles", show_bundles),)
