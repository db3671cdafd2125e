import hashlib
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.core.errors import EmptyVideo, SchemaError, SourceError, TooLarge, UnreachableVideo, VanishedVideo
from vrec.core.protocols import VideoSource
from vrec.core.types import VideoRef
from vrec.media.catalog import FolderSource, TableSource, open_source
from vrec.media.source import content_hash, local_copy

LIMIT = 1 << 30


def test_a_folders_ids_are_paths_without_endings(tmp_path):
    for name in ("b.mp4", "a/x.y.MOV", "a/notes.txt", ".hidden.mp4", ".git/c.mp4", "商品 一.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    source = open_source(str(tmp_path))
    assert isinstance(source, VideoSource)
    assert [ref.video_id for ref in source.refs()] == ["a/x.y", "b", "商品 一"]
    assert source.ignored == 1
    assert [ref.video_id for ref in source.refs()] == ["a/x.y", "b", "商品 一"], "stable"
    assert source.ignored == 1
    assert source.read(next(iter(source.refs()))) == b"x"


def test_uris_are_absolute_whatever_was_given(tmp_path, monkeypatch):
    # A worker on a cluster has another working folder than the driver.
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"x")
    write(tmp_path / "v.parquet", video_id=["a"], uri=["clips/a.mp4"])
    monkeypatch.chdir(tmp_path)
    for source in ("clips", "./clips", "v.parquet"):
        assert [ref.uri for ref in open_source(source).refs()] == [str(tmp_path / "clips" / "a.mp4")]


@pytest.mark.parametrize("name", ["absent", "file.txt"])
def test_a_folder_that_is_none_is_refused(tmp_path, name):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(SourceError, match=name):
        FolderSource(str(tmp_path / name))


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_table_needs_only_what_embedding_reads(tmp_path):
    table = write(tmp_path / "v.parquet", uri=["clips/a.mp4", "/abs/b.mp4"], video_id=["a", "b"], sku=[1, 2])
    refs = list(open_source(table).refs())
    assert refs == [VideoRef("a", str(tmp_path / "clips/a.mp4")), VideoRef("b", "/abs/b.mp4")]


def test_a_table_brings_titles_and_tags(tmp_path):
    table = write(
        tmp_path / "v.parquet",
        video_id=pa.array(["a"], pa.large_string()),
        uri=pa.array(["s3://x/a.mp4"]).dictionary_encode(),
        title=["红色连衣裙"],
        tags=pa.array([["dress", "red"]], pa.large_list(pa.large_string())),
    )
    assert list(TableSource(table).refs()) == [VideoRef("a", "s3://x/a.mp4", "红色连衣裙", ("dress", "red"))]


def test_a_wrong_table_names_all_that_is_wrong(tmp_path):
    table = write(tmp_path / "v.parquet", video_id=[True, False], title=[0.5, 4], tags=["a", "b"])
    with pytest.raises(
        SchemaError,
        match=r"video_id is bool, want string; missing uri; title is double, want string; tags is string",
    ):
        open_source(table)
    (tmp_path / "t.parquet").write_text("hello")
    with pytest.raises(SourceError, match="not a Parquet table"):
        open_source(str(tmp_path / "t.parquet"))
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path / "gone.parquet"))


def test_a_local_video_is_hashed_in_place(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"abc" * 500_000)
    ref = VideoRef("a", str(path))
    with local_copy(ref, LIMIT) as video:
        assert video.path == str(path)
        assert video.size_bytes == 1_500_000
        assert video.content_hash == hashlib.sha256(path.read_bytes()).hexdigest() == content_hash(ref, LIMIT)


def test_a_remote_video_is_copied_and_removed():
    import fsspec

    fsspec.filesystem("memory").pipe("/shop/a.mp4", b"abc" * 700_000)
    ref = VideoRef("a", "memory://shop/a.mp4")
    with local_copy(ref, LIMIT) as video:
        assert os.path.getsize(video.path) == 2_100_000
        assert video.path.endswith(".mp4")
        assert video.content_hash == content_hash(ref, LIMIT)
    assert not os.path.exists(video.path)
    with pytest.raises(TooLarge), local_copy(ref, 1000):
        pass
    # What planning finds must be what fetching finds, or each run would fetch the file again to refuse it.
    with pytest.raises(TooLarge):
        content_hash(ref, 1000)
    fsspec.filesystem("memory").pipe("/shop/empty.mp4", b"")
    for read in (content_hash, lambda *a: local_copy(*a).__enter__()):
        with pytest.raises(EmptyVideo):
            read(VideoRef("e", "memory://shop/empty.mp4"), LIMIT)
    with pytest.raises(VanishedVideo), local_copy(VideoRef("b", "memory://shop/b.mp4"), LIMIT):
        pass


def test_what_cannot_be_a_video_file_is_told_apart(tmp_path):
    empty, fifo = tmp_path / "e.mp4", tmp_path / "f.mp4"
    empty.touch()
    os.mkfifo(fifo)
    cases = {str(tmp_path / "gone"): VanishedVideo, str(empty): EmptyVideo}
    cases |= {str(fifo): UnreachableVideo, str(tmp_path): UnreachableVideo, "gopher://h/v": UnreachableVideo}
    for uri, kind in cases.items():
        with pytest.raises(kind), local_copy(VideoRef("a", uri), LIMIT):
            pass
    (tmp_path / "big.mp4").write_bytes(b"12345")
    with pytest.raises(TooLarge), local_copy(VideoRef("a", str(tmp_path / "big.mp4")), 4):
        pass


def test_a_file_of_exactly_the_limit_is_taken_and_sizes_are_in_megabytes(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 3_000_001)
    assert len(content_hash(VideoRef("a", str(path)), 3_000_001)) == 64
    with pytest.raises(TooLarge, match="more than 3 MB"):
        content_hash(VideoRef("a", str(path)), 3_000_000)
    path.write_bytes(b"x" * 21_000_000)
    with pytest.raises(TooLarge, match="more than 20 MB"):
        content_hash(VideoRef("a", str(path)), 20_000_000)
