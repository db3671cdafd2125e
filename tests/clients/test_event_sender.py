"""No event is lost, and none is counted twice, whatever the service and the process do."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def api(client_site):
    """The package, a function that makes events, and one that makes clients without pauses."""
    import vrec_client

    class Api:
        package = vrec_client
        sender = vrec_client.EventSender

        @staticmethod
        def event(event_id, **more):
            kind = vrec_client.models.EventKind.CLICK
            return vrec_client.models.UserEventRequest(
                event_id=event_id, user_id="u", video_id="v", kind=kind, **more
            )

        @staticmethod
        def client(service, **more):
            return vrec_client.VrecClient(service.url, **({"retries": 0} | more))

    return Api


def test_an_event_is_sent_within_the_time_and_has_the_time_of_its_sending(service, api):
    with api.client(service) as client, api.sender(client, every_s=0.05) as sender:
        sender.send(api.event("a"))
        until = time.monotonic() + 10
        while not service.events() and time.monotonic() < until:
            time.sleep(0.01)
        assert service.events() == ["a"]
    at = service.shop.store.export()[0].column("at")[0].as_py().timestamp()
    assert abs(at - time.time()) < 20


def test_a_full_batch_does_not_wait(service, api):
    with api.client(service) as client, api.sender(client, batch=3, every_s=600) as sender:
        for n in range(3):
            sender.send(api.event(str(n)))
        until = time.monotonic() + 10
        while len(service.events()) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert sorted(service.events()) == ["0", "1", "2"]
        assert len(service.requests) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([None, "break", "lose", "cut", "refuse", 401, 500]), max_size=6),
    st.integers(1, 40),
    st.integers(1, 7),
    st.booleans(),
)
def test_each_event_is_in_the_log_once(service, api, tmp_path, faults, count, batch, in_file):
    # Its first requests fail in any way; then the service is well again.
    before = set(service.events())
    first = len(service.requests)
    service.faults = lambda number: faults[number - first] if number - first < len(faults) else None
    ids = [f"{time.monotonic_ns()}-{n}" for n in range(count)]
    file = tmp_path / "queue.db" if in_file else None
    with api.client(service) as client, api.sender(client, file=file, batch=batch, every_s=0.01) as sender:
        for one in ids:
            sender.send(api.event(one))
        assert sender.flush(60) == 0
    found = service.events()
    assert len(found) == len(set(found))
    assert set(found) - before == set(ids)


def test_invalid_events_are_named_and_keep_no_other_from_the_log(service, api):
    refused = []
    with (
        api.client(service) as client,
        api.sender(client, every_s=600, on_rejected=lambda *one: refused.append(one)) as sender,
    ):
        for n in range(10):
            sender.send(api.event(f"e{n}", value=-1.0) if n in (0, 7) else api.event(f"e{n}"))
        sender.send(api.event("x" * 5000))
    assert sorted(service.events()) == [f"e{n}" for n in range(10) if n not in (0, 7)]
    assert {event["event_id"][:2] for event, _ in refused} == {"e0", "e7", "xx"}
    assert all("value" in reason or "event_id" in reason for _, reason in refused)


def test_a_sender_in_memory_returns_what_the_service_did_not_take(api, closed_port):
    with api.package.VrecClient(f"http://127.0.0.1:{closed_port}", retries=0) as client:
        sender = api.sender(client, every_s=0.01)
        sender.send(api.event("a"))
        with pytest.raises(api.package.EventsNotSent, match="1 events were not sent") as caught:
            sender.close(0.2)
    assert caught.value.events[0]["event_id"] == "a"
    with pytest.raises(ValueError, match="closed"):
        sender.send(api.event("b"))
    sender.close()


def test_the_next_sender_with_the_file_sends_what_was_left(service, api, tmp_path):
    service.stop()
    with api.client(service) as client, api.sender(client, file=tmp_path / "q.db", every_s=0.01) as sender:
        for n in range(5):
            sender.send(api.event(str(n)))
        sender.close(0.2)
    service.start()
    with api.client(service) as client, api.sender(client, file=tmp_path / "q.db"):
        pass
    assert sorted(service.events()) == list("01234")


def test_a_full_queue_says_so(api, closed_port):
    with api.package.VrecClient(f"http://127.0.0.1:{closed_port}", retries=0) as client:
        sender = api.sender(client, capacity=2)
        sender.send(api.event("a"))
        sender.send(api.event("b"))
        with pytest.raises(api.package.QueueFull, match="2 events wait"):
            sender.send(api.event("c"))
        with pytest.raises(api.package.EventsNotSent):
            sender.close(0)


def test_threads_may_share_a_sender(service, api):
    with api.client(service) as client, api.sender(client, batch=20, every_s=0.01) as sender:

        def work(name):
            for n in range(50):
                sender.send(api.event(f"{name}-{n}"))

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(service.events()) == sorted(f"{name}-{n}" for name in "abcd" for n in range(50))


PROCESS = """
import os, sys, time
from vrec_client import EventSender, VrecClient
from vrec_client.generated.models import EventKind, UserEventRequest

url, file = sys.argv[1], sys.argv[2] or None
sender = EventSender(VrecClient(url, retries=0), file=file, every_s=600)

def send(name):
    sender.send(UserEventRequest(event_id=name, user_id="u", video_id="v", kind=EventKind.CLICK))

"""


def run(client_site, service, file, code):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS + textwrap.dedent(code), service.url, file],
        env=os.environ | {"PYTHONPATH": str(client_site)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_process_that_ends_or_raises_loses_nothing(service, client_site):
    assert run(client_site, service, "", 'send("a")').wait(60) == 0
    assert run(client_site, service, "", 'send("b"); 1 / 0').wait(60) == 1
    assert sorted(service.events()) == ["a", "b"]


def test_a_killed_process_with_a_file_loses_nothing(service, client_site, api, tmp_path):
    file = str(tmp_path / "q.db")
    process = run(
        client_site,
        service,
        file,
        'for n in range(9): send(f"{n}")\nprint("sent", flush=True)\ntime.sleep(99)',
    )
    assert process.stdout.readline() == "sent\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert service.events() == []
    with api.client(service) as client, api.sender(client, file=file):
        pass
    assert sorted(service.events()) == [str(n) for n in range(9)]


@pytest.mark.parametrize("in_file", [False, True])
def test_a_forked_child_sends_its_own_events(service, client_site, tmp_path, in_file):
    code = """
    send("parent before")
    child = os.fork()
    send("parent after" if child else "child")
    if child:
        os.waitpid(child, 0)
    """
    file = str(tmp_path / "q.db") if in_file else ""
    assert run(client_site, service, file, code).wait(60) == 0
    assert sorted(service.events()) == ["child", "parent after", "parent before"]
