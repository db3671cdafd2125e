"""Files on the web, from a real server with the faults that real servers have."""

import base64
import gzip
import os
import pickle
import time

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tests.web_files import SIGNATURE, free_port, web_files
from vrec.core.errors import OutputError, SourceError
from vrec.core.http_files import HttpBody, HttpFiles, HttpLimits
from vrec.core.tables import StorageFolder
from vrec.core.uris import read_file, resolve

DATA = os.urandom(50_000)
QUICK = HttpLimits(
    attempts=4,
    connect_attempts=2,
    connect_s=1,
    read_s=0.3,
    backoff_s=0.01,
    wait_s=1,
    bytes_per_s=200,
    slow_s=0.5,
)


@pytest.fixture(scope="module")
def shared_web():
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": range(1000)}), table)
    files = {"a.mp4": DATA, "empty": b"", "t.parquet": table.getvalue().to_pybytes()}
    files |= {"a b%?#é.mp4": b"odd", "log.csv.gz": gzip.compress(b"x,y\n1,2\n")}
    with web_files(files) as server:
        yield server


@pytest.fixture
def web(shared_web):
    shared_web.requests.clear()
    shared_web.ranges.clear()
    shared_web.times.clear()
    return shared_web


def fetch(url, limits=QUICK):
    with HttpBody(url, limits) as body:
        return body.read()


@pytest.mark.parametrize(
    ("route", "requests"),
    [("ok", 1), ("redirect", 1), ("busy-once", 2), ("busy-until-a-date", 2), ("error-once", 2),
     ("no-length", 1), ("chunked", 1), ("chunked-short", 2), ("gzipped", 1), ("reset", 2),
     ("reset-first", 2), ("short", 2), ("reset-twice", 3), ("slow", 1)],
)  # fmt: skip
def test_a_file_comes_whole_whatever_happens_on_the_way(web, route, requests):
    assert fetch(f"{web.root}/{route}/a.mp4") == DATA
    assert web.requests[f"/{route}/a.mp4"] == requests


def test_a_broken_body_is_continued_at_a_range_where_the_server_says_that_it_is_the_same_file(web):
    fetch(f"{web.root}/reset-twice/a.mp4")
    assert len(web.ranges) == 2
    assert all(int(asked.removeprefix("bytes=").rstrip("-")) > 10_000 for asked in web.ranges)
    web.ranges.clear()
    fetch(f"{web.root}/reset/a.mp4")
    assert web.ranges == [], "without a validator all of it is read again, and compared"


@pytest.mark.parametrize(
    ("route", "error", "message", "requests"),
    [
        ("absent", FileNotFoundError, "HTTP 404 Not Found: there is no such file", 1),
        ("gone", FileNotFoundError, "HTTP 410 Gone: there is no such file", 1),
        (
            "forbidden",
            PermissionError,
            "HTTP 403 Forbidden: access is refused; a presigned URL may have expired",
            1,
        ),
        ("unauthorized", PermissionError, "HTTP 401 Unauthorized: access is refused", 1),
        ("teapot", OSError, "HTTP 418 I'm a Teapot: the server refuses the request", 1),
        ("error-for-ever", OSError, "HTTP 500 Internal Server Error: the server fails, after 4", 4),
        ("busy-for-ever", OSError, "HTTP 429 Too Many Requests: too many requests, after 4 attempts", 4),
        ("redirect-for-ever", OSError, "more than 30 redirects", 31),
        ("reset-for-ever", ConnectionError, "the connection broke off 4 times, last after ", 4),
        ("changed", OSError, "the file changed while it was read", 2),
        (
            "silent",
            ConnectionError,
            "the connection broke off 4 times, last after 0 bytes: nothing came for 0.3 s",
            4,
        ),
        ("mute", ConnectionError, "sends nothing for 0.3 s, also after 4 attempts", 4),
        ("trickle", TimeoutError, "the server is too slow: ", 1),
    ],
)
def test_what_went_wrong_is_said(web, route, error, message, requests):
    name = "nothing" if route == "absent" else "a.mp4"
    with pytest.raises(error) as caught:
        fetch(f"{web.root}/{route}/{name}")
    assert message in str(caught.value)
    assert web.requests[f"/{route}/{name}"] == requests
    kinds = (FileNotFoundError, PermissionError, ConnectionError, TimeoutError)
    assert [kind for kind in kinds if isinstance(caught.value, kind)] == [
        kind for kind in kinds if error is kind
    ]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/a", "cannot connect to 127.0.0.1:{port}: connection refused"),
        ("http://nowhere.invalid/a", "cannot connect to nowhere.invalid: the name of the host is not known"),
        ("https://127.0.0.1:{plain}/ok/a.mp4", "cannot connect to 127.0.0.1:{plain}: "),
        ("http://user:secret@127.0.0.1:{port}/a", "cannot connect to 127.0.0.1:{port}: connection refused"),
        ("http://[::1/a", "no valid web address"),
    ],
)
def test_no_connection_is_told_from_no_file(web, url, reason):
    places = {"port": free_port(), "plain": web.server_port}
    with pytest.raises(OSError, match=r"connect|address") as caught:
        fetch(url.format(**places))
    assert reason.format(**places) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not isinstance(caught.value, FileNotFoundError | PermissionError)


