"""No id, e-mail address or phone number that was sent to a real service is in anything that it leaves."""

import io
import json
import re
import shutil
import signal
import sqlite3
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contracts.store_places import RedisServer
from tests.e2e.conftest import start, vrec
from tests.web_files import free_port
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.door.door import Door

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]
MANY = 1_000
IDS = [f"rawid-{n:04}" for n in range(MANY)]
MAILS = [f"raw.{n:04}@raw-mail.example" for n in range(MANY)]
PHONES = [f"1381000{n:04}" for n in range(MANY)]
BEFORE = [f"rawid-9{n:03}" for n in range(300)]
"""Shoppers whose events the store has under the old key."""
LEAK = "rawid-leak"
SENT = {*IDS, *MAILS, *PHONES, *BEFORE, LEAK}
RAW = re.compile(rb"rawid-(?:\d{4}|leak)|raw\.\d{4}@raw-mail\.example|(?<!\d)1381000\d{4}(?!\d)")
KEYS = {"VREC_PRIVACY_KEY": "n" * 32, "VREC_OLD_KEY": "o" * 32}
NEW, OLD = (Door(DoorConfig(key=name), "default", KEYS) for name in KEYS)


class PrivateService:
    """`vrec serve` with a Ray, a data folder and a store of its own, all below one folder."""

    def __init__(self, folder, bundle, store, env):
        # Ray's sockets allow no long paths.
        self.folder, self.ray = folder, Path(tempfile.mkdtemp(prefix="vr", dir="/tmp"))
        self.bundle, self.store, self.env = bundle, store, {**KEYS, **env, "RAY_TMPDIR": str(self.ray)}
        self.port, self.process, self.said = free_port(), None, b""

    def settings(self):
        fields = {"value": {"kind": "bands", "edges": [10, 50]}, "at": {"kind": "round"}}
        serve = {
            "bundle": self.bundle, "data": str(self.folder / "data"), "port": self.port, "store": self.store,
            "replicas": {"encoder": 0, "ranking": 0},
            "privacy": {"key": "VREC_PRIVACY_KEY", "old_key": "VREC_OLD_KEY", "fields": fields},
            "security": {"requests_per_second": 100_000, "burst": 100_000},
        }  # fmt: skip
        file = self.folder / "serve.yaml"
        file.write_text(json.dumps({"serve": serve}))
        return ["--config", file]

    def start(self, events):
        self.process = start("serve", *self.settings(), "--events", events, env=self.env)
        loaded, line = self.process.stdout.readline(), self.process.stdout.readline()
        if "serves" not in line:
            raise AssertionError(loaded + line + self.process.stderr.read())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.said += b"".join(part.encode() for part in self.process.communicate(timeout=120))

    def send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers, method=method), timeout=60
        ) as answer:
            return answer.read()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        shutil.rmtree(self.ray, ignore_errors=True)


def words_in(data):
    return {found.decode() for found in RAW.findall(data)} & SENT


