"""Prices come back as they were sent, and a limit on the price is exact."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.serving.catalog.small import changed, snapshot
from tests.serving.http.client import call, call_json
from vrec.events.videos import complete_videos
from vrec.serving.messages import RequestFilters

# All prices of 2 to 4 decimals up to the limit of the field, cheap ones more often.
PRICES = st.integers(2, 4).flatmap(
    lambda digits: st.one_of(
        st.decimals(0, 1_000, places=digits), st.decimals(0, 1_000_000_000, places=digits)
    )
)
FREE = {"requests_per_second": 1e6, "burst": 1_000_000}
EVERY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)


def put(app, price):
    # The digits as they are: a client's JSON has decimal digits, not a binary number.
    body = f'{{"price": {price:f}}}'.encode()
    return call(app, "PATCH", "/v1/videos/mugs%2F1", body, {"content-type": "application/json"})


@pytest.fixture
def app(made):
    return made(security=FREE)[0]


@EVERY
@given(price=PRICES)
@example(price=Decimal("12.34"))
@example(price=Decimal("1234567.89"))
@example(price=Decimal("999999999.9999"))
def test_a_price_comes_back_as_it_was_sent_wherever_it_is_shown(app, price):
    reply = put(app, price)
    text = reply.body.decode().partition('"price":')[2].partition(",")[0]
    assert (reply.status, Decimal(text)) == (200, price)
    filters = {"creators": ["ann"], "categories": ["mugs"]}
    body = {"user_id": "u", "filters": filters}
    shown = call_json(app, "POST", "/v1/recommend", body).json["items"]
    assert {item["video_id"]: item["price"] for item in shown}["mugs/1"] == float(price)


@given(price=PRICES, places=st.integers(2, 4))
@example(price=Decimal("12.34"), places=2)
def test_a_limit_on_the_price_is_exact(price, places):
    step = Decimal(1).scaleb(-places)
    start = snapshot()
    priced = start.with_changes([changed("a", price=float(price))])
    (row,) = priced.catalog.find(["a"])
    for limit, passes in ((price, True), (price + step, True), (price - step, False)):
        assert priced.filter_mask(RequestFilters(most_price=float(limit)))[row] == passes


@given(st.lists(st.decimals(0, 9_999, places=2), min_size=1, max_size=20))
def test_prices_of_narrow_columns_are_read_as_the_decimals_that_were_meant(prices):
    columns = {
        "float32": pa.array(map(float, prices), pa.float32()),
        "float64": pa.array(map(float, prices), pa.float64()),
        "decimal": pa.array(prices, pa.decimal128(12, 2)),
    }
    ids = [f"v{number}" for number in range(len(prices))]
    for kind, column in columns.items():
        table = complete_videos(pa.table({"video_id": ids, "price": column}), "test")
        assert table.column("price").to_pylist() == [float(price) for price in prices], kind
