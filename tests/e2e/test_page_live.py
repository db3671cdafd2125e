"""The row of live streams on the page in a real browser: it comes, follows the streams, and goes, unasked."""

# ruff: noqa: F401, F811 (fixtures are imported)

import json
import urllib.request

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.e2e.page_tab import CONTRAST, ready, recording, sent, service, tab
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser

pytestmark = NEEDS_CHROMIUM
SIZES = [("light", 1280), ("dark", 390)]


@pytest.fixture
def stream(service):
    """Return a function that sends a request about a stream; what was started is over after the test."""
    names = set()

    def send(method, name, path="", **body):
        names.add(name)
        request = urllib.request.Request(
            f"{service.address}/v1/streams/{name}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        urllib.request.urlopen(request, timeout=30).close()

    yield send
    for name in names:
        send("DELETE", name)


def test_the_row_comes_follows_the_streams_and_goes_without_a_reload(tab, stream):
    page = recording(ready(tab()))
    assert page.locator("#live").is_hidden()
    stream("PUT", "s-1", streamer_id="ann", title="Autumn shoes", product_ids=["p-7"])
    page.wait_for_selector("#live", state="visible")
    card = page.locator("#live li")
    assert card.locator(".mark").text_content() == "LIVE"
    assert "ann" in card.locator(".facts").text_content()
    assert card.locator(".pinned").text_content() == "Shown now: p-7"
    assert page.text_content("#live-note") == "1 stream is live."
    stream("POST", "s-1", "/beat", viewers=1250, product_ids=["p-8"])
    page.wait_for_function("() => document.querySelector('#live .on-air b').textContent === '1,250 watching'")
    page.wait_for_function("() => document.querySelector('#live .pinned').textContent === 'Shown now: p-8'")
    stream("PUT", "s-2", streamer_id="bob")
    page.wait_for_function("() => document.querySelectorAll('#live li').length === 2")
    for name in ("s-1", "s-2"):
        stream("DELETE", name)
    page.wait_for_selector("#live", state="hidden")
    assert page.text_content("#live-note") == "No stream is live."


def test_a_stream_is_watched_by_keyboard_and_what_was_watched_counts_when_it_ends(tab, stream, service):
    page = recording(ready(tab()))
    shopper = page.input_value("#shopper-choice")
    stream("PUT", "s-3", streamer_id="ann", title="Hats")
    page.wait_for_selector("#live", state="visible")
    page.focus("#live-title")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Stop watching: Hats, live")
    assert button.get_attribute("aria-pressed") == "true"
    # Updates of the row leave the focus where it is.
    stream("POST", "s-3", "/beat", viewers=3)
    page.wait_for_function("() => document.querySelector('#live .on-air b').textContent === '3 watching'")
    assert button.evaluate("one => one === document.activeElement")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Watch: Hats, live").wait_for()
    page.keyboard.press("Enter")
    stream("DELETE", "s-3")
    page.wait_for_selector("#live", state="hidden")
    assert page.evaluate("document.activeElement.id") == "feed-title"
    page.wait_for_function("() => document.getElementById('news').textContent.includes('Hats')")
    counts = service.call(service.api.profile(shopper)).counts
    assert (counts["event:click"], counts["event:watch"]) == (2, 2)
    assert {event["video_id"] for event in sent(page, "watch")} == {"s-3"}
    assert len([event for event in sent(page, "impression") if event["video_id"] == "s-3"]) == 1


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_the_row_can_be_read_and_nothing_sticks_out(tab, stream, scheme, width):
    long = "A very long title of a stream about autumn shoes, boots, sandals and everythingthatisoneword" * 2
    stream("PUT", "s-4", streamer_id="ann", title=long, category="shoes", product_ids=["p-1", "p-2"])
    stream("PUT", "s-5", streamer_id="bob", title="Lamps")
    stream("POST", "s-4", "/beat", viewers=98_765)
    page = ready(tab(color_scheme=scheme, viewport={"width": width, "height": 900}))
    page.wait_for_selector("#live li >> nth=1")
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = page.eval_on_selector_all(
        "#live li *", "all => all.map(e => e.getBoundingClientRect()).map(b => [b.left, b.right])"
    )
    assert all(left >= 0 and right <= width for left, right in boxes)