def leaks(*folders):
    """Return what was sent and stands in files below folders, by file. Tables are read: they are packed."""
    found = {}
    for path in (one for folder in folders for one in folder.rglob("*") if one.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data = repr(pq.read_table(path).to_pydict()).encode()
        if words := words_in(data):
            found[path.name] = words
    return found


def event(user, number, video, kind="click", **more):
    return {"event_id": f"{user}-{number}", "user_id": user, "video_id": video, "kind": kind, **more}


def use(service, videos):
    """Send all sorts of requests, whose words are ids, addresses and numbers of shoppers; return what is
    answered to those who manage."""
    for users in (IDS, MAILS, PHONES):
        rows = [event(user, 1, videos[n % len(videos)]) for n, user in enumerate(users)]
        service.send("POST", "/v1/events", {"events": rows})
    service.send("POST", "/v1/events", event(IDS[0], 2, videos[0], "purchase", value=23.0))
    for n in range(0, MANY, 50):
        service.send("POST", "/v1/recommend", {"user_id": IDS[n], "k": 3})
        service.send("POST", "/v1/search", {"text": f"{videos[0]} {MAILS[n]}", "user_id": PHONES[n]})
        service.send("POST", "/v1/search", {"text": PHONES[n], "session_id": IDS[n]})
        visit = event(IDS[n], 3, videos[1])
        visit["session_id"] = visit.pop("user_id")
        service.send("POST", "/v1/events", visit)
        service.send("POST", f"/v1/users/{IDS[n]}/sessions", {"session_id": IDS[n]})
        link = {"other_user_id": MAILS[n], "consent": True}
        service.send("PUT", f"/v1/links/social/{IDS[n]}", link)
        service.send("PUT", f"/v1/users/{PHONES[n]}/consent", {"train": False})
    for n in range(0, MANY, 100):
        say = {"user_id": IDS[n], "message_id": f"{IDS[n]}-m", "message": f"mugs, or write to {MAILS[n]}"}
        service.send("POST", "/v1/assistant", say)
        say = {"user_id": MAILS[n], "message": f"I want to talk to a person, call {PHONES[n]}"}
        service.send("POST", "/v1/assistant", say)
        assert service.send("GET", f"/v1/users/{IDS[n]}/export")
        for path in (f"/v1/users/{IDS[n]}", f"/v1/profiles/{PHONES[n]}", f"/console/shoppers?user={IDS[n]}"):
            service.send("GET", path)
        service.send("DELETE", f"/v1/profiles/{PHONES[n]}")
    wrong = event(MAILS[0], 4, videos[0]) | {"kind": "dance"}
    with pytest.raises(urllib.error.HTTPError):
        service.send("POST", "/v1/events", wrong)
    made = json.loads(service.send("POST", "/v1/batches", {"user_ids": IDS[:40], "k": 3}))
    until, batch = time.monotonic() + 120, f"/v1/batches/{made['batch_id']}"
    while json.loads(service.send("GET", batch))["state"] in ("queued", "running"):
        assert time.monotonic() < until
        time.sleep(0.3)
    assert json.loads(service.send("GET", batch))["state"] == "done"
    reads = (
        "/metrics",
        "/v1/hand-overs",
        "/v1/audit",
        "/v1/arms",
        "/v1/links",
        "/v1/consents",
        "/v1/receipts",
        "/v1/searches/popular",
    )
    answers = {path: service.send("GET", path) for path in reads}
    answers["export"] = service.send("GET", "/v1/events")
    answers["batch"] = service.send("GET", f"{batch}/result")
    return answers


@pytest.fixture(params=["sqlite", "redis"])
def service(request, shop_bundle, tmp_path):
    redis, env = None, {}
    store = {"kind": "sqlite", "path": str(tmp_path / "data" / "store.db")}
    if request.param == "redis":
        (tmp_path / "redis").mkdir()
        redis = RedisServer(tmp_path / "redis")
        store, env = {"kind": "redis", "url_variable": redis.variable}, {redis.variable: redis.url}
    made = PrivateService(tmp_path, shop_bundle.uri, store, env)
    yield made
    made.close()
    if redis is not None:
        redis.stop()


def test_nothing_that_was_sent_is_left_anywhere_and_another_key_keeps_all(service, shop_bundle, tmp_path):
    videos = shop_bundle.parts.videos.column("video_id").to_pylist()
    log = {"user_id": [OLD.shopper(one) for one in BEFORE], "video_id": videos[:1] * len(BEFORE)}
    at = pa.array([datetime.now(UTC)] * len(BEFORE), pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({**log, "kind": ["click"] * len(BEFORE), "at": at}), tmp_path / "log.parquet")
    service.start(tmp_path / "log.parquet")
    answers = use(service, videos)
    if service.store["kind"] == "sqlite":  # once is enough: another kind of store makes no difference
        move_by_command(service, tmp_path)
    hand_overs = json.loads(answers["/v1/hand-overs"])["hand_overs"]
    assert len(hand_overs) == 10
    assert "[phone]" in hand_overs[0]["turns"][-1]["message"]
    batch = pq.read_table(io.BytesIO(answers["batch"]))
    assert list(dict.fromkeys(batch.column("user_id").to_pylist())) == [NEW.shopper(one) for one in IDS[:40]]
    for name in ("export", "batch"):
        pq.write_table(pq.read_table(io.BytesIO(answers.pop(name))), tmp_path / f"{name}.parquet")
    (tmp_path / "answers").write_bytes(b"\n".join(answers.values()))
    if service.store["kind"] == "sqlite":
        model = ["--model", "item_knn", "--out", tmp_path / "model"]
        code, _, err = vrec("fit", "--events", tmp_path / "export.parquet", *model)
        assert code == 0, err
        pq.write_table(shop_bundle.parts.videos, tmp_path / "videos.parquet")
        parts = ["--videos", tmp_path / "videos.parquet", "--recommender", tmp_path / "model"]
        parts += ["--out", tmp_path / "bundle"]
        code, _, err = vrec("bundle", "--events", tmp_path / "export.parquet", *parts)
        assert code == 0, err
    # The id of a request is kept as it is sent: one leak, which the search has to find.
    service.send("POST", "/v1/events", event("u", "x", videos[0], request_id=LEAK))
    service.stop()
    if service.store["kind"] == "sqlite":
        refuses_another_key(service)
    assert words_in(service.said) == set()
    assert len(list(service.ray.rglob("*.log"))) > 3
    found = leaks(tmp_path, service.ray)
    assert {word for words in found.values() for word in words} == {LEAK}, found


def refuses_another_key(service):
    """Start the service with the old key alone, which it refuses before Ray starts, and nothing changes."""
    store = Path(service.store["path"])

    def held():
        # Not the bytes of the file: whoever closes it last may move the log of writes into it.
        with closing(sqlite3.connect(store)) as database:
            return list(database.iterdump())

    before, env = held(), service.env | {"VREC_PRIVACY_KEY": KEYS["VREC_OLD_KEY"]}
    changes = ["serve.privacy.old_key=null", f"serve.port={free_port()}"]
    words = [*service.settings(), *(word for change in changes for word in ("--set", change))]
    code, out, err = vrec("serve", *words, env=env)
    assert (code, "starting Ray" in err) == (1, False), out + err
    assert f"the store {store} was written with another key of pseudonyms than VREC_PRIVACY_KEY" in err
    assert "run `vrec privacy rekey`" in err
    assert held() == before


def move_by_command(service, folder):
    """Move all shoppers to the new key while the service runs; the first one's own request does so before."""
    assert json.loads(service.send("GET", f"/v1/profiles/{BEFORE[0]}"))["events"] == 1
    ids = folder / "ids.csv"
    ids.write_text("\n".join(["user_id", *BEFORE, *IDS]))
    code, out, err = vrec("privacy", "rekey", "--ids", ids, *service.settings(), "--json", env=service.env)
    ids.unlink()
    assert code == 0, err
    assert json.loads(out)["moved"] == len(BEFORE) - 1
    log = pq.read_table(io.BytesIO(service.send("GET", "/v1/events")))
    users = set(log.column("user_id").to_pylist())
    assert {NEW.shopper(one) for one in (*BEFORE, *IDS)} <= users
    assert not {OLD.shopper(one) for one in (*BEFORE, *IDS, *MAILS, *PHONES)} & users
    assert json.loads(service.send("GET", f"/v1/profiles/{BEFORE[1]}"))["events"] == 1
