"""Bundles: the one in service, the others with their offline figures, and moves between them."""

from fastapi import Response

from vrec.bundle.summary import summary_in_service
from vrec.serving.bundle_moves import CannotMove, MoveRuns, UnknownBundle, UnreadableBundle
from vrec.serving.console.requests import CONSOLE, ConsoleRequest
from vrec.serving.http.audit import name_audited
from vrec.serving.http.errors import to_problem

BUNDLES = f"{CONSOLE}/bundles"


async def show_bundles(page: ConsoleRequest) -> Response:
    """Show the bundle in service, and those that the shop may be moved to."""
    return await _bundles_page(page)


async def _bundles_page(page: ConsoleRequest, status: int = 200, problem: str = "") -> Response:
    state, listed = await page.backend.service_state(), await page.backend.bundles.summaries()
    return page.page(
        "bundles.html",
        status,
        state=state,
        listed=listed,
        served=summary_in_service(listed, state.uri, state.version),
        move=await page.backend.bundles.last_move(),
        is_movable=page.config.bundles is not None,
        is_missing=await page.backend.bundles.problem() is not None,
        data=page.config.data,
        problem=problem,
    )


async def move_bundle(page: ConsoleRequest) -> Response:
    """Start the move to the bundle that a form names."""
    name = page.form.get("bundle", "")[:255]
    name_audited(page.request, bundle=name)
    try:
        await page.backend.bundles.move(name)
    except (UnknownBundle, UnreadableBundle, MoveRuns, CannotMove) as error:
        return await _bundles_page(page, to_problem(error).status_code, type(error).__name__)
    return page.moved(BUNDLES, done="move_started")


ROUTES = (("GET", "/bundles", show_bundles), ("POST", "/bundles/move", move_bundle))
