"""What a shopper does on the page, in a real browser: undo, hiding, searching, on screens of any width."""

# ruff: noqa: F401, F811 (fixtures are imported)

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.e2e.page_shop import PageService
from tests.e2e.page_tab import kinds, news, ready, recording, sent, service, tab
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser

pytestmark = NEEDS_CHROMIUM


def test_a_like_can_be_undone_before_it_is_sent(tab, service):
    page = recording(ready(tab()))
    card = page.locator("#feed .card").first
    video = card.get_attribute("data-video")
    same = page.locator(f"#feed .card[data-video={video}]")
    for name in ("Like", "Add to cart"):
        same.get_by_role("button", name=name).click()
        page.wait_for_selector("#undo", state="visible")
        assert same.locator("[aria-pressed=true]").count() == 1
        page.get_by_role("button", name="Undo").click()
        assert page.locator("#undo").is_hidden()
        news(page, "After the undo")
        assert same.locator("[aria-pressed=true]").count() == 0
    same.get_by_role("button", name="Like").click()
    news(page, "After liking")
    assert [(event["kind"], event["video_id"]) for event in page.events if event["kind"] != "impression"] == [
        ("like", video)
    ]
    counts = service.call(service.api.profile(page.input_value("#shopper-choice"))).counts
    assert "event:cart" not in counts
    same.get_by_role("button", name="Liked").click()
    assert same.locator("[aria-pressed=true]").count() == 0
    news(page, "After taking back the like of")
    assert [event["video_id"] for event in sent(page, "unlike")] == [video]
    counts = service.call(service.api.profile(page.input_value("#shopper-choice"))).counts
    assert ("event:like" in counts, counts["event:unlike"]) == (False, 1)


def test_a_video_that_does_not_interest_is_gone_and_comes_back_with_an_undo(tab):
    page = recording(ready(tab()))
    first, second = page.eval_on_selector_all("#feed .card", "all => all.map(c => c.dataset.video)")[:2]

    def hide(video):
        page.locator(f"#feed .card[data-video={video}]").get_by_role("button", name="Not interested").click()
        page.wait_for_selector(f"#feed .card[data-video={video}]", state="detached")
        assert page.evaluate("document.activeElement.id") == "feed-title"

    hide(first)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector(f"#feed .card[data-video={first}]")
    hide(second)
    news(page, "After hiding")
    assert [event["video_id"] for event in sent(page, "hide")] == [second]
    assert page.locator("#feed .card").count() == 20
    page.reload()
    ready(page)
    shown = page.eval_on_selector_all("#feed .card", "all => all.map(c => c.dataset.video)")
    assert second not in shown


def test_a_search_for_nonsense_says_that_nothing_was_found(tab):
    page = ready(tab())
    for text, found in (("qwrtzp flibbo", False), ("coffee cup", True)):
        page.fill("#search-text", text)
        page.keyboard.press("Enter")
        page.wait_for_function("() => /video|found/.test(document.getElementById('found-note').textContent)")
        note = page.text_content("#found-note")
        assert (note == f"Nothing found for “{text}”, but here is what is popular.") != found
        assert page.locator("#found-list .card").count() > 0


def test_the_line_of_news_agrees_with_the_list_and_the_categories(tab):
    page = ready(tab())
    page.click("#shopper-new")
    news(page, "Shopping as new shopper")
    before = kinds(page)
    page.locator("#feed .card").first.get_by_role("button", name="Like").click()
    line = news(page, "After liking")
    after = kinds(page)
    for count, changed, whole, name in re.findall(r"(\d+) → (\d+) of (\d+) are (\S+?)[,.]", line):
        assert (before[name], after[name], sum(after.values())) == (int(count), int(changed), int(whole))
    chips = page.eval_on_selector_all("#mix li", "all => all.map(one => one.textContent)")
    for chip in chips:
        name, count, by = re.fullmatch(r"(\S+) (\d+)([+−]\d+)?", chip).groups()
        assert after[name] == int(count)
        assert after[name] - before[name] == int((by or "0").replace("−", "-"))


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_every_field_and_button_is_on_the_screen_and_has_a_name(tab, width):
    page = ready(tab(viewport={"width": width, "height": 844}))
    page.locator("#shopper-other summary").click()
    page.locator("#feed .card").first.get_by_role("button", name="Like").click()
    page.wait_for_selector("#undo", state="visible")
    outside = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, summary, form")]
        .filter((one) => one.checkVisibility()).map((one) => [one, one.getBoundingClientRect()])
        .filter(([, box]) => box.left < 0 || box.right > innerWidth + 0.5).map(([one]) => one.outerHTML)"""
    )
    assert outside == []
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button")]
        .filter((one) => one.checkVisibility())
        .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_prices_have_a_currency_and_no_word_is_a_class_or_a_code(tab, page_shop, tmp_path):
    with PageService(page_shop, tmp_path, currency="EUR") as service:
        page = ready(tab(service.address))
        facts = page.eval_on_selector_all("#feed .facts", "all => all.map(one => one.textContent)")
        assert all(re.search(r"€\d+\.\d\d", one) for one in facts)
        text = page.inner_text("body")
        assert not re.search(r"\b(?:[A-Z][a-z]+){2,}\b|\barms?\b|embedd|\bcf\b", text)
        page.context.close()
