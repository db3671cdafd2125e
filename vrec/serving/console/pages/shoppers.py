"""Shoppers: profile, history, the list with its reasons, and erasure."""

from fastapi import Response

from vrec.serving.console.requests import CONSOLE, ConsoleRequest
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.http.errors import HttpProblem, request_id_of
from vrec.serving.http.lists import now_us
from vrec.serving.http.live_items import check_streams
from vrec.serving.http.schemas.requests import MAX_ID_CHARS
from vrec.serving.http.schemas.responses import mentioned_video_ids
from vrec.serving.http.user_profiles import counts_of
from vrec.serving.messages import ListResult, RecommendQuery

SHOPPERS = f"{CONSOLE}/shoppers"
LIST_LENGTH = 10
"""Videos of the list that is explained."""
HISTORY_SHOWN = 10
EVENTS_SHOWN = 30
TOP_SHOWN = 6
"""Categories, creators and tags shown, those with the most events."""
BARRED_SHOWN = 20
AFFINITIES = ("category", "creator", "tag")
"""Attributes of videos by which profiles count events."""


async def show_shopper(page: ConsoleRequest) -> Response:
    """Show the form that asks for a shopper, or the shopper it asked for."""
    user_id = page.query("user", MAX_ID_CHARS)
    if not user_id:
        return page.page("shopper.html", user_id="", profile=None, list=None)
    profile = await page.backend.profile(user_id)
    if profile is None:
        return page.page("shopper.html", 404, user_id=user_id, profile=None, list=None)
    found, unavailable = await _list_of(page, user_id)
    history = sorted(profile.history, key=lambda one: -one.at)[:HISTORY_SHOWN]
    events, _ = await page.backend.events_of(user_id, None, EVENTS_SHOWN)
    latest = events.select(["at", "kind", "video_id", "value"]).to_pylist()
    named = [one.video_id for one in history] + [one["video_id"] for one in latest]
    if found is not None:
        named += mentioned_video_ids(found) + [video_id for video_id, _ in found.barred[:BARRED_SHOWN]]
    cards = await page.backend.cards(list(dict.fromkeys(named)))
    return page.page(
        "shopper.html",
        user_id=user_id,
        profile=profile,
        list=found,
        unavailable=unavailable,
        history=history,
        latest=latest,
        titles={name: card["title"] for name, card in cards.items() if card["title"]},
        events=counts_of(profile, "event:"),
        top={name: counts_of(profile, f"{name}:")[:TOP_SHOWN] for name in AFFINITIES},
        arm=page.backend.experiment.arm_of(user_id).name,
        barred=[] if found is None else found.barred[:BARRED_SHOWN],
    )


async def _list_of(page: ConsoleRequest, user_id: str) -> tuple[ListResult | None, bool]:
    """Return the list that the shopper would get now, and whether ranking was unavailable."""
    query = RecommendQuery(
        request_id=request_id_of(page.request),
        user_id=user_id,
        surface="feed",
        k=LIST_LENGTH,
        at=now_us(),
        order=page.backend.experiment.arm_of(user_id).order,
        explain=True,
    )
    try:
        result = await page.backend.recommend(query)
        return (await check_streams(page.backend, [result])).cut(result), False
    except (BackendUnavailable, TimeoutError):
        return None, True


async def confirm_erasure(page: ConsoleRequest) -> Response:
    """Ask whether a shopper is to be erased."""
    return page.page("erase.html", user_id=page.query("user", MAX_ID_CHARS), mistyped=False)


async def erase_shopper(page: ConsoleRequest) -> Response:
    """Erase a shopper whose id was typed again."""
    user_id = page.form.get("user", "")
    if not 0 < len(user_id) <= MAX_ID_CHARS:
        raise HttpProblem(422, "invalid-form", "the form names no shopper: send it from the page")
    if page.form.get("again", "").strip() != user_id:
        return page.page("erase.html", 422, user_id=user_id, mistyped=True)
    await page.backend.erase(user_id)
    return page.moved(SHOPPERS, done="erased")


ROUTES = (
    ("GET", "/shoppers", show_shopper),
    ("GET", "/shoppers/erase", confirm_erasure),
    ("POST", "/shoppers/erase", erase_shopper),
)
