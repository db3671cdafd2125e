"""The conversation on the page in a real browser, in both languages, on a wide screen and on a phone."""

# ruff: noqa: F401, F811 (fixtures are imported)

import json
import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.conftest import ROOT
from tests.e2e.console_tab import HOSTILE
from tests.e2e.page_shop import PageService
from tests.e2e.page_tab import CONTRAST, MOST_MS, news, ready, recording, sent, tab
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.messages import CatalogEdit

pytestmark = NEEDS_CHROMIUM
DOCUMENTS = ROOT / "vrec" / "synthetic" / "shop" / "policies"
PHONE = {"viewport": {"width": 390, "height": 844}}
EVERY_SCREEN = pytest.mark.parametrize(
    ("width", "locale", "scheme"),
    [(1280, "en-US", "light"), (1280, "zh-CN", "dark"), (390, "en-US", "dark"), (390, "zh-CN", "light")],
)
WORDS = {
    "en-US": {"ask": "blue mugs", "second": "how much is the second?", "help": "how do I return it?"},
    "zh-CN": {"ask": "蓝色的杯子", "second": "第二个多少钱", "help": "怎么退货?"},
}


@pytest.fixture(scope="module")
def service(page_shop, tmp_path_factory):
    # The first answer has to wait for the vectors of the documents.
    assistant = {"documents": str(DOCUMENTS), "timeout_s": 60}
    shop = page_shop.with_moments(tmp_path_factory.mktemp("moments"))
    with PageService(shop, tmp_path_factory.mktemp("service"), assistant=assistant) as running:
        yield running


def talking(page):
    """Return the page once the conversation is open."""
    ready(page)
    if page.locator("#assistant").is_hidden():
        page.click("#assistant-toggle")
    return page


def answered(page, act):
    """Return the element of the answer that comes after an act."""
    with page.expect_response(lambda one: one.url.endswith("/v1/assistant"), timeout=MOST_MS):
        act()
    expect(page.locator("#talk-list")).to_have_attribute("aria-busy", "false", timeout=MOST_MS)
    return page.locator("#talk-list > .answer").last


def say(page, text):
    page.fill("#assistant-message", text)
    return answered(page, lambda: page.keyboard.press("Enter"))


def spoken(page):
    """Return all that is written in the conversation."""
    return page.locator("#talk-list .said, #talk-list .text").all_text_contents()


def chips(page):
    return [text.removesuffix("×") for text in page.locator("#asked button").all_text_contents()]


def videos(answer):
    return answer.locator(".card").evaluate_all("all => all.map(card => card.dataset.video)")