def test_a_redirect_to_another_scheme_or_host_does_not_read_local_files(web):
    for to in ("file:///etc/passwd", "ftp://127.0.0.1/a"):
        with pytest.raises(OSError, match="no valid web address"):
            fetch(f"{web.root}/redirect-to/x?to={to}")
    assert fetch(f"{web.root}/redirect-to/x?to={web.root}/ok/a.mp4") == DATA


@pytest.mark.parametrize(
    ("route", "least"), [("busy-once", 1.0), ("busy-for-a-day", 1.0), ("error-once", 0.0)]
)
def test_a_wait_is_as_long_as_the_server_asks_up_to_a_bound(web, route, least):
    fetch(f"{web.root}/{route}/a.mp4")
    first, second = web.times[f"/{route}/a.mp4"]
    assert second - first >= least


def test_a_password_before_the_host_is_sent_as_basic_authentication(web):
    address = f"http://user:pass%20word@{web.host}/basic/a.mp4"
    assert base64.b64decode("dXNlcjpwYXNzIHdvcmQ=") == b"user:pass word"
    assert read_file(address) == DATA


def test_a_signature_in_a_query_reaches_the_server(web):
    assert read_file(f"{web.root}/signed/a.mp4?X-Amz-Signature={SIGNATURE}&X-Amz-Expires=60") == DATA
    with pytest.raises(PermissionError, match="HTTP 403"):
        read_file(f"{web.root}/signed/a.mp4?X-Amz-Signature=other")


def test_names_are_encoded_once(web):
    for path in ("a b%25%3F%23é.mp4", "a%20b%25%3F%23%C3%A9.mp4", "a b%25%3F%23é.mp4#t=10,20"):
        assert read_file(f"{web.root}/ok/{path}") == b"odd"


@pytest.mark.parametrize("route", ["ok", "no-length", "chunked", "redirect", "reset", "gzipped"])
def test_parquet_is_read_from_every_kind_of_server(web, route):
    filesystem, path = resolve(f"{web.root}/{route}/t.parquet")
    assert pq.read_table(path, filesystem=filesystem).num_rows == 1000
    assert pq.ParquetFile(path, filesystem=filesystem).read().num_rows == 1000


def test_file_info_tells_files_from_nothing(web):
    filesystem, _ = resolve(web.root)
    names = ["/ok/a.mp4", "/ok/empty", "/ok/absent", "/no-length/a.mp4"]
    infos = filesystem.get_file_info(names)
    found = [(info.type, info.size) for info in infos]
    file = pafs.FileType.File
    assert found == [(file, len(DATA)), (file, 0), (pafs.FileType.NotFound, None), (file, None)]
    with pytest.raises(PermissionError, match="HTTP 403"):
        filesystem.get_file_info("/forbidden/a.mp4")


def test_an_empty_file_is_empty(web):
    assert read_file(f"{web.root}/ok/empty") == b""
    filesystem, path = resolve(f"{web.root}/ok/empty")
    with filesystem.open_input_file(path) as file:
        assert file.size() == 0


def test_a_folder_on_the_web_can_be_read_and_not_written_or_listed(web):
    folder = StorageFolder(f"{web.root}/ok/?token=secret")
    assert folder.exists("a.mp4")
    assert not folder.exists("absent")
    assert folder.read("a.mp4") == DATA
    assert folder.read("log.csv.gz") == web.files["log.csv.gz"], "as it is, whatever its name"
    with pytest.raises(FileNotFoundError):
        folder.read("absent")
    with pytest.raises(OutputError, match="files cannot be written over HTTP") as caught:
        folder.check_writable()
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="folders cannot be listed over HTTP"):
        folder.files()
    with pytest.raises(SourceError, match="HTTP 403") as caught:
        StorageFolder(f"{web.root}/forbidden?token=secret").exists("a.mp4")
    assert "/forbidden/a.mp4?token=***: HTTP 403" in str(caught.value)


def test_the_filesystem_goes_to_other_processes(web):
    filesystem, path = pickle.loads(
        pickle.dumps(resolve(f"{web.root}/signed/a.mp4?X-Amz-Signature={SIGNATURE}"))
    )
    with filesystem.open_input_stream(path) as stream:
        assert stream.read(10) == DATA[:10]
        assert stream.read(10) == DATA[10:20]
    assert HttpFiles("http://a", "q") == HttpFiles("http://a", "q") != HttpFiles("http://a", "r")


def test_the_server_learns_who_asks(web):
    read_file(f"{web.root}/ok/a.mp4")
    assert all(agent.startswith("vrec/") for agent in web.agents)


def test_time_between_reads_is_not_the_servers(web):
    with HttpBody(f"{web.root}/ok/a.mp4", QUICK) as body:
        parts = []
        for _ in range(5):
            parts.append(body.read(10))
            time.sleep(0.15)
        parts.append(body.read())
    assert b"".join(parts) == DATA
