"""The console in a real browser, over the real deployments: each page does its work."""

# ruff: noqa: F401, F811 (fixtures are imported)

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.e2e.console_tab import (
    DAYS,
    HOSTILE,
    MANAGE,
    READ,
    console,
    leave,
    opened,
    put_rule,
    query_of,
    sign_in,
    visit,
)
from tests.e2e.page_tab import CONTRAST
from tests.evaluation.reports.windows import NEEDS_CHROMIUM, browser
from vrec.serving.messages import CatalogEdit

pytestmark = [NEEDS_CHROMIUM, pytest.mark.slow]

PAGES = ("", "/catalog", "/catalog/video?id=mugs-01", "/shoppers", "/shoppers?user=shopper-0-3",
         "/shoppers/erase?user=shopper-0-3", "/rules", "/rules/rule?id=no-lamps", "/catalog/uploads",
         "/bundles", "/experiments", "/health")  # fmt: skip
NOT_FOUND = "Failed to load resource: the server responded with a status of"


def test_a_key_signs_in_and_out(opened):
    tab = opened("/shoppers", signed_in=False)
    expect(tab).to_have_title("Sign in – vrec")
    for key, words in (("nonsense", "does not know this key"), (READ, "does not have the scope")):
        tab.get_by_label("API key").fill(key)
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("alert")).to_contain_text(words)
        expect(tab.get_by_label("API key")).to_be_focused()
    leave(tab, NOT_FOUND)
    sign_in(tab)
    expect(tab.get_by_role("heading", level=1)).to_have_text("Shoppers")
    assert tab.context.cookies()[0]["httpOnly"]
    assert MANAGE not in str(tab.context.cookies())
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_role("status")).to_have_text("You are signed out.")
    visit(tab, "/shoppers")
    expect(tab).to_have_title("Sign in – vrec")


def test_the_overview_has_charts_and_the_same_figures_in_a_table(opened, console):
    tab = opened()
    rows = tab.locator("tbody tr")
    expect(rows).to_have_count(2 * (DAYS + 1))
    expect(tab.get_by_role("img")).to_have_count(4)
    days = console.call(console.api.arm_days(14))
    newest = [one for one in days if one.at == days[-1].at]
    for place, one in enumerate(newest):
        cells = rows.nth(place).locator("th, td").all_text_contents()
        ends = f"({one.ctr.low:.1%} to {one.ctr.high:.1%})"
        assert cells[1:5] == [one.arm, f"{one.users}", f"{one.impressions:,}", f"{one.ctr.value:.1%} {ends}"]
        assert cells[8] == f"${one.revenue:,.2f}"
    # The first day had few shoppers: its figures have no interval, in the chart as in the table.
    assert "too few yet" in rows.last.text_content()
    chart = tab.get_by_role("img", name=re.compile("CTR"))
    assert chart.locator(".bar").count() == 2 * DAYS
    assert chart.locator(".mark").count() == 2 * (DAYS + 1)
    shapes = [chart.locator(f"{shape}.mark").count() for shape in ("circle", "rect")]
    assert shapes == [DAYS + 1, DAYS + 1]
    dashes = chart.locator("polyline").evaluate_all(
        "all => all.map(one => getComputedStyle(one).strokeDasharray)"
    )
    assert dashes[0] != dashes[1]
    tab.get_by_role("link", name="7 days").click()
    expect(tab.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")


def test_the_catalog_is_searched_filtered_and_paged(opened):
    tab = opened("/catalog")
    rows = tab.locator("tbody tr")
    expect(rows).to_have_count(25)
    first = rows.first.text_content()
    tab.get_by_role("link", name="Next page").click()
    expect(rows).to_have_count(15)
    tab.get_by_role("link", name="First page").click()
    expect(rows.first).to_have_text(first)
    tab.get_by_label("Category").fill("mugs")
    tab.get_by_label("Words").fill("mugs-0")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("status")).to_have_text("9 videos")
    tab.get_by_label("Words").fill("nothing has these words")
    tab.get_by_role("button", name="Search").click()
    expect(tab.get_by_text("No video matches.")).to_be_visible()
    tab.get_by_role("link", name="Show all").click()
    expect(rows).to_have_count(25)


def test_a_video_plays_is_hidden_and_shown_again(opened, console):
    tab = opened("/catalog/video?id=mugs-02")
    tab.eval_on_selector("video", "video => { video.muted = true; return video.play(); }")
    tab.wait_for_function("() => document.querySelector('video').currentTime > 0.2")
    tab.get_by_role("button", name="Hide").click()
    expect(tab.get_by_role("status")).to_contain_text("is hidden")
    expect(tab.locator("video")).to_have_count(0)
    assert console.call(console.api.cards(["mugs-02"]))["mugs-02"]["available"] is False
    visit(tab, "/catalog?category=mugs&available=no")
    tab.get_by_role("button", name="Show ").click()
    expect(tab.get_by_role("status").first).to_contain_text("shown again")
    expect(tab.get_by_text("No video matches.")).to_be_visible()


