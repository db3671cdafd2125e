import os
import random
import re
from pathlib import Path
from urllib.parse import quote

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import SourceError
from vrec.core.tables import StorageFolder
from vrec.core.uris import (
    SplitUri,
    absolute_uri,
    is_uri,
    is_web,
    join_uri,
    local_path,
    parent_uri,
    read_file,
    resolve,
    sibling_uri,
    uri_name,
)

S3 = "endpoint_override=http://127.0.0.1:9000&region=us-east-1"
ODD = "aZ0 %25%2F%?#&=+:@!$'()*,;[]{}|\\^~`\"<>é商😀\t\n\x7f-_."

names = st.text(st.sampled_from(ODD), min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
folders = st.sampled_from(
    [
        f"s3://bucket?{S3}",
        f"s3://bucket/a b/c%25?{S3}",
        f"s3://KEY:SE%2FCRET@bucket/x?{S3}",
        # Without a region pyarrow asks AWS for that of the bucket.
        "s3://bucket/x?region=eu-west-1&endpoint_override=a/b?c=d",
        "gs://bucket/x",
        "memory://box/x",
        "memory://box",
    ]
)


@given(names)
def test_a_local_path_is_taken_as_it_is_written(name):
    folder = "/data/a?b#c%20d"
    assert join_uri(folder, name) == f"{folder}/{name}"
    assert parent_uri(join_uri(folder, name)) == folder
    assert uri_name(join_uri(folder, name)) == name
    filesystem, path = resolve(join_uri(folder, name))
    assert isinstance(filesystem, pafs.LocalFileSystem)
    assert path == f"{folder}/{name}"


@given(folders, st.lists(names, min_size=1, max_size=3))
def test_a_name_joined_to_a_uri_is_that_name_on_the_filesystem(folder, steps):
    joined = join_uri(folder, *steps)
    assert join_uri(folder, "/".join(steps)) == joined
    assert resolve(joined)[1] == "/".join([resolve(folder)[1], *steps]).rstrip("/")
    assert uri_name(joined) == steps[-1]
    assert SplitUri.parse(joined).query == SplitUri.parse(folder).query, "behind the path, and unchanged"
    assert SplitUri.parse(joined).authority == SplitUri.parse(folder).authority
    assert str(SplitUri.parse(joined)) == joined


@given(folders, st.lists(names, min_size=1, max_size=3))
def test_the_parent_undoes_a_join(folder, steps):
    joined = join_uri(folder, *steps)
    for step in reversed(steps):
        assert uri_name(joined) == step
        joined = parent_uri(joined)
    assert joined == folder


@given(st.lists(names, min_size=1, max_size=3))
def test_file_uris_and_paths_lead_to_the_same_file(steps):
    filesystem, path = resolve(join_uri("file:///data/a%20b", *steps))
    assert isinstance(filesystem, pafs.LocalFileSystem)
    assert path == os.path.abspath(os.path.join("/data/a b", *steps))
    encoded = "file:///data/a%20b/" + "/".join(quote(step, safe="") for step in steps)
    assert resolve(encoded)[1] == path
    assert local_path(encoded) == "/".join(["/data/a b", *steps])


@given(names, st.sampled_from(["", f"?{S3}", "?X-Amz-Signature=ab%2Fc&X-Amz-Expires=60", "?flag"]))
def test_relative_paths_in_a_table_are_meant_from_its_folder(name, query):
    table, relative = f"https://host/t/VIDEOS.parquet{query}", f"clips/{name}"
    assert sibling_uri(table, relative) == join_uri(f"https://host/t{query}", relative)
    assert SplitUri.parse(sibling_uri(table, relative)).query == query.removeprefix("?")
    assert sibling_uri("/t/VIDEOS.parquet", relative) == f"/t/clips/{name}"
    for absolute in ("/a/b?c", "https://host/a?sig=1", "s3://other/a"):
        assert sibling_uri(table, absolute) == absolute


@pytest.mark.parametrize("place", ["local", "file", "memory"])
def test_files_with_odd_names_are_written_read_and_listed(tmp_path, place):
    drawn = random.Random(0)
    wanted = {"".join(drawn.choices(ODD.replace("\\", ""), k=8)).strip(".") or "x" for _ in range(60)}
    base = {
        "local": str(tmp_path / "a?b#%20"),
        "file": f"{tmp_path.as_uri()}/a%3Fb",
        "memory": "memory://odd",
    }
    folder = StorageFolder(base[place])
    for name in wanted:
        folder.write(name, name.encode())
    assert set(folder.files()) == wanted
    for name in wanted:
        assert folder.read(name) == read_file(join_uri(base[place], name)) == name.encode()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://b/a b/ü#1.mp4?region=x", "b/a b/ü#1.mp4"),
        ("s3://b/a%20b%2525?region=x", "b/a b%25"),
        ("s3://b/100% cotton.mp4?region=x", "b/100% cotton.mp4"),
        ("s3://b/a?region=x", "b/a"),
        ("s3://KEY:SE%2FCRET@b/a?region=x", "b/a"),
        ("s3://b/?region=x", "b"),
        ("gs://b//a", "b//a"),
        ("abfs://box@account.dfs.core.windows.net/a b%25c", "box/a b%c"),
        ("http://h/a%2Fb c?sig=x#t=1", "/a%2Fb c"),
        ("HTTPS://h", ""),
        ("file:///a?b#c%20d", "/a?b#c d"),
        ("file:/a", "/a"),
        ("clip: take 1.mp4", os.path.abspath("clip: take 1.mp4")),
        ("2024-01-01T10:00:00.parquet", os.path.abspath("2024-01-01T10:00:00.parquet")),
        ("C:\\data", os.path.abspath("C:\\data")),
    ],
)
def test_uris_and_their_paths(uri, path):
    assert resolve(uri)[1] == path


