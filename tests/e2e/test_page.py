"""The page at / in a real browser, over the real deployments."""

# ruff: noqa: F401, F811 (fixtures are imported)

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.e2e.page_shop import PageService
from tests.e2e.page_tab import CONTRAST, kinds, news, ready, recording, sent, service, tab
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser
from vrec.core.errors import StoreError
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.http.keys import create_key

pytestmark = NEEDS_CHROMIUM


def test_the_feed_turns_to_what_a_new_shopper_clicks_watches_and_likes(tab, service):
    page = recording(ready(tab()))
    page.click("#shopper-new")
    news(page, "Shopping as new shopper")
    before = kinds(page)
    assert sum(before.values()) == 20
    kind = min((one for one in before if before[one] > 2), key=before.get)
    # Cards move, so a position does not identify a card.
    card = f"#feed .card[data-category={kind}]:has([data-act=like][aria-pressed=false])"
    for _ in range(3):
        page.locator(card).first.get_by_role("button", name="Watch").click()
        page.wait_for_function("() => Number(document.getElementById('player-seconds').textContent) > 0.3")
        page.locator("#player").get_by_role("button", name="Like").click()
        news(page, "After liking")
        page.keyboard.press("Escape")
        change = news(page, "After watching")
    after = kinds(page)
    assert after[kind] > before[kind]
    liked = {event["video_id"] for event in sent(page, "like")}
    marked = page.eval_on_selector_all(
        "#feed [data-act=like][aria-pressed=true]", "all => all.map(b => b.closest('li').dataset.video)"
    )
    videos = page.eval_on_selector_all("#feed .card", "all => all.map(card => card.dataset.video)")
    assert set(marked) == liked & set(videos)
    shopper = page.input_value("#shopper-choice")
    counts = service.call(service.api.profile(shopper)).counts
    assert (counts["event:click"], counts["event:watch"], counts["event:like"]) == (3, 3, 3)
    assert all(0.1 < event["value"] < 20 for event in sent(page, "watch"))
    clicks = sent(page, "click")
    assert all({"position", "request_id", "propensity"} <= event.keys() for event in clicks)
    # The line agrees with the list.
    for count, of, name in re.findall(r"→ (\d+) of (\d+) are ([a-z]+)", change):
        assert (after[name], sum(after.values())) == (int(count), int(of))
    chips = page.eval_on_selector_all(
        "#mix li", "all => all.map(li => li.firstChild.data.trim() + li.querySelector('b').textContent)"
    )
    assert set(chips) == {f"{name}{n}" for name, n in after.items()}
    assert any("You see this" in why for why in page.locator("#feed .card .why").all_text_contents())


def test_cards_half_in_view_are_impressions_of_their_answer_and_play(tab):
    page = recording(ready(tab(reduced_motion="no-preference")))
    page.wait_for_function(
        "() => [...document.querySelectorAll('#feed video')].some(v => !v.paused && v.currentTime > 0)"
    )
    playing = page.eval_on_selector_all("#feed video", "all => all.map(v => !v.paused)")
    assert playing[0]
    assert not playing[-1]
    page.wait_for_function("() => document.getElementById('foot-events').textContent !== '0'")
    seen = sent(page, "impression")
    first = page.eval_on_selector("#feed .card", "card => card.dataset.video")
    assert seen[0]["video_id"] == first
    assert seen[0]["position"] == 0
    assert len({event["request_id"] for event in seen}) == 1
    assert len(seen) < 20
    page.click("#previews")
    assert not any(page.eval_on_selector_all("#feed video", "all => all.map(v => !v.paused)"))


def test_cart_and_purchase_count_and_what_is_bought_goes(tab, service):
    page = ready(tab())
    card = page.locator("#feed .card").first
    video = card.get_attribute("data-video")
    card.get_by_role("button", name="Add to cart").click()
    news(page, "After adding to the cart")
    card = page.locator(f"#feed .card[data-video={video}]")
    assert card.get_by_role("button", name="In cart").get_attribute("aria-pressed") == "true"
    card.get_by_role("button", name="Buy").click()
    news(page, "After buying")
    assert page.locator(f"#feed .card[data-video={video}]").count() == 0
    counts = service.call(service.api.profile(page.input_value("#shopper-choice"))).counts
    assert (counts["event:cart"], counts["event:purchase"]) == (1, 1)


