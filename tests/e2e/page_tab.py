"""The page in a tab of a real browser, and helpers that read from it."""

from collections import Counter

import pytest

from tests.e2e.page_shop import PageService

MOST_MS = 45_000
"""Timeout in ms, generous for a busy machine."""


@pytest.fixture(scope="module")
def service(page_shop, tmp_path_factory):
    with PageService(page_shop, tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def tab(browser, service):
    """Return a function that opens the page in a new browser context; nothing may go wrong in it."""
    contexts, wrong = [], []

    def opened(address=service.address, *, reduced_motion="reduce", **more):
        context = browser.new_context(reduced_motion=reduced_motion, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MOST_MS)
        page.on("console", lambda message: wrong.append(f"{message.text} {message.location.get('url')}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((address, "data:")) else wrong.append(r.url))
        page.goto(address)
        page.wrong = wrong
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == [], "\n".join(wrong)


def ready(page):
    page.wait_for_selector("#feed .card")
    return page


def kinds(page):
    return Counter(page.eval_on_selector_all("#feed .card", "all => all.map(one => one.dataset.category)"))


def news(page, beginning):
    """Return the line that describes the change, once it begins like this."""
    page.wait_for_function(
        "(words) => document.getElementById('news').textContent.startsWith(words)", arg=beginning
    )
    return page.text_content("#news")


def sent(page, kind):
    """Return the events of a kind that a page opened by `recording` has sent."""
    return [event for event in page.events if event["kind"] == kind]


def recording(page):
    """Return the page, which collects the events it sends in `events`."""
    page.events = []

    def keep(request):
        if request.url.endswith("/v1/events"):
            page.events += request.post_data_json["events"]

    page.on("request", keep)
    return page


CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.5) return colour;
    }
    return numbers(getComputedStyle(document.documentElement).backgroundColor);
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!words || !element.checkVisibility()) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(under(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
"""JavaScript that returns the texts with too little contrast (WCAG 2.2, 1.4.3)."""
