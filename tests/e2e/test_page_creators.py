"""Creators to follow on the page, in a real browser: following, undo, keyboard, narrow and dark screens."""

# ruff: noqa: F401, F811 (fixtures are imported)

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.e2e.page_tab import CONTRAST, news, ready, recording, sent, service, tab
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser
from vrec.profiles.user import followed_creators

pytestmark = NEEDS_CHROMIUM
ROW = "#creators-list li"


def creators(page):
    """Return the ids of the creators in the row, once it is there."""
    page.wait_for_selector(ROW)
    return page.eval_on_selector_all(ROW, "all => all.map(one => one.dataset.creator)")


def of(creator):
    return f"{ROW}[data-creator={creator}]"


def test_a_followed_creator_leaves_the_row_and_comes_back_with_an_undo(tab, service):
    page = recording(ready(tab()))
    first, second, *_ = creators(page)
    # By keyboard alone: the focus goes on to the next creator.
    page.locator(of(first)).get_by_role("button", name="Follow").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(of(first), state="detached")
    focused = "document.activeElement.closest('li')?.dataset.creator"
    assert page.evaluate(focused) == second
    page.get_by_role("button", name="Undo").press("Enter")
    page.wait_for_selector(of(first))
    page.wait_for_function(f"{focused} === '{first}'")
    assert sent(page, "follow") == []
    page.locator(of(first)).get_by_role("button", name="Follow").click()
    news(page, f"After following {first}")
    (event,) = sent(page, "follow")
    assert event["video_id"] == f"creator:{first}"
    assert 0 < event["propensity"] <= 1
    shown = [one for one in sent(page, "impression") if one["video_id"] == event["video_id"]]
    assert [one["request_id"] for one in shown if one["request_id"] == event["request_id"]]
    user = service.call(service.api.profile(page.input_value("#shopper-choice")))
    assert followed_creators(user) == {first}
    page.reload()
    ready(page)
    assert first not in creators(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_row_fits_a_narrow_screen_and_can_be_read(tab, scheme):
    page = ready(tab(viewport={"width": 390, "height": 844}, color_scheme=scheme))
    creators(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [poor for poor in page.evaluate(CONTRAST) if "creator" in poor.lower()] == []
