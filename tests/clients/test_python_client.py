"""The Python client against the real application on a real port that fails in passing."""

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def package(client_site):
    import vrec_client

    return vrec_client


def test_each_operation_of_the_document_is_a_method(client_generator, package):
    document = client_generator.own_document()
    wanted = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    for kind in (package.VrecClient, package.AsyncVrecClient):
        assert wanted <= set(dir(kind))
        assert all(getattr(kind, name).__doc__ for name in wanted)


USE = """
from vrec_client import AsyncVrecClient, EventSender, VrecClient, models

with VrecClient("http://127.0.0.1:1", "key") as vrec, EventSender(vrec, file="queue.db") as sender:
    answer = vrec.recommend(body=models.UserRecommendRequest(user_id="u", k=3))
    assert isinstance(answer, models.RecommendResponse)
    shown: list[tuple[str, float | None]] = [(item.video_id, item.price) for item in answer.items]
    sender.send(
        models.UserEventRequest(event_id="e", user_id="u", video_id="v", kind=models.EventKind.CLICK)
    )
    history: list[str] = [one.video_id for one in vrec.get_profile("u").history]


async def main() -> None:
    async with AsyncVrecClient("http://127.0.0.1:1") as vrec:
        answer = await vrec.recommend(body=models.UserRecommendRequest(user_id="u"))
        assert isinstance(answer, models.RecommendResponse)
        arm: str = answer.arm
        print(arm)


vrec.recommend(body=models.UserRecommendRequest(k=3))
vrec.get_profile(17)
"""


def test_the_package_passes_a_type_checker_and_so_does_its_user(client_site, tmp_path):
    (client_site / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "standard"}))
    (client_site / "use.py").write_text(USE)
    done = subprocess.run(
        [Path(sys.executable).parent / "basedpyright", "--pythonpath", sys.executable, "--outputjson", "."],
        cwd=client_site, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = [(Path(one["file"]).name, one["message"]) for one in found if one["severity"] == "error"]
    # The two mistakes of the last lines of USE, and nothing else.
    assert [name for name, _ in lines] == ["use.py", "use.py"], lines
    assert "user_id" in lines[0][1]
    assert "17" in lines[1][1]


def test_a_list_is_asked_for_again_under_the_same_request_id(service, package):
    service.faults = lambda number: ["refuse", "break", "cut", None][min(number, 3)]
    with package.VrecClient(service.url) as vrec:
        assert vrec.recommend(body=package.models.UserRecommendRequest(user_id="u")).items == []
    assert len(service.requests) == 4
    assert len({request_id for *_, request_id in service.requests}) == 1


@pytest.mark.parametrize("fault", ["break", "lose", "cut", "refuse"])
def test_what_must_not_be_sent_twice_is_sent_once(service, package, fault):
    service.faults = lambda number: fault
    body = package.models.AddVideoRequest(uri="/nowhere.mp4", creator_id="ann")
    with package.VrecClient(service.url) as vrec, pytest.raises(Exception):  # noqa: B017, PT011
        vrec.add_video(body=body)
    assert len(service.requests) == 1


def test_a_problem_is_an_error_with_the_field(service, package):
    models = package.models
    with package.VrecClient(service.url) as vrec:
        with pytest.raises(package.VrecError, match=r"422: .*k: ") as caught:
            vrec.recommend(body=models.UserRecommendRequest(user_id="u", k=0))
        assert caught.value.problem.errors[0].where == "k"
        with pytest.raises(package.VrecError, match=r"404: .*nobody"):
            vrec.get_profile("nobody")
        service.faults = lambda number: 418
        with pytest.raises(package.VrecError, match="418: no") as caught:
            vrec.get_profile("nobody")
        assert caught.value.problem is None


def test_the_asynchronous_client_does_the_same(service, package):
    async def ask():
        async with package.AsyncVrecClient(service.url) as vrec:
            service.faults = lambda number: ["lose", None][min(number, 1)]
            event = package.models.UserEventRequest(
                event_id="a", user_id="u", video_id="v", kind=package.models.EventKind.LIKE
            )
            added = await vrec.add_events(body=event)
            with pytest.raises(package.VrecError, match="404"):
                await vrec.get_profile("nobody")
            return added

    added = asyncio.run(ask())
    # The first answer was lost, not the event.
    assert (added.new, added.repeated) == (0, 1)
    assert service.events() == ["a"]


def test_the_log_is_read_in_pages(service, package):
    kind = package.models.EventKind.LIKE
    events = [
        package.models.UserEventRequest(event_id=str(n), user_id="u", video_id="v", kind=kind)
        for n in range(5)
    ]
    with package.VrecClient(service.url) as vrec:
        vrec.add_events(body=package.models.EventsRequest(events=events))
        pages = list(vrec.event_pages(limit=2))
        ids = [pq.read_table(io.BytesIO(page)).column("event_id").to_pylist() for page, _ in pages]
        assert ids == [["0", "1"], ["2", "3"], ["4"]]
        assert list(vrec.event_pages(after=pages[-1][1])) == []
