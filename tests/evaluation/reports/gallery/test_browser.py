"""The page in a real browser: no errors, the switch works, keys work, a phone needs no sideways scrolling."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.reports.gallery.conftest import Run
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, Window, browser, open_window, page, sync_api
from vrec.evaluation.reports.gallery.page import write_gallery

__all__ = ["browser", "page"]

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def address(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    write_gallery(run.report(), path)
    return path.as_uri()


@pytest.fixture(scope="module", params=["desk", "phone", "dark"])
def window(request: pytest.FixtureRequest, browser) -> Iterator[Window]:
    phone = request.param == "phone"
    size = (360, 740) if phone else (1280, 900)
    with open_window(
        browser, *size, dark=request.param == "dark", only_errors=True, has_touch=phone
    ) as window:
        yield window


def strip(page, video: str) -> list[str]:
    card = page.locator(".card", has=page.locator("h3")).filter(has=page.locator(f"#t{video}"))
    card.scroll_into_view_if_needed()
    card.locator(".near > li").first.wait_for()
    return card.locator(".near > li > *").evaluate_all("all => all.map(e => e.ariaLabel ?? e.textContent)")


def test_nothing_scrolls_sideways(page) -> None:
    wide, view = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= view


def test_the_switch_changes_the_look_alikes_by_keyboard(page, run: Run) -> None:
    report = run.report()
    number = next(
        i for i, v in enumerate(report.videos) if "audio" in v.neighbors and v.video_id.startswith("lamps")
    )

    def want(modality) -> list[str]:
        near = report.videos[number].neighbors[modality]
        return [f"{report.videos[i].title}, {score:.2f}" for i, score in near]

    assert strip(page, str(number)) == want("fused")
    page.locator("input[value=fused]").focus()
    page.keyboard.press("ArrowRight")
    assert strip(page, str(number)) == want("frames")
    page.keyboard.press("ArrowRight")
    assert strip(page, str(number)) == want("audio")
    assert want("fused") != want("audio")


def test_a_video_without_sound_says_so(page, run: Run) -> None:
    number = next(i for i, v in enumerate(run.report().videos) if "audio" not in v.neighbors)
    strip(page, str(number))
    page.locator("input[value=audio]").check(force=True)
    sync_api.expect(page.locator(f"#v{number} .near")).to_contain_text("no vector of this modality")


def test_the_map_answers_to_keys_and_leads_to_the_card(page) -> None:
    page.locator("#map").focus()
    assert page.locator("#tip").is_hidden()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").is_visible()
    assert page.locator("#tip img").get_attribute("src").startswith("data:image/jpeg")
    visited = {page.locator(".point.on").get_attribute("data-v")}
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
        visited.add(page.locator(".point.on").get_attribute("data-v"))
    assert len(visited) > 2
    chosen = page.locator(".point.on").get_attribute("data-v")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == f"v{chosen}"


def test_a_click_on_the_map_goes_to_the_card(page) -> None:
    point = page.locator(".point").first
    number = point.get_attribute("data-v")
    point.dispatch_event("click")
    assert page.evaluate("document.activeElement.id") == f"v{number}"
    sync_api.expect(page.locator(f"#v{number}")).to_be_in_viewport()


def test_tab_reaches_the_switch_and_the_look_alikes_and_focus_shows(page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    where = "document.activeElement.closest('.switch, .near')?.className ?? ''"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        if (place := page.evaluate(where)) and place not in reached:
            reached.add(place)
            # Strips fill as they come near the screen, which focus has just moved.
            page.locator("#v0 .near > li").first.wait_for()
    assert {"switch", "near"} <= reached
    focused = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert focused != "none"


def test_every_picture_is_drawn(page) -> None:
    broken = page.evaluate("[...document.images].filter(i => i.src && i.complete && !i.naturalWidth).length")
    assert broken == 0
