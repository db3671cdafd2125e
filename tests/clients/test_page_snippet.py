"""The script for a shop's page, in a real browser, against the real application."""

# ruff: noqa: F401, F811 (fixtures are imported)

import time

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.conftest import ROOT
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser
from tests.films import numbered, write_video

pytestmark = NEEDS_CHROMIUM
SCRIPT = ROOT / "clients" / "js" / "vrec.js"
PAGE = """
<!doctype html><title>A shop</title><style>li {{ height: 90vh }}</style>
<ul>
  <li id=first data-vrec-video=mugs/1 data-vrec-request=r-1 data-vrec-position=0 data-vrec-propensity=0.5
      data-vrec-surface=feed><video src=/film.mp4 muted width=100></video><button>Buy</button></li>
  <li id=second data-vrec-video=mugs/2>another</li>
  <li id=third data-vrec-video=mugs/3>below</li>
</ul>
<script src=/vrec.js data-url="{url}" {shopper}></script>
"""


@pytest.fixture
def shop_page(browser, service, tmp_path):
    """Return a function that opens the shop's page, whose files are at the service's address."""
    film = write_video(tmp_path / "film.mp4", [numbered(n) for n in range(200)])
    context, wrong = browser.new_context(viewport={"width": 400, "height": 600}), []
    # A shop has pages and files of its own; only /v1/ is the service.
    context.route("**/film.mp4", lambda route: route.fulfill(path=film, content_type="video/mp4"))
    context.route("**/vrec.js", lambda route: route.fulfill(path=SCRIPT))

    def opened(shopper='data-session="visit-1"'):
        html = PAGE.format(url=service.url, shopper=shopper)
        context.route("**/shop", lambda route: route.fulfill(body=html, content_type="text/html"))
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{service.url}/shop")
        return page

    yield opened
    context.close()
    assert wrong == []


def logged(service, count, timeout_s=30):
    """The events of the log, once there are that many."""
    until = time.monotonic() + timeout_s
    while (table := service.shop.store.export()[0]).num_rows < count and time.monotonic() < until:
        time.sleep(0.05)
    return table.to_pylist()


def test_it_is_small():
    assert SCRIPT.stat().st_size <= 3 * 1024


def test_an_item_in_view_for_half_a_second_is_an_impression_once(service, shop_page):
    page = shop_page()
    (first,) = logged(service, 1)
    assert (first["kind"], first["video_id"], first["user_id"]) == ("impression", "mugs/1", "session:visit-1")
    assert (first["position"], first["propensity"], first["request_id"]) == (0, 0.5, "r-1")
    page.evaluate("second.scrollIntoView()")
    page.wait_for_timeout(200)
    page.evaluate("first.scrollIntoView()")
    page.wait_for_timeout(1200)
    # The second was in view for too short a time, and the first was counted before.
    assert len(logged(service, 1)) == 1
    page.evaluate("second.scrollIntoView()")
    assert [event["video_id"] for event in logged(service, 2)] == ["mugs/1", "mugs/2"]


def test_items_that_come_later_count_too(service, shop_page):
    page = shop_page()
    logged(service, 1)
    page.evaluate("first.outerHTML = '<li data-vrec-video=hats/1>new</li>'")
    assert logged(service, 2)[1]["video_id"] == "hats/1"


def test_clicks_and_played_seconds_are_sent_for_their_item(service, shop_page):
    page = shop_page('data-user="ann"')
    page.click("#first button")
    # As a blob it can be searched, which needs ranges otherwise.
    page.evaluate(
        "fetch('/film.mp4').then((answer) => answer.blob()).then((blob) => "
        "{ video = document.querySelector('video'); video.src = URL.createObjectURL(blob); video.play(); })"
    )
    page.wait_for_function("window.video?.currentTime > 1")
    page.evaluate("video.currentTime += 1.5")
    page.wait_for_timeout(400)
    page.evaluate("video.pause()")
    played = page.evaluate("video.currentTime") - 1.5
    assert played > 0.9
    events = {event["kind"]: event for event in logged(service, 3)}
    assert set(events) == {"impression", "click", "watch"}
    assert {event["user_id"] for event in events.values()} == {"ann"}
    assert events["watch"]["value"] == pytest.approx(played, abs=0.6)


def test_leaving_the_page_sends_what_was_watched(service, shop_page):
    page = shop_page()
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("document.querySelector('video').currentTime > 0.8")
    page.goto("about:blank")
    kinds = {event["kind"] for event in logged(service, 2)}
    assert kinds == {"impression", "watch"}


@pytest.mark.parametrize("fault", ["break", "lose", "refuse"])
def test_events_survive_an_outage_and_the_page_and_count_once(service, shop_page, fault):
    service.faults = lambda number: fault
    page = shop_page()
    page.wait_for_function("localStorage['vrec']?.includes('mugs/1')")
    page.click("#first button")
    page.wait_for_timeout(700)
    page.close()
    service.faults = lambda number: None
    shop_page()
    events = logged(service, 3)
    # The new page shows its items anew.
    assert sorted(event["kind"] for event in events) == ["click", "impression", "impression"]