def test_a_video_is_edited_and_wrong_values_are_named(opened, console):
    tab = opened("/catalog/video?id=mugs-04")
    before = console.call(console.api.video("mugs-04", 0)).card
    tab.get_by_label("Price (USD)").fill("cheap")
    tab.get_by_label("Language").fill("English!")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_role("alert")).to_contain_text("Nothing is saved")
    price = tab.get_by_label("Price (USD)")
    expect(price).to_have_value("cheap")
    expect(price).to_have_attribute("aria-invalid", "true")
    expect(tab.locator("#problem-price")).to_have_text("Write a number such as 12.50.")
    leave(tab, NOT_FOUND)
    price.fill("12.5")
    tab.get_by_label("Language").fill("zh-Hans")
    tab.get_by_role("textbox", name="Title").fill(HOSTILE)
    tab.get_by_label("Tags").fill("blue\n a, b \n\nblue mug")
    tab.get_by_label("Expires at").fill("2039-01-02T03:04")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_role("status")).to_contain_text("saved")
    card = console.call(console.api.video("mugs-04", 0)).card
    assert (card["title"], card["price"], card["language"]) == (HOSTILE, 12.5, "zh-Hans")
    assert card["tags"] == ["blue", "a, b", "blue mug"]
    assert card["expires_at"].isoformat() == "2039-01-02T03:04:00+00:00"
    assert card["kind"] == before["kind"]
    # What the form did not change is not an edit, which would hide it from the next bundle.
    assert console.api._live.journal.position.edits >= 1
    expect(tab.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    visit(tab, "/catalog?text=mugs-04")
    expect(tab.locator("tbody th a")).to_have_text(HOSTILE)


def test_of_two_editors_the_second_sees_what_the_first_has_written(opened):
    first, second = opened("/catalog/video?id=mugs-05"), opened("/catalog/video?id=mugs-05")
    first.get_by_role("textbox", name="Title").fill("The first title")
    first.get_by_role("button", name="Save").click()
    expect(first.get_by_role("status")).to_contain_text("saved")
    second.get_by_role("textbox", name="Title").fill("The second title")
    second.get_by_label("Category").fill("cups")
    with second.expect_response(lambda answer: answer.request.method == "POST") as answer:
        second.get_by_role("button", name="Save").click()
    assert answer.value.status == 412
    expect(second.get_by_role("alert")).to_contain_text("somebody else")
    expect(second.get_by_text("Now: The first title")).to_be_visible()
    expect(second.get_by_role("textbox", name="Title")).to_have_value("The second title")
    leave(second, NOT_FOUND)
    second.get_by_role("button", name="Save").click()
    expect(second.get_by_role("status")).to_contain_text("saved")
    expect(second.get_by_role("heading", level=1)).to_have_text("The second title")


def test_a_shopper_is_explained_and_erased(opened, console):
    user = "shopper-0-7"
    tab = opened("/shoppers")
    tab.get_by_label("Shopper id").fill(user)
    tab.get_by_role("button", name="Look up").click()
    profile = console.call(console.api.profile(user))
    shown = tab.locator("dl.facts div").filter(has_text="Seen in a list").locator("dd")
    expect(shown).to_have_text(f"{profile.counts['event:impression']:g}")
    expect(tab.locator(".why li")).to_have_count(10)
    events, _ = console.call(console.api.events_of(user, None, 30))
    rows = tab.locator("table").last.locator("tbody tr")
    expect(rows).to_have_count(events.num_rows)
    kinds = {"impression": "Seen in a list", "click": "Opened", "watch": "Watched", "purchase": "Bought"}
    expect(rows.first).to_contain_text(kinds[events.column("kind")[0].as_py()])
    expect(tab.locator(".why li").first).to_contain_text("Scores:")
    tab.get_by_role("link", name="Erase this shopper").click()
    again = tab.get_by_label("Type the id")
    again.fill("shopper-0-8")
    tab.get_by_role("button", name="Erase for good").click()
    expect(tab.get_by_role("alert")).to_contain_text("Nothing is erased")
    assert console.call(console.api.profile(user)) is not None
    leave(tab, NOT_FOUND)
    tab.get_by_label("Type the id").fill(user)
    tab.get_by_role("button", name="Erase for good").click()
    expect(tab.get_by_role("status")).to_contain_text("erased")
    assert console.call(console.api.profile(user)) is None
    visit(tab, f"/shoppers?user={user}")
    expect(tab.get_by_text("There are no events of this shopper.")).to_be_visible()
    leave(tab, NOT_FOUND)


def test_a_rule_is_tried_saved_and_removed(opened, console):
    tab = opened("/rules")
    tab.get_by_role("link", name="New rule").click()
    tab.get_by_label("Id:").fill("no-plants")
    tab.get_by_label("Kind").select_option("ban")
    tab.get_by_label("Or a filter expression").fill('category = "plants"')
    tab.get_by_label("Ids of up to").fill("shopper-0-1\nshopper-0-2\nnobody")
    tab.get_by_role("button", name="Show what would change").click()
    expect(tab.get_by_role("status")).to_have_text("The lists of 3 of 3 shoppers would change.")

    def plants():
        answer = console.call(console.api.recommend(query_of("shopper-0-1")))
        return [item.video_id for item in answer.items if item.video_id.startswith("plants")]

    assert plants() != [], "a dry run changes nothing"
    expect(tab.get_by_label("Or a filter expression")).to_have_value('category = "plants"')
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_role("status")).to_contain_text("in force")
    assert plants() == []
    expect(tab.locator("table").last).to_contain_text("ann")
    visit(tab, "/shoppers?user=shopper-0-1")
    expect(tab.locator("main")).to_contain_text("banned by a rule of the shop: no-plants")
    visit(tab, "/rules")
    expect(tab.locator("tbody tr")).to_contain_text("active")
    tab.get_by_role("link", name="no-plants").click()
    tab.get_by_role("button", name="Remove this rule").click()
    expect(tab.get_by_text("There are no rules.")).to_be_visible()
    assert plants() != []


