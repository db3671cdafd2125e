"""Keys that change while the service runs."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from tests.serving.http.client import call
from vrec.core import secrets
from vrec.core.errors import ServeError
from vrec.core.secrets import WatchedSecret
from vrec.serving.console.sessions import ConsoleSession, SessionSigner
from vrec.serving.http.keys import ApiKeyring, create_key


@pytest.fixture
def rotating(made, tmp_path, monkeypatch):
    """Return an app whose keys are in a file, and that file; a change is seen at once."""
    monkeypatch.setattr(secrets, "RELOAD_S", 0.0)
    file = tmp_path / "keys"

    def make(*entries):
        file.write_text("\n".join(entries))
        return made({"VREC_API_KEYS_FILE": str(file)})[0], file

    return make


def status(app, secret):
    return call(app, "GET", "/v1/arms", headers={"x-api-key": secret}).status


def test_a_key_is_replaced_without_a_restart_and_without_a_gap(rotating):
    (old, first), (new, second), (_, other) = (create_key(f"{name}:read") for name in ("shop", "shop", "x"))
    app, file = rotating(first, other)
    assert (status(app, old), status(app, new)) == (200, 401)
    file.write_text("\n".join([first, second, other]))
    assert (status(app, old), status(app, new)) == (200, 200)
    file.write_text("\n".join([second, other]))
    assert (status(app, old), status(app, new)) == (401, 200)


def test_a_file_that_is_moved_into_place_is_seen_and_so_is_a_link(rotating, tmp_path):
    (old, first), (new, second) = create_key("a:read"), create_key("a:read")
    app, file = rotating(first)
    (tmp_path / "next").write_text(second)
    os.replace(tmp_path / "next", file)
    assert (status(app, old), status(app, new)) == (401, 200)
    (tmp_path / "again").write_text(first)
    file.unlink()
    file.symlink_to(tmp_path / "again")
    assert (status(app, old), status(app, new)) == (200, 401)


@pytest.mark.parametrize("broken", ["", "shop:read:nothing", "\udcff".encode(errors="surrogateescape"), None])
def test_a_broken_file_changes_nothing_and_opens_nothing(rotating, broken, caplog):
    secret, entry = create_key("shop:read")
    app, file = rotating(entry)
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    for _ in range(3):
        assert (status(app, secret), status(app, "vrec_x"), call(app, "GET", "/v1/arms").status) == (
            200,
            401,
            401,
        )
    assert len([one for one in caplog.records if "stays as it was" in one.message]) == 1
    assert secret not in caplog.text
    later, line = create_key("shop:read")
    file.write_text(line)
    assert (status(app, secret), status(app, later)) == (401, 200)


def test_an_expired_key_says_so_to_its_owner(rotating):
    now = datetime.now(UTC)
    made = [
        (create_key("shop:read"), when) for when in (now - timedelta(seconds=9), now + timedelta(hours=1))
    ]
    app, _ = rotating(*(f"{entry}:{when.isoformat()}" for (_, entry), when in made))
    (old, _), _ = made[0]
    (new, _), _ = made[1]
    reply = call(app, "GET", "/v1/arms", headers={"x-api-key": old})
    assert (reply.status, "the key shop has expired" in reply.json["detail"]) == (401, True)
    assert status(app, new) == 200


@pytest.mark.parametrize(
    "expiry", ["tomorrow", "2027-01-31T00:00:00", "2027-13-01", "0001-01-01T00:00:00+14:00:x"]
)
def test_a_bad_expiry_is_refused(expiry):
    _, entry = create_key("shop:read")
    with pytest.raises(ServeError, match="expiry of entry 1"):
        ApiKeyring.from_environment({"K": f"{entry}:{expiry}"}, "K")


def test_a_date_is_an_expiry(monkeypatch):
    secret, entry = create_key("shop:read")
    ring = ApiKeyring.from_environment({"K": f"{entry}:2027-01-31"}, "K")
    key = ring.find(secret)
    for moment, expired in (
        (datetime(2027, 1, 30, 23, 59, tzinfo=UTC), False),
        (datetime(2027, 1, 31, tzinfo=UTC), True),
    ):
        monkeypatch.setattr("time.time", moment.timestamp)
        assert key.has_expired() == expired


def test_a_file_is_looked_at_once_a_second(tmp_path):
    file, seen = tmp_path / "s", []
    file.write_text("one")
    watched = WatchedSecret("S", {"S_FILE": str(file)})
    file.write_text("three")
    watched.reload(seen.append)
    assert seen == []
    watched.reload(seen.append, at_once=True)
    watched.reload(seen.append, at_once=True)
    assert (seen, watched.value) == (["three"], "three")
    fixed = WatchedSecret("S", {"S": "own", "S_FILE": str(file)})
    fixed.reload(seen.append, at_once=True)
    assert (fixed.value, len(seen)) == ("own", 1)


def test_a_session_is_of_one_key_among_those_of_a_name(tmp_path):
    """Who signed in with a key that is being replaced is out when it is removed."""
    (_, first), (_, second) = create_key("ann:manage"), create_key("ann:manage")
    file = tmp_path / "keys"
    file.write_text(f"{first}\n{second}")
    ring = ApiKeyring.from_environment({"K_FILE": str(file)}, "K")
    signer = SessionSigner(str(tmp_path), ring.with_handle)
    handles = [ring.with_handle(f"ann@{entry.split(':')[2][:12]}").handle for entry in (first, second)]
    cookies = [signer.cookie(ConsoleSession.begin(handle)) for handle in handles]
    assert len(set(handles)) == 2
    assert [signer.session(cookie).key for cookie in cookies] == handles
    ring._replace(second)
    assert [signer.session(cookie) is not None for cookie in cookies] == [False, True]
    ring._replace(f"{second}:2020-01-01")
    assert signer.session(cookies[1]) is None