def test_what_was_watched_counts_though_the_page_goes_away(tab, service):
    page = ready(tab())
    shopper = page.input_value("#shopper-choice")
    page.get_by_role("button", name="Watch").first.click()
    page.wait_for_function("() => Number(document.getElementById('player-seconds').textContent) > 0.3")
    page.goto("about:blank")
    for _ in range(100):
        profile = service.call(service.api.profile(shopper))
        if profile is not None and "event:watch" in profile.counts:
            break
        page.wait_for_timeout(100)
    assert profile.counts["event:watch"] == 1


def test_events_that_could_not_be_kept_are_sent_again_and_count_once(tab, service):
    page = ready(tab())
    service.profiles.broken = StoreError("no room")
    try:
        page.locator("#feed .card").first.get_by_role("button", name="Like").click()
        page.wait_for_selector("#trouble", state="visible")
        page.wait_for_function(
            "() => document.getElementById('foot-events').textContent.includes('to be sent')"
        )
    finally:
        service.profiles.broken = None
    page.wait_for_function("() => /^[1-9][0-9]*$/.test(document.getElementById('foot-events').textContent)")
    page.wait_for_selector("#trouble", state="hidden")
    counts = service.call(service.api.profile(page.input_value("#shopper-choice"))).counts
    assert counts["event:like"] == 1
    assert all("503" in text for text in page.wrong)
    page.wrong.clear()


def test_where_a_file_is_missing_the_card_says_so(tab, page_shop):
    first = ready(tab())
    video = first.locator("#feed .card").first.get_attribute("data-video")
    # A file that is removed during its transfer is an interrupted one, not a missing one.
    first.wait_for_load_state("networkidle")
    first.close()
    (file,) = page_shop.unknown.parents[1].rglob(f"{video}.mp4")
    moved = file.rename(file.with_suffix(".away"))
    try:
        page = ready(tab())
        card = page.locator(f"#feed .card[data-video={video}]")
        card.locator(".picture.missing").wait_for()
        card.get_by_role("button", name="Watch").click()
        page.wait_for_selector("#player-none", state="visible")
        page.keyboard.press("Escape")
    finally:
        moved.rename(file)
    assert all("404" in text for text in page.wrong)
    page.wrong.clear()


def test_search_and_similar(tab):
    page = ready(tab())
    page.fill("#search-text", "mug")
    page.keyboard.press("Enter")
    page.wait_for_selector("#found-list .card")
    assert "mug" in page.text_content("#found-title")
    card = page.locator("#found-list .card").first
    assert card.get_attribute("data-category") == "mugs"
    name = card.locator("h3").text_content()
    card.get_by_role("button", name="Similar").click()
    page.wait_for_function(
        "() => document.getElementById('found-title').textContent.startsWith('Similar to')"
    )
    assert name in page.text_content("#found-title")
    page.wait_for_selector("#found-list .card")
    assert page.locator("#found-list .card h3", has_text=name).count() == 0
    page.click("#found-close")
    assert page.locator("#found").is_hidden()
    assert page.evaluate("document.activeElement.id") == "feed-title"


def test_an_upload_is_found_recommended_and_similar(tab, page_shop):
    page = ready(tab())
    page.set_input_files("#upload [name=file]", page_shop.unknown)
    page.fill("#upload [name=title]", "A speckled quokka mug")
    page.fill("#upload [name=category]", "mugs")
    page.get_by_role("button", name="Add video", exact=True).click()
    page.wait_for_function(
        "() => document.getElementById('upload-seen').textContent.split('Position').length === 4"
    )
    seen = page.text_content("#upload-seen")
    assert "recommendations for this shopper" in seen
    assert "Position 1 of" in seen
    page.click("#upload-similar")
    page.wait_for_selector("#found-list .card")
    assert page.locator("#found-list .card").first.get_attribute("data-category") == "mugs"


