"""The console over the real deployments, in tabs of a real browser."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.e2e.page_shop import PageService
from tests.e2e.page_tab import MOST_MS
from vrec.core.schema import EVENTS
from vrec.profiles.stores.codec import rows_from_table
from vrec.serving.http.keys import create_key
from vrec.serving.messages import RecommendQuery
from vrec.serving.rules.book import RuleChange, ShopRule

DAYS = 6
"""Days of events before today."""
MANAGE, MANAGE_ENTRY = create_key("ann:manage")
READ, READ_ENTRY = create_key("shop:read+events")
ARMS = {
    "arms": [
        {"name": "ranked", "share": 0.5},
        {"name": "popular", "share": 0.5, "order": "popular"},
    ]
}
HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>{{ 7 * 7 }}"
"""Title that would run in a page that does not escape it."""


@pytest.fixture(scope="module")
def console(page_shop, tmp_path_factory):
    """A service with keys, two arms and a week of events."""
    environment = {"VREC_API_KEYS": f"{MANAGE_ENTRY},{READ_ENTRY}"}
    folder = tmp_path_factory.mktemp("console")
    with PageService(page_shop, folder, environment, hours=24 * (DAYS + 2), arms=ARMS) as running:
        add_week(running)
        yield running


def add_week(service: PageService, shoppers: int = 460) -> None:
    """Add events of shoppers on each day, few on the first."""
    rng, today = np.random.default_rng(5), datetime.now(UTC)
    for ago in range(DAYS, -1, -1):
        start = today - timedelta(days=ago, minutes=5)
        rows = []
        for user in range(shoppers if ago < DAYS else 40):
            event = {"user_id": f"shopper-{ago}-{user}", "domain": "feed"}
            for place in range(int(rng.integers(3, 9))):
                at = start + timedelta(seconds=int(rng.integers(0, 100)))
                event |= {"video_id": f"mugs-{place + 1:02d}", "request_id": f"r{ago}-{user}"}
                end = f"{ago}-{user}-{place}"
                rows.append(event | {"event_id": f"i{end}", "kind": "impression", "at": at})
                later = {"at": at + timedelta(seconds=20)}
                if rng.random() < 0.25:
                    rows.append(event | later | {"event_id": f"c{end}", "kind": "click"})
                    watched = {"event_id": f"w{end}", "kind": "watch", "value": float(rng.gamma(2, 0.5))}
                    rows.append(event | later | watched)
                    if rng.random() < 0.2:
                        bought = {"event_id": f"p{end}", "kind": "purchase", "value": float(rng.gamma(3, 8))}
                        rows.append(event | later | bought)
        service.call(service.api.apply(rows_from_table(pa.Table.from_pylist(rows, schema=EVENTS.arrow()))))
    deadline = time.monotonic() + 60
    while len(service.call(service.api.arm_days(30))) < 2 * (DAYS + 1):
        assert time.monotonic() < deadline, "the events are not counted"
        time.sleep(0.2)


@pytest.fixture
def opened(browser, console):
    """Return a function that opens a page of the console in a new browser context; nothing may go wrong."""
    contexts, wrong = [], []

    def open_page(path="", *, signed_in=True, **options):
        context = browser.new_context(**({"locale": "en-US"} | options))
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(MOST_MS)
        tab.console_address, tab.wrong = f"{console.address}/console", wrong
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda r: None if r.url.startswith(console.address) else wrong.append(r.url))
        visit(tab, path)
        if signed_in:
            sign_in(tab)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == [], wrong


def visit(tab, path):
    """Open a page of the console."""
    tab.goto(tab.console_address + path)


def sign_in(tab):
    """Sign in with the key that may manage."""
    tab.fill("#key", MANAGE)
    with tab.expect_navigation():
        tab.keyboard.press("Enter")


def leave(tab, beginning):
    """Forget the messages of the browser that begin so: a refused form is one that was expected."""
    tab.wrong[:] = [text for text in tab.wrong if not text.startswith(beginning)]


def query_of(user_id):
    """Return a request for a shopper's list."""
    return RecommendQuery("r", user_id, "feed", 40, time.time_ns() // 1000)


def put_rule(service, rule_id):
    """Store a rule that has no effect any more."""
    rule = ShopRule(rule_id, "ban", expression='category = "lamps"', ends_at=1_700_000_000_000_000)
    change = RuleChange(rule_id, rule, "ann", time.time_ns() // 1000, "r")
    service.call(service.api.rules.change(change, "any"))