def test_bundles_experiments_and_health_say_what_the_service_knows(opened, console):
    tab = opened("/bundles")
    bundle = console.api._live.served.bundle
    expect(tab.locator("main")).to_contain_text(bundle.version)
    expect(tab.locator("main")).to_contain_text(f"{bundle.videos.num_rows}")
    visit(tab, "/experiments")
    arms = console.call(console.api.arms()).arms
    row = tab.locator("table").first.locator("tbody tr").nth(1)
    expect(row).to_contain_text(f"{arms[1].ctr.value:.1%} ({arms[1].ctr.low:.1%} to {arms[1].ctr.high:.1%})")
    difference = arms[1].against_first["ctr"]
    words = "ahead" if difference.low > 0 else "behind" if difference.high < 0 else "not decided"
    expect(tab.locator("table").nth(1).locator("td").first).to_contain_text(words)
    visit(tab, "/health")
    expect(tab.get_by_role("status")).to_have_text("All parts answer.")
    console.ranking.broken = TimeoutError("no answer")
    try:
        tab.reload()
        expect(tab.get_by_role("alert")).to_have_text("A part does not answer.")
        visit(tab, "/shoppers?user=shopper-0-3")
        expect(tab.get_by_text("Ranking does not answer now.")).to_be_visible()
    finally:
        console.ranking.broken = None


def test_the_language_is_the_browsers_until_another_is_chosen(opened):
    tab = opened(locale="zh-CN")
    expect(tab.get_by_role("heading", level=1)).to_have_text("概览")
    assert tab.get_attribute("html", "lang") == "zh-Hans"
    visit(tab, "/health")
    tab.get_by_role("button", name="English").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Health")
    visit(tab, "/bundles")
    expect(tab.get_by_role("heading", level=1)).to_have_text("Bundles")


def test_every_control_is_reached_by_the_keyboard_and_shows_its_focus(opened):
    tab = opened("/catalog/video?id=mugs-01")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(tab.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    tab.keyboard.press("Enter")
    expect(tab.locator("#main")).to_be_focused()
    reached = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        name, outline = tab.evaluate(
            "() => [document.activeElement.name || document.activeElement.tagName,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.append(name)
        assert outline != "none" or name in ("BODY", "VIDEO"), name
        if name == "BODY":
            break
    fields = {
        "title",
        "kind",
        "creator_id",
        "category",
        "tags",
        "language",
        "price",
        "expires_at",
        "available",
    }
    assert fields <= set(reached)


@pytest.mark.parametrize(("width", "locale", "dark"), [(1280, "en-US", True), (390, "zh-CN", False)])
def test_pages_are_accessible_and_fit(opened, console, width, locale, dark):
    scripts = pytest.importorskip("axe_playwright_python.base", reason="axe-core is not installed")
    tab = opened(
        viewport={"width": width, "height": 900}, locale=locale, color_scheme="dark" if dark else "light"
    )
    put_rule(console, "no-lamps")
    for path in PAGES:
        visit(tab, path)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert tab.evaluate(CONTRAST) == [], path
        tab.evaluate(scripts.AXE_FILE_PATH.read_text(encoding="utf-8"))
        found = tab.evaluate("() => axe.run()")["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == [], path