def test_an_unusable_upload_is_refused_without_a_class_name(tab, tmp_path):
    page = ready(tab())
    (tmp_path / "words.mp4").write_text("not a video " * 100)
    page.set_input_files("#upload [name=file]", tmp_path / "words.mp4")
    page.fill("#upload [name=title]", "Words")
    page.get_by_role("button", name="Add video", exact=True).click()
    page.wait_for_function(
        "() => /The file is text/.test(document.getElementById('upload-state').textContent)"
    )
    assert page.text_content("#upload-state").startswith("The file is text. Fix: ")
    assert page.locator("#upload-seen li").count() == 0
    # The browser logs every error response.
    assert all("422" in text for text in page.wrong)
    page.wrong.clear()


def test_by_keyboard_alone(tab):
    page = ready(tab())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the feed"
    page.keyboard.press("Enter")
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid"
        if reached[-1] == "Watch":
            break
    assert reached[-1] == "Watch"
    page.keyboard.press("Enter")
    page.wait_for_selector("#player[open]")
    assert page.evaluate("document.getElementById('player').contains(document.activeElement)")
    page.keyboard.press("Escape")
    page.wait_for_selector("#player", state="hidden")
    news(page, "After watching")
    assert page.evaluate("document.activeElement.textContent") == "Watch"
    page.keyboard.press("Tab")
    video = page.evaluate("document.activeElement.closest('li').dataset.video")
    page.keyboard.press("Space")
    news(page, "After liking")
    # If the liked video has left the list, the heading of the list has the focus.
    stays = page.locator(f"#feed .card[data-video={video}]").count()
    assert page.evaluate("document.activeElement.textContent") == ("Liked" if stays else "For you")


def test_no_sideways_scroll_on_a_phone(tab):
    page = ready(tab(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True))
    page.locator("#shopper-other summary").click()
    form, field = (page.locator(f"#shopper-other {one}").bounding_box() for one in ("form", "input"))
    assert form["x"] >= 0
    assert form["x"] + form["width"] <= 360
    assert field["x"] + field["width"] <= form["x"] + form["width"]
    page.locator("#shopper-other summary").click()
    page.get_by_role("button", name="Similar").first.click()
    page.wait_for_selector("#found-list .card")
    page.locator("#arms summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Watch").first.click()
    page.wait_for_selector("#player[open]")
    box = page.locator("#player").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    page.keyboard.press("Escape")


def test_a_degraded_list_says_so(tab, service):
    service.ranking.broken = BackendUnavailable("killed")
    try:
        page = ready(tab())
        assert "Ranking is unavailable" in page.text_content("#degraded")
        assert page.locator("#feed .figures:visible").count() == 0
    finally:
        service.ranking.broken = None
    # The page retries until ranking is back.
    page.wait_for_selector("#degraded", state="hidden")
    assert page.locator("#feed .figures:visible").count() == 20


def test_the_results_of_the_a_b_test_are_drawn_and_listed(tab, service):
    service.add_other_shoppers()
    page = ready(tab())
    page.locator("#arms").scroll_into_view_if_needed()
    page.wait_for_selector("#charts svg .mark")
    assert page.locator("#charts figure").count() == 3
    assert page.locator("#charts svg line.line").count() >= 3
    page.locator("#arms summary").click()
    row = page.locator("#arms-table tbody tr").text_content()
    assert "ranked" in row
    assert " to " in row


def test_a_key_is_requested_only_by_a_service_that_needs_one(tab, page_shop, tmp_path):
    secret, entry = create_key("page:read+events")
    with PageService(page_shop, tmp_path, {"VREC_API_KEYS": entry}) as keyed:
        page = tab(keyed.address)
        page.wait_for_selector("#key", state="visible")
        page.fill("#key-text", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-problem:not([hidden])")
        page.fill("#key-text", secret)
        page.keyboard.press("Enter")
        ready(page)
        assert page.locator("#key").is_hidden()
        assert page.evaluate("localStorage.getItem('vrec.key')") is None
        page.reload()
        ready(page)
        assert all("401" in text for text in page.wrong)
        page.wrong.clear()
        page.context.close()


def test_text_has_contrast_in_light_and_dark(tab):
    for scheme in ("light", "dark"):
        page = ready(tab(color_scheme=scheme))
        assert page.evaluate(CONTRAST) == []