@pytest.mark.parametrize(
    ("uri", "reason", "fix"),
    [
        ("gopher://host/videos", "gopher://host", "fsspec package"),
        ("s3://b/what?.mp4", "Unexpected query parameter", "%3F"),
        ("s3://b/a?speed=9", "Unexpected query parameter", "check the URI"),
        ("file://other/a", "on another host", "file:///"),
        ("s3:///a", "no host or bucket", "s3://NAME"),
        ("http:///a", "no host or bucket", "http://NAME"),
        ("s3://KEY:***@b/a", "were masked", "as it was"),
        ("https://h/a?sig=***", "were masked", "as it was"),
        ("hdfs://h:1/a", "hdfs://h:1/a: ", "network"),
    ],
)
def test_uris_that_lead_nowhere_say_why(uri, reason, fix):
    with pytest.raises(SourceError) as caught:
        resolve(uri)
    assert reason in str(caught.value)
    assert fix in caught.value.fix


def test_a_secret_is_not_in_the_error_of_a_uri():
    with pytest.raises(SourceError) as caught:
        resolve("s3://KEY:SECRET@b/a?speed=9&token=SECRET")
    assert "SECRET" not in str(caught.value) + caught.value.fix


def test_what_is_a_uri():
    assert all(map(is_uri, ["s3://b", "http://h", "memory://x", "file:///a", "file:/a", "zip+s3://x"]))
    assert not any(map(is_uri, ["/a", "a/b", "C:\\a", "C:/a", "a:b", "://x", "1s3://b", "", "data:a"]))
    assert is_web("https://h/a")
    assert not is_web("s3://h/a")
    assert not is_web("/http://h/a")


def test_roots_are_their_own_parents():
    for root in ("s3://b", f"s3://b?{S3}", "/", "memory://b"):
        assert parent_uri(root) == root
    assert parent_uri("file:///a") == "file:///"
    assert parent_uri("a.parquet") == ""
    assert join_uri(parent_uri("a.parquet"), "b") == "b"


def test_joined_uris_have_one_slash_between_names():
    assert join_uri("s3://b/v/", "a", "b.mp4") == "s3://b/v/a/b.mp4"
    assert join_uri("s3://b?x=1", "a") == "s3://b/a?x=1"
    assert join_uri("file:///data", "a") == "file:///data/a"
    assert join_uri("/data", "a", "b.mp4") == "/data/a/b.mp4"
    assert join_uri("C:\\data", "a").startswith("C:\\data"), "a drive is no scheme"


def test_paths_become_absolute_but_not_in_a_submitted_jobs_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_uri("a/b") == StorageFolder("a/b").uri == str(tmp_path / "a/b")
    assert absolute_uri("s3://b/c") == "s3://b/c"
    copy = tmp_path / "runtime_resources/working_dir_files/_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert absolute_uri("/a") == "/a"
    with pytest.raises(SourceError, match="relative path in a submitted job"):
        absolute_uri("out")


def test_no_other_module_takes_uris_apart_or_appends_to_them():
    root = Path(__file__).resolve().parents[2]
    own = {root / "vrec/core/uris.py", root / "vrec/testing/rankers.py"}
    wrong = re.compile(
        r"from_uri\(|url_to_fs|LocalFileSystem\(|[\"']://[\"'] (not )?in (uri|path|out|data)"
        r"|\{(\w+\.)*(uri|out|folder|bundle|data|base|table)\}/"
    )
    found = [
        f"{file.relative_to(root)}: {line.strip()}"
        for file in [*root.glob("vrec/**/*.py"), *root.glob("jobs/*.py")]
        if file not in own
        for line in file.read_text().splitlines()
        if wrong.search(line) and "def " not in line and "add_from_uri" not in line
    ]
    assert not [line for line in found if "stem = f" not in line]
