"""The switch "I watched this on …" of the page, in a real browser, for shoppers with a linked account."""

# ruff: noqa: F401, F811 (fixtures are imported)

import time

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.e2e.page_tab import CONTRAST, news, ready, recording, sent, service, tab
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser
from vrec.profiles.links import AccountLink

pytestmark = NEEDS_CHROMIUM
PLAYED = "() => Number(document.getElementById('player-seconds').textContent) > 0.3"


def linked_tab(tab, service, *domains, **more):
    """Open the page for its shopper with accounts in these domains; return it and the shopper."""
    page = recording(ready(tab(**more)))
    shopper = page.input_value("#shopper-choice")
    for domain in domains:
        link = AccountLink(shopper, domain, f"acc-{shopper}", time.time_ns() // 1000)
        service.call(service.api.links.put(link))
    return page, shopper


def play(page):
    page.locator("#feed .card").first.get_by_role("button", name="Watch").click()
    page.wait_for_function(PLAYED)


def switch(page, domain="social"):
    return page.get_by_role("switch", name=f"I watched this on “{domain}”")


def counts(service, user_id):
    profile = service.call(service.api.profile(user_id))
    return {} if profile is None else profile.counts


def test_a_watch_counts_for_the_linked_account_and_in_the_next_list(tab, service):
    page, shopper = linked_tab(tab, service, "social")
    video = page.locator("#feed .card").first.get_attribute("data-video")
    play(page)
    switch(page).wait_for()
    # By keyboard alone: on, off and on again.
    switch(page).focus()
    for state in ("true", "false", "true"):
        page.keyboard.press("Space")
        assert switch(page).get_attribute("aria-checked") == state
    assert "the time counts for your linked account" in page.text_content("#player-elsewhere")
    assert "do not use" not in page.text_content("#player-elsewhere")
    with page.expect_response("**/v1/recommend"):
        page.keyboard.press("Escape")
    assert "on “social” for" in news(page, "After watching")
    (event,) = sent(page, "watch")
    given = {name: event[name] for name in ("user_id", "video_id", "domain", "linked")}
    assert given == {"user_id": shopper, "video_id": video, "domain": "social", "linked": True}
    assert event.keys() & {"request_id", "position", "propensity"} == set()
    assert "event:watch" not in counts(service, shopper)
    assert counts(service, f"domain:social:acc-{shopper}")["event:watch"] == 1
    # What the page is given has no id of the account.
    assert f"acc-{shopper}" not in page.content()
    # The next video is watched in the shop again.
    play(page)
    switch(page).wait_for()
    assert switch(page).get_attribute("aria-checked") == "false"
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.getElementById('news').textContent.includes('social')")
    news(page, "After watching")
    assert counts(service, shopper)["event:watch"] == 1


def test_the_list_after_a_watch_elsewhere_shows_its_effect_until_the_link_ends(tab, service):
    page, shopper = linked_tab(tab, service, "social")
    category = page.locator("#feed .card").first.get_attribute("data-category")

    def lead():
        """Return by how much the click chance of the category's videos is above that of the others."""
        asked = {"user_id": shopper, "k": 40}
        items = page.request.post(f"{service.address}/v1/recommend", data=asked).json()["items"]
        means = []
        for same in (True, False):
            found = [one["p_click"] for one in items if (one["category"] == category) == same]
            means.append(sum(found) / max(1, len(found)))
        return means[0] - means[1]

    before = lead()
    for _ in range(3):
        page.locator(f"#feed .card[data-category={category}]").first.get_by_role(
            "button", name="Watch"
        ).click()
        page.wait_for_function(PLAYED)
        switch(page).click()
        with page.expect_response("**/v1/recommend"):
            page.keyboard.press("Escape")
        news(page, "After watching")
    linked = lead()
    service.call(service.api.links.revoke(shopper, "social", time.time_ns() // 1000))
    # The clicks that opened the player are the shop's, so that their effect stays.
    assert linked > lead() > before
    assert counts(service, f"domain:social:acc-{shopper}")["event:watch"] == 3


def test_without_a_link_or_after_its_end_there_is_no_switch(tab, service):
    page, shopper = linked_tab(tab, service)
    with page.expect_response("**/v1/linked-domains*"):
        play(page)
    assert page.locator("#player-elsewhere").is_hidden()
    page.keyboard.press("Escape")
    news(page, "After watching")
    assert counts(service, shopper)["event:watch"] == 1
    now = time.time_ns() // 1000
    service.call(service.api.links.put(AccountLink(shopper, "social", f"acc-{shopper}", now)))
    play(page)
    switch(page).click()
    # The link ends while the switch is on: the watch counts nowhere, and the page says so.
    service.call(service.api.links.revoke(shopper, "social", now + 1))
    page.keyboard.press("Escape")
    page.wait_for_selector("#trouble", state="visible")
    assert "no link" in page.text_content("#trouble")
    assert counts(service, shopper)["event:watch"] == 1
    assert counts(service, f"domain:social:acc-{shopper}") == {}
    with page.expect_response("**/v1/linked-domains*"):
        play(page)
    assert page.locator("#player-elsewhere").is_hidden()
    assert all("404" in text for text in page.wrong)
    page.wrong.clear()


def test_a_watch_elsewhere_counts_though_the_page_goes_away(tab, service):
    page, shopper = linked_tab(tab, service, "social")
    play(page)
    switch(page).click()
    page.goto("about:blank")
    account = f"domain:social:acc-{shopper}"
    for _ in range(100):
        if "event:watch" in counts(service, account):
            break
        page.wait_for_timeout(100)
    assert counts(service, account)["event:watch"] == 1
    assert counts(service, shopper)["event:click"] == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_switches_fit_a_narrow_screen_and_can_be_read(tab, service, scheme):
    size = {"width": 390, "height": 844}
    page, _ = linked_tab(tab, service, "social", "games", viewport=size, color_scheme=scheme)
    play(page)
    switch(page, "games").click()
    switch(page).click()
    # A video is watched in one place, and what is watched in a game has no weight in the bundle.
    states = [switch(page, name).get_attribute("aria-checked") for name in ("games", "social")]
    assert states == ["false", "true"]
    assert page.text_content("#player-elsewhere").count("do not use") == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#player-elsewhere").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("Escape")
