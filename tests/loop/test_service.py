"""Calls of the service, over real HTTP and with faults."""

import shutil

import pyarrow as pa
import pytest

from tests.bundles import shop
from tests.loop.shop_service import LoopService
from tests.web_files import free_port
from vrec.loop.errors import ServiceRefused
from vrec.loop.service import ServiceClient

EVENTS = 300


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setattr("vrec.loop.service.WAIT_S", 0.01)
    made = LoopService(tmp_path / "service", tmp_path / "bundles")
    yield made
    made.close()


def exported(client) -> list[pa.Table]:
    found, cursor = [], 0
    while True:
        table, cursor = client.export(cursor)
        if not table.num_rows:
            return found
        found.append(table)


def test_the_log_is_exported_also_where_answers_fail(service):
    events = shop().events.slice(0, EVENTS)
    service.add(events)
    service.faults = lambda number: ("refuse", "break", None)[number % 3]
    ids = pa.concat_tables(exported(ServiceClient(service.url))).column("event_id").to_pylist()
    assert sorted(ids) == sorted(events.column("event_id").to_pylist())


def test_an_answer_that_stays_away_is_an_error_that_names_the_service(service):
    closed_port = free_port()
    service.faults = lambda number: "refuse"
    with pytest.raises(ServiceRefused, match="HTTP 503"):
        ServiceClient(service.url).export(0)
    assert len(service.requests) == 4
    with pytest.raises(ServiceRefused, match=rf"127.0.0.1:{closed_port}/v1/bundles: no answer"):
        ServiceClient(f"http://127.0.0.1:{closed_port}").in_service()
    service.faults = lambda number: 302
    with pytest.raises(ServiceRefused, match="HTTP 302"):
        ServiceClient(service.url).export(0)


def test_it_moves_the_service_and_says_why_it_could_not(service, tmp_path, shop_bundle):
    for name in ("one", "two"):
        shutil.copytree(shop_bundle.uri, tmp_path / "bundles" / name)
    service.bundles.place("one")
    client = ServiceClient(service.url)
    assert (client.in_service().name, client.in_service().version) == ("one", shop_bundle.version)
    client.move("two", wait_s=10)
    assert service.bundles.moves == ["two"]
    service.bundles.refuses = "a smoke request differs"
    with pytest.raises(ServiceRefused, match="not moved to one: a smoke request differs"):
        client.move("one", wait_s=10)
    with pytest.raises(ServiceRefused, match="HTTP 422: three: "):
        client.move("three", wait_s=10)


def test_responses_are_counted_by_status(service):
    client = ServiceClient(service.url)
    assert client.responses().total == 0
    service.count(120, 7)
    assert (client.responses().total, client.responses().errors) == (120, 7)
