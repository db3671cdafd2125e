"""Catalog: list, search, play, edit, hide and show videos."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic import ValidationError

from vrec.serving.catalog.listing import CatalogQuery
from vrec.serving.catalog.versions import card_version
from vrec.serving.console.form_values import number_or_text, time_or_text
from vrec.serving.console.requests import CONSOLE, ConsoleRequest, local_path_of
from vrec.serving.deployments.protocol import Card, UnknownVideo, VideoChanged
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.lists import now_us
from vrec.serving.http.schemas.requests import ListFilters, VideoKind
from vrec.serving.http.schemas.videos import UpdateVideoRequest
from vrec.serving.messages import CatalogEdit

CATALOG = f"{CONSOLE}/catalog"
VIDEO = f"{CATALOG}/video"
PAGE_LENGTH = 25
FILTERS = ("text", "category", "creator", "tag", "kind", "available")
KINDS: tuple[VideoKind, ...] = ("product", "live", "clip")
EDITED = ("title", "kind", "creator_id", "category", "tags", "language", "price", "expires_at")
"""Fields of the form, beside `available`."""
MAX_ID_CHARS = 256


async def show_catalog(page: ConsoleRequest) -> Response:
    """Show a page of the catalog."""
    asked = {name: page.query(name, 100) for name in FILTERS}
    try:
        filters = ListFilters(
            categories=_one(asked["category"]), creators=_one(asked["creator"]), tags=_one(asked["tag"])
        )
    except ValidationError:
        raise HttpProblem(422, "invalid-request", "a filter has characters that no name has") from None
    kinds: list[VideoKind] = [kind for kind in KINDS if kind == asked["kind"]]
    common = ("console", sorted(asked.items()))
    cursor = page.query("cursor", 10_000)
    after = decode_cursor(cursor, common, str, "cursor") if cursor else ""
    available = {"yes": True, "no": False}.get(asked["available"])
    text = asked["text"] or None
    query = CatalogQuery(PAGE_LENGTH, after, filters.to_filters(kinds, []), text, available)
    found = await page.backend.videos(query, now_us())
    last = found.entries[-1].card["video_id"] if found.has_more else None
    return page.page(
        "catalog.html",
        found=found,
        asked=asked,
        kinds=KINDS,
        filtered=any(asked.values()),
        is_first=not cursor,
        next_cursor=None if last is None else encode_cursor(common, last),
    )


def _one(value: str) -> list[str]:
    return [value] if value else []


async def show_video(page: ConsoleRequest) -> Response:
    """Show a video with the form to edit it."""
    entry = await page.backend.video(_video_id(page.query("id", MAX_ID_CHARS)), now_us())
    return await _video_page(page, entry.card["video_id"], form_of(entry.card), card_version(entry.card))


async def _video_page(
    page: ConsoleRequest, video_id: str, form: Mapping[str, str], version: str, status: int = 200, **more: Any
) -> Response:
    entry = await page.backend.video(video_id, now_us())
    shared = {"problems": {}, "others": {}, "kinds": KINDS}
    values = shared | {"entry": entry, "form": form, "version": version} | more
    return page.page("video.html", status, **values)


def form_of(card: Card) -> dict[str, str]:
    """Return the fields of the form for a video; tags stand one in a line."""
    texts = {name: str(card[name]) if card[name] is not None else "" for name in EDITED}
    price, expires_at = card["price"], card["expires_at"]
    texts["tags"] = "\n".join(card["tags"] or [])
    # Prices are float32, in which 9.9 is 9.899999618530273.
    texts["price"] = "" if price is None else f"{price:.7g}"
    texts["expires_at"] = "" if expires_at is None else expires_at.strftime("%Y-%m-%dT%H:%M")
    return texts | {"available": "yes" if card["available"] else ""}


def parse_form(form: Mapping[str, str]) -> UpdateVideoRequest:
    """Return the update that a form asks for; raises ValidationError."""
    fields: dict[str, Any] = {name: form.get(name, "").strip() or None for name in EDITED}
    fields["tags"] = [tag.strip() for tag in form.get("tags", "").splitlines() if tag.strip()]
    fields["available"] = form.get("available") == "yes"
    if fields["price"] is not None:
        # JSON's numbers: strict models take no texts.
        fields["price"] = number_or_text(fields["price"])
    fields["expires_at"] = time_or_text(form.get("expires_at", ""))
    for name in ("kind", "creator_id"):
        if fields[name] is None:
            del fields[name]
    return UpdateVideoRequest.model_validate(fields)


async def save_video(page: ConsoleRequest) -> Response:
    """Store a form; show it again if a field is invalid, or if somebody else changed the video meanwhile."""
    video_id, version = _video_id(page.form.get("id", "")), page.form.get("version", "")
    form = {name: page.form.get(name, "") for name in (*EDITED, "available")}
    before = (await page.backend.video(video_id, now_us())).card
    try:
        update = parse_form(form)
    except ValidationError as error:
        problems = {str(one["loc"][0]): one["type"] for one in error.errors()}
        return await _video_page(page, video_id, form, version, 422, problems=problems)
    fields = changed_fields(update, before)
    try:
        if fields:
            await page.backend.change(CatalogEdit(video_id, "update", fields), version)
        elif card_version(before) != version:
            raise VideoChanged(video_id)
    except VideoChanged:
        return await _conflict(page, video_id, form)
    return page.moved(VIDEO, id=video_id, done="saved")


def changed_fields(update: UpdateVideoRequest, card: Card) -> dict[str, Any]:
    """Return the fields of an update that differ from the video, as a form shows them.

    A form sends all its fields: writing those that nobody changed would take them from the next bundle.
    """
    given = update.model_dump(exclude_unset=True)
    shown = form_of(card)
    new = form_of({**card, **given})
    return {name: value for name, value in given.items() if new[name] != shown[name]}


async def _conflict(page: ConsoleRequest, video_id: str, form: Mapping[str, str]) -> Response:
    """Show a form again beside what somebody else wrote; sent again, it replaces that."""
    card = (await page.backend.video(video_id, now_us())).card
    now = form_of(card)
    others = {name: now[name] for name in now if _lines(now[name]) != _lines(form[name])}
    return await _video_page(page, video_id, form, card_version(card), 412, others=others)


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


async def set_availability(page: ConsoleRequest) -> Response:
    """Hide a video, or show it again."""
    video_id, available = _video_id(page.form.get("id", "")), page.form.get("available") == "yes"
    await page.backend.change(CatalogEdit(video_id, "update", {"available": available}))
    target = local_path_of(page.form.get("next", ""))
    path, _, query = target.partition("?")
    joined = f"{path}?{query}&done=" if query else f"{path}?done="
    return page.moved(joined + ("shown" if available else "hidden"))


def _video_id(text: str) -> str:
    if not 0 < len(text) <= MAX_ID_CHARS:
        raise UnknownVideo("the address names no video")
    return text


ROUTES = (
    ("GET", "/catalog", show_catalog),
    ("GET", "/catalog/video", show_video),
    ("POST", "/catalog/video", save_video),
    ("POST", "/catalog/availability", set_availability),
)