@EVERY_SCREEN
def test_a_conversation_on_every_screen_is_readable_and_accessible(tab, width, locale, scheme):
    scripts = pytest.importorskip("axe_playwright_python.base", reason="axe-core is not installed")
    page = talking(tab(viewport={"width": width, "height": 844}, locale=locale, color_scheme=scheme))
    words = WORDS[locale]
    answer = say(page, words["ask"])
    assert answer.locator(".card").count() > 1
    assert len(chips(page)) >= 2
    say(page, words["second"])
    cited = say(page, words["help"])
    assert cited.locator("cite").text_content()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = page.evaluate(
        """() => [...document.querySelectorAll("#assistant *")].filter((one) => one.checkVisibility())
        .map((one) => [one, one.getBoundingClientRect()])
        .filter(([one, box]) => box.width > 1 && (box.left < -0.5 || box.right > innerWidth + 0.5))
        .map(([one]) => one.outerHTML.slice(0, 200))"""
    )
    assert outside == []
    assert page.evaluate(CONTRAST) == []
    page.evaluate(scripts.AXE_FILE_PATH.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    chinese = re.compile(r"[一-鿿]")
    title = page.locator("#assistant-title").text_content()
    assert (bool(chinese.search(title)), page.get_attribute("html", "lang")) == (
        (True, "zh-Hans") if locale == "zh-CN" else (False, "en")
    )
    assert all(bool(chinese.search(text)) == (locale == "zh-CN") for text in spoken(page)[::2])


def test_the_whole_page_is_in_the_language_of_the_browser(tab):
    page = talking(tab(locale="zh-CN"))
    say(page, "蓝色的杯子")
    page.locator("#feed .card").first.get_by_role("button", name="喜欢").click()
    news(page, "喜欢“")
    words = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility())
        .filter((one) => !one.closest("h3, .facts, #mix, option, footer dd, .said, #live, #creators"))
        .flatMap((one) => [...one.childNodes]).filter((node) => node.nodeType === 3)
        .map((node) => node.data.trim())
        .filter((text) => /[A-Za-z]{4}/.test(text) && !/[一-鿿]/.test(text))"""
    )
    assert [text for text in words if text not in ("vrec", "ranked")] == []


def test_cards_work_as_those_of_the_feed_do(tab, service):
    page = recording(talking(tab()))
    shopper = page.input_value("#shopper-choice")
    answer = say(page, "blue mugs")
    shown = videos(answer)
    card = answer.locator(".card").nth(1)
    card.get_by_role("button", name="Like").click()
    news(page, "After liking")
    card.get_by_role("button", name="Add to cart").click()
    news(page, "After adding to the cart")
    card.get_by_role("button", name="Watch").click()
    page.wait_for_function("() => Number(document.getElementById('player-seconds').textContent) > 0.3")
    page.keyboard.press("Escape")
    news(page, "After watching")
    for kind in ("like", "cart", "click", "watch"):
        (event,) = sent(page, kind)
        assert (event["surface"], event["video_id"], event["position"]) == ("assistant", shown[1], 1)
        assert {"request_id", "propensity"} <= event.keys()
    seen = [event for event in sent(page, "impression") if event["surface"] == "assistant"]
    assert {one["request_id"] for one in seen} == {event["request_id"]}
    assert {one["position"] for one in seen} >= {0, 1}
    assert service.call(service.api.profile(shopper)).counts["event:like"] == 1
    # Hidden here is hidden everywhere, and comes back with an undo.
    card.get_by_role("button", name="Not interested").click()
    expect(answer.locator(f".card[data-video={shown[1]}]")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "talk"
    page.get_by_role("button", name="Undo").click()
    expect(answer.locator(f".card[data-video={shown[1]}]")).to_have_count(1)
    similar = answered(page, lambda: card.get_by_role("button", name="Similar").click())
    assert shown[1] not in videos(similar)


def test_what_is_asked_for_is_taken_back_one_by_one_and_suggestions_are_pressed(tab):
    page = talking(tab())
    say(page, "blue mugs under 500")
    before = chips(page)
    assert len(before) == 3
    answered(page, lambda: page.get_by_role("button", name=re.compile("Remove: .*blue")).click())
    assert [chip for chip in before if "blue" not in chip] == chips(page)
    assert page.evaluate("document.activeElement.id") == "talk"
    # A question about the shop leaves what is asked for.
    say(page, "how do I return it?")
    assert len(chips(page)) == 2
    say(page, "mugs")
    # What is asked for counts, and the feed follows.
    assert news(page, "After asking the assistant: ").endswith(".")
    suggestion = page.locator(".next button").first
    label = suggestion.text_content()
    answered(page, suggestion.click)
    assert label.lower() in page.locator(".said").last.text_content().lower()
    assert page.locator(".next").count() <= 1


def test_the_conversation_is_there_after_a_reload_and_goes_on(tab):
    page = talking(tab())
    first = say(page, "blue mugs")
    second = videos(first)[1]
    name = first.locator(".card h3").nth(1).text_content()
    before = spoken(page)
    page.reload()
    talking(page)
    page.wait_for_selector("#talk-list .card")
    assert spoken(page) == before
    assert len(chips(page)) == 2
    answer = say(page, "how much is the second?")
    assert name in answer.text_content()
    assert videos(answer) == [second]


def test_another_shopper_has_another_conversation_until_it_is_forgotten(tab, service):
    page = talking(tab())
    first = page.input_value("#shopper-choice")
    say(page, "blue mugs")
    page.click("#shopper-new")
    news(page, "Shopping as new shopper")
    assert spoken(page) == []
    say(page, "lamps")
    page.select_option("#shopper-choice", first)
    news(page, f"Shopping as {first}")
    page.wait_for_selector("#talk-list .card")
    assert spoken(page)[0] == "blue mugs"
    page.click("#assistant-forget")
    assert (spoken(page), chips(page)) == ([], [])
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("#talk-list .card")
    page.click("#assistant-forget")
    # The next message is no turn of what is forgotten, whatever the time since.
    answer = say(page, "the second")
    assert answer.locator(".card").count() == 0
    assert [turn.message for turn in service.call(service.api.conversations.get(first)).turns] == [
        "the second"
    ]


def test_who_is_erased_is_a_new_shopper_without_conversation(tab, service):
    page = talking(tab())
    shopper = page.input_value("#shopper-choice")
    page.locator("#feed .card").first.get_by_role("button", name="Like").click()
    news(page, "After liking")
    say(page, "blue mugs")
    page.locator("#shopper-erase summary").click()
    page.get_by_role("button", name="Erase for good").click()
    news(page, "Everything about the shopper is erased")
    assert spoken(page) == []
    assert shopper not in page.locator("#shopper-choice option").all_text_contents()
    assert service.call(service.api.profile(shopper)) is None
    assert service.call(service.api.conversations.get(shopper)) is None


def test_texts_are_never_html(tab, service):
    service.call(service.api.change(CatalogEdit("mugs-03", "update", {"title": f"{HOSTILE} red mug"})))
    page = talking(tab())
    page.evaluate("window.alert = () => { window.ran = true; }")
    say(page, f"{HOSTILE} red mugs")
    page.locator("#talk-list h3", has_text="<img src=x").first.wait_for()
    assert HOSTILE in page.locator(".said").last.text_content()
    assert page.locator("#assistant img, #assistant script").count() == 0
    page.reload()
    talking(page)
    page.locator("#talk-list h3", has_text="<img src=x").first.wait_for()
    assert page.locator("#assistant img, #assistant script").count() == 0
    assert page.evaluate("window.ran") is None


def test_without_the_service_the_message_is_kept_and_sent_once(tab, service):
    page = talking(tab())
    shopper = page.input_value("#shopper-choice")
    service.ranking.broken = BackendUnavailable("killed")
    try:
        say(page, "blue mugs")
        expect(page.locator("#talk-trouble")).to_be_visible()
    finally:
        service.ranking.broken = None
    assert page.input_value("#assistant-message") == "blue mugs"
    assert spoken(page) == []
    # No connection at all.
    page.route("**/v1/assistant", lambda route: route.abort())
    page.keyboard.press("Enter")
    expect(page.locator("#talk-trouble")).to_contain_text("does not respond")
    assert page.input_value("#assistant-message") == "blue mugs"
    page.unroute("**/v1/assistant")
    answer = answered(page, lambda: page.get_by_role("button", name="Send", exact=True).click())
    assert answer.locator(".card").count() > 0
    expect(page.locator("#talk-trouble")).to_be_hidden()
    assert len(service.call(service.api.conversations.get(shopper)).turns) == 1
    page.wrong.clear()


def test_where_events_cannot_be_streamed_the_answer_comes_at_once_and_counts_once(tab, service):
    page = talking(tab())
    shopper = page.input_value("#shopper-choice")
    accepted = []

    def cut(route):
        """Let the service answer, and lose what it sends before the end."""
        accepted.append(route.request.headers["accept"])
        if "event-stream" not in accepted[-1]:
            return route.continue_()
        reply = route.fetch()
        text = reply.text()
        return route.fulfill(response=reply, body=text[: text.index("event: done")])

    page.route("**/v1/assistant", cut)
    page.fill("#assistant-message", "blue mugs")
    page.keyboard.press("Enter")
    page.wait_for_selector("#talk-list .card")
    assert len(accepted) == 2
    expect(page.locator("#talk-list > .answer")).to_have_count(1)
    assert len(service.call(service.api.conversations.get(shopper)).turns) == 1


def test_by_keyboard_alone(tab):
    page = ready(tab(**PHONE))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the assistant"
    page.keyboard.press("Enter")
    expect(page.locator("#assistant-message")).to_be_focused()
    page.keyboard.type("red")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("mugs")
    assert page.input_value("#assistant-message") == "red\nmugs"
    answered(page, lambda: page.keyboard.press("Enter"))
    assert page.locator("#talk-said").text_content().endswith("videos.")
    expect(page.locator("#assistant-message")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.closest('#asked') !== null")
    page.keyboard.press("Escape")
    expect(page.locator("#assistant")).to_be_hidden()
    expect(page.locator("#assistant-toggle")).to_be_focused()
    # The feed can be used while the conversation is closed.
    page.locator("#feed .card").first.get_by_role("button", name="Like").click()
    news(page, "After liking")
    page.locator("#assistant-toggle").click()
    expect(page.locator("#assistant-message")).to_be_focused()
    assert page.locator("#talk-list .card").count() > 0


def test_enter_that_chooses_a_chinese_character_sends_nothing(tab):
    page = talking(tab(locale="zh-CN"))
    page.fill("#assistant-message", "杯")
    composing = json.dumps({"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True})
    box = "document.getElementById('assistant-message')"
    page.evaluate(f"{box}.dispatchEvent(new KeyboardEvent('keydown', {composing}))")
    assert (page.input_value("#assistant-message"), spoken(page)) == ("杯", [])


def test_a_person_takes_over_plainly(tab):
    page = talking(tab())
    answer = say(page, "I want to talk to a person")
    expect(answer.locator(".person")).to_have_text("Passed on to a person, with this conversation.")
    assert "Passed on to a person" in page.locator("#talk-said").text_content()


def test_found_moments_play_from_where_they_begin(tab):
    page = ready(tab())
    page.fill("#search-text", "the side of mugs-04")
    page.keyboard.press("Enter")
    card = page.locator("#found-list .card[data-video=mugs-04]")
    expect(card.locator(".moments button")).to_have_count(2)
    spans = card.locator(".moments button").all_text_contents()
    assert sorted(spans) == ["0:00 to 0:01", "0:00 to 0:02"]
    assert "look at the side of mugs-04" in card.locator(".moments").text_content()
    later = card.get_by_role("button", name=re.compile("^Play 0:00 to 0:02: "))
    # The video tells where it is sent before it plays on, which a busy machine may see late.
    page.evaluate(
        """() => document.getElementById("player-video").addEventListener(
        "seeking", (event) => { window.began ??= event.target.currentTime; })"""
    )
    later.click()
    page.wait_for_function("() => window.began !== undefined")
    assert 0.7 < page.evaluate("window.began") < 0.8
    page.evaluate("() => { window.began = undefined; }")
    page.locator("#player-moments").get_by_role("button", name=re.compile("^Play 0:00 to 0:01: ")).click()
    page.wait_for_function("() => window.began < 0.5")
    page.keyboard.press("Escape")
    news(page, "After watching")


def test_the_answer_about_a_moment_jumps_there(tab):
    page = talking(tab())
    second = videos(say(page, "mugs"))[1]
    answer = say(page, "at which second does she show the side of the second?")
    assert videos(answer) == [second]
    (span,) = answer.locator(".moments button").all_text_contents()
    assert span in answer.locator(".text").text_content()
    answer.locator(".moments button").click()
    page.wait_for_selector("#player[open]")
    assert page.locator("#player-moments button").all_text_contents() == [span]
    page.wait_for_function("() => Number(document.getElementById('player-seconds').textContent) > 0.1")
    page.keyboard.press("Escape")


def test_a_picture_and_a_frame_of_the_player_find_what_looks_alike(tab, page_shop):
    page = recording(ready(tab()))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="By picture").click()
    chooser.value.set_files(page_shop.unknown)
    page.wait_for_selector("#found-list .card")
    assert page.text_content("#found-title") == f"Looks like “{page_shop.unknown.name}”"
    assert page.locator("#found-list .card").first.get_attribute("data-category") == "mugs"
    card = page.locator("#found-list .card[data-category=mugs]").first
    video = card.get_attribute("data-video")
    assert card.locator(".moments button").count() >= 1
    card.get_by_role("button", name="Watch").click()
    page.wait_for_function("() => Number(document.getElementById('player-seconds').textContent) > 0.3")
    page.get_by_role("button", name="Search by this frame").click()
    page.wait_for_function(
        "() => document.getElementById('found-title').textContent.startsWith('Looks like a f')"
    )
    page.wait_for_selector("#found-list .card")
    assert page.locator("#found-list .card").first.get_attribute("data-video") == video
    assert page.locator("#player").is_hidden()
    # A search by a file is no list of recommendations.
    assert all("request_id" not in event for event in sent(page, "click"))


def test_a_file_that_is_no_picture_is_refused_in_words(tab, tmp_path):
    page = ready(tab())
    (tmp_path / "words.png").write_text("not a picture " * 50)
    page.set_input_files("#search-file", tmp_path / "words.png")
    page.wait_for_function("() => !/Searching/.test(document.getElementById('found-note').textContent)")
    assert len(page.text_content("#found-note")) > 20
    assert page.locator("#found-list .card").count() == 0
    assert all("4" in text for text in page.wrong)
    page.wrong.clear()
