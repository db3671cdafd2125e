"""Middleware: keys, rates, sizes, origins, ids and headers."""

import hashlib
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from tests.serving.http.client import call, call_json
from vrec.core.errors import ServeError
from vrec.serving.http.keys import ApiKeyring, create_key
from vrec.serving.http.rates import RateLimitStorage

EVENT = {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click"}
NEEDED = [
    ("POST", "/v1/recommend", {"user_id": "u"}, "read"),
    ("POST", "/v1/search", {"text": "red"}, "read"),
    ("GET", "/v1/videos/mugs%2F1/similar", None, "read"),
    ("GET", "/v1/videos/mugs%2F1/moments?q=mug", None, "read"),
    ("GET", "/v1/arms", None, "read"),
    ("GET", "/metrics", None, "read"),
    ("POST", "/v1/events", EVENT, "events"),
    ("GET", "/v1/profiles/u", None, "read"),
    ("DELETE", "/v1/profiles/u", None, "manage"),
    ("GET", "/v1/events", None, "manage"),
    ("POST", "/v1/videos", {"uri": "/x.mp4", "creator_id": "me"}, "manage"),
    ("POST", "/v1/uploads", {}, "manage"),
    ("PATCH", "/v1/videos/mugs%2F1", {"available": False}, "manage"),
    ("DELETE", "/v1/videos/mugs%2F1", None, "manage"),
    ("GET", "/v1/videos", None, "manage"),
    ("POST", "/v1/videos:bulk", None, "manage"),
    ("GET", "/v1/videos/hats%2F1", None, "manage"),
]


@pytest.mark.parametrize(("method", "path", "body", "scope"), NEEDED)
def test_an_operation_takes_a_key_of_its_scope_and_no_other(keyed, method, path, body, scope):
    app, _, headers = keyed
    reply = call_json(app, method, path, body)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer realm="vrec"')
    assert call_json(app, method, path, body, {"authorization": "Bearer wrong"}).status == 401
    for other in {"read", "events", "manage"} - {scope}:
        reply = call_json(app, method, path, body, headers[other])
        assert (reply.status, reply.json["type"]) == (403, "urn:vrec:problem:forbidden")
    assert call_json(app, method, path, body, headers[scope]).status not in (401, 403)


def test_a_key_comes_in_either_header(keyed):
    app, _, headers = keyed
    secret = headers["read"]["authorization"].removeprefix("Bearer ")
    for sent in ({"x-api-key": secret}, {"authorization": f"bearer {secret}"}):
        assert call_json(app, "POST", "/v1/recommend", {"user_id": "u"}, sent).status == 200
    for sent in ({"x-api-key": secret[:-1]}, {"authorization": f"Basic {secret}"}, {"cookie": secret}):
        assert call_json(app, "POST", "/v1/recommend", {"user_id": "u"}, sent).status == 401


def test_health_needs_no_key_and_tells_strangers_little(keyed):
    app, shop, headers = keyed
    assert call(app, "GET", "/healthz").json == {"status": "ok"}
    assert call(app, "GET", "/readyz").status == 200
    shop.away = OSError("gone")
    reply = call(app, "GET", "/readyz")
    assert (reply.status, reply.json["parts"]) == (503, {"ranking": "not ready"})
    assert "/srv" in call(app, "GET", "/readyz", headers=headers["events"]).json["parts"]["ranking"]


@given(
    st.dictionaries(
        st.text("abcXYZ09_.-", min_size=1, max_size=9),
        st.sets(st.sampled_from(["read", "events", "manage"]), min_size=1),
        min_size=1,
        max_size=4,
    ),
    st.text(),
)
def test_keys_are_found_by_their_secret_alone(scopes, other):
    made = {name: create_key(f"{name}:{'+'.join(sorted(of))}") for name, of in scopes.items()}
    keys = ApiKeyring.from_environment({"K": " , ".join(entry for _, entry in made.values())}, "K")
    for name, (secret, entry) in made.items():
        found = keys.find(secret)
        assert (found.name, found.scopes) == (name, scopes[name])
        assert secret not in entry
        assert entry.endswith(hashlib.sha256(secret.encode()).hexdigest())
    assert keys.find(other) is None


@pytest.mark.parametrize(
    "entry",
    ["", "secret", "a:read", "a:read:" + "0" * 63, "a:all:" + "0" * 64, "a b:read:" + "0" * 64,
     "a::" + "0" * 64, "a:read:" + "G" * 64, "a:read+:" + "0" * 64],
)  # fmt: skip
def test_an_entry_that_is_no_key_is_refused_without_being_quoted(entry):
    good = "b:read:" + "1" * 64
    with pytest.raises(ServeError) as raised:
        ApiKeyring.from_environment({"K": f"{good},{entry or 'x'}"}, "K")
    assert "entry 2" in str(raised.value)
    assert not entry or entry not in str(raised.value)
    assert ApiKeyring.from_environment({"K": " , "}, "K") is None
    assert ApiKeyring.from_environment({}, "K") is None


def test_keys_may_be_lines_of_a_file(tmp_path):
    (one, first), (other, second) = create_key("a:read"), create_key("b:events")
    (tmp_path / "keys").write_text(f"{first}\n{second}\n")
    keys = ApiKeyring.from_environment({"K_FILE": str(tmp_path / "keys")}, "K")
    assert [keys.find(secret).name for secret in (one, other)] == ["a", "b"]


def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up(made):
    app, _ = made(security={"requests_per_second": 2, "burst": 4})
    statuses = [call(app, "GET", "/v1/arms").status for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    reply = call(app, "GET", "/v1/arms")
    assert 1 <= int(reply.headers["retry-after"]) <= 3
    assert reply.json["type"] == "urn:vrec:problem:too-many-requests"
    assert call(app, "GET", "/v1/arms", client="198.51.100.8").status == 200
    assert call(app, "GET", "/healthz").status == 200
    time.sleep(int(reply.headers["retry-after"]))
    assert call(app, "GET", "/v1/arms").status == 200


def test_windows_are_cleared_once_a_second_and_no_request_starts_a_thread():
    storages = [RateLimitStorage() for _ in range(3)]
    for storage in storages:
        storage.timer.join()
    windows, limit = [MovingWindowRateLimiter(one) for one in storages], RateLimitItemPerSecond(5)
    assert all(window.hit(limit, "somebody") for window in windows)
    threads = set(threading.enumerate())
    due = [storage.next_clearing for storage in storages]
    for window in windows:
        assert [window.hit(limit, "somebody") for _ in range(5)] == [True] * 4 + [False]
    assert [storage.next_clearing for storage in storages] == due
    time.sleep(1.1)
    assert all(window.hit(limit, "another") for window in windows)
    until = time.monotonic() + 30
    first = [next(iter(storage.events)) for storage in storages]
    assert all("somebody" in name for name in first)
    while any(storage.events[name] for storage, name in zip(storages, first, strict=True)):
        assert time.monotonic() < until, [storage.events for storage in storages]
        time.sleep(0.01)
    assert set(threading.enumerate()) <= threads


def test_a_network_of_ipv6_addresses_is_one_caller_and_a_key_is_one_wherever_it_is(made):
    app, _ = made(security={"requests_per_second": 2, "burst": 2})
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff", "2001:db8:0:1::1"]
    assert [call(app, "GET", "/v1/arms", client=a).status for a in addresses] == [200, 200, 429, 200]
    pair = create_key("a:read")
    app, _ = made({"VREC_API_KEYS": pair[1]}, security={"requests_per_second": 2, "burst": 2})
    header = {"x-api-key": pair[0]}
    replies = [
        call(app, "GET", "/v1/arms", headers=header, client=f"198.51.100.{n}").status for n in range(3)
    ]
    assert replies == [200, 200, 429]
    assert call(app, "GET", "/v1/arms", client="198.51.100.1").status == 401


@pytest.mark.parametrize("said", [True, False])
def test_a_body_is_refused_once_it_is_too_long_whether_it_said_so_or_not(made, said):
    app, _ = made(security={"most_body_bytes": 1_000})
    headers = {"content-type": "application/json"}
    pieces = [b" " * 600, b" " * 600, b"{}"]
    body = b"".join(pieces) if said else pieces
    reply = call(app, "POST", "/v1/events", body, headers)
    assert (reply.status, reply.json["type"]) == (413, "urn:vrec:problem:too-large")
    assert "1,000 bytes" in reply.json["detail"]
    lying = {"content-type": "application/json", "content-length": "9" * 30}
    assert call(app, "POST", "/v1/events", b"{}", lying).status == 413
    assert call(app, "POST", "/v1/events", [b"{}", b" " * 998], headers).status == 422


def test_pages_of_other_sites_may_not_change_anything(made):
    app, shop = made()
    for origin in ("https://evil.test", "null", "http://[", "http://shop.test.evil.test"):
        reply = call_json(app, "POST", "/v1/events", EVENT, {"origin": origin})
        assert (reply.status, reply.json["type"]) == (403, "urn:vrec:problem:other-origin")
    assert shop.store.export(0, 10)[0].num_rows == 0
    assert call_json(app, "POST", "/v1/events", EVENT, {"origin": "http://shop.test"}).status == 202
    reply = call(app, "GET", "/v1/arms", headers={"origin": "https://evil.test"})
    assert not [name for name in reply.headers if name.startswith("access-control")]
    ask = {"origin": "https://evil.test", "access-control-request-method": "POST"}
    assert call(app, "OPTIONS", "/v1/events", headers=ask).status == 405


@pytest.mark.parametrize("given", ["a b", "x" * 65, "", "ü", "a\r\nset-cookie: x"])
def test_a_request_id_is_kept_where_it_is_sane_and_made_where_it_is_not(made, given):
    app, _ = made()
    assert (
        call(app, "GET", "/healthz", headers={"x-request-id": "Shop-1.a_b"}).headers["x-request-id"]
        == "Shop-1.a_b"
    )
    found = call(app, "GET", "/healthz", headers={"x-request-id": given}).headers["x-request-id"]
    assert found != given
    assert len(found) == 32


@pytest.mark.parametrize("path", ["/healthz", "/v1/none", "/v1/arms", "/media/none", "/v1/events?after=x"])
def test_every_answer_has_the_headers_of_a_careful_service(made, path):
    app, _ = made()
    headers = call(app, "GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"


def test_an_error_that_nobody_expected_is_told_to_the_log_and_not_to_the_caller(made, caplog):
    app, shop = made()
    shop.away = RuntimeError("secret /srv/path")
    reply = call_json(app, "POST", "/v1/search", {"text": "red"}, {"x-request-id": "r-9"})
    assert (reply.status, reply.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in reply.body.decode()
    assert reply.json["request_id"] == "r-9"
    (record,) = [one for one in caplog.records if one.name == "vrec.http"]
    assert record.request_id == "r-9"
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/none", 404),
        ("GET", "/v1/recommend", 405),
        ("PATCH", "/v1/events", 405),
        ("GET", "/docs", 404),
    ],
)
def test_paths_and_methods_that_are_not_there_are_problems_too(made, method, path, status):
    app, _ = made()
    reply = call(app, method, path)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
    assert reply.json["detail"].count("/openapi.json")
    assert status != 405 or reply.headers["allow"]


PATHS = ["/v1/recommend", "/v1/events", "/v1/search", "/v1/videos", "/v1/videos/mugs%2F1"]
KINDS = ["application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/plain"]


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    kind=st.sampled_from(KINDS),
    pieces=st.lists(
        st.binary(max_size=60) | st.sampled_from([b"--b\r\n", b"\r\n\r\n", b"--b--", b'{"events":[']),
        min_size=1,
        max_size=5,
    ),
)
def test_no_bytes_whatever_make_the_service_fail(made, path, kind, pieces):
    app, _ = _shared(made)
    method = "PATCH" if path.endswith("F1") else "POST"
    reply = call(app, method, path, pieces, {"content-type": kind})
    assert 400 <= reply.status < 500
    assert reply.json["status"] == reply.status


_MADE = {}


def _shared(made):
    """Return one app for all examples of a property."""
    if made not in _MADE:
        _MADE.clear()
        _MADE[made] = made(security={"requests_per_second": 1e6, "burst": 100_000})
    return _MADE[made]
