"""Listing of folders and tables as users have them: each bad entry is one failure, and the others go on."""

import itertools
import os
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.films import numbered
from vrec.core.errors import UnlistedVideo, UnreachableVideo, VanishedVideo
from vrec.media.catalog import VIDEO_EXTENSIONS, FolderSource, TableSource, folder_ids, open_source
from vrec.media.decode import MediaConfig, decode
from vrec.media.source import local_copy

LIMIT = 1 << 30


def listed(source) -> list[str]:
    return [ref.video_id for ref in source.refs()]


def failed(source) -> dict[str, str]:
    return {entry.video_id: str(entry.error) for entry in source.failures}


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def table(folder: Path, **columns) -> TableSource:
    pq.write_table(pa.table(columns), folder / "v.parquet")
    return TableSource(str(folder / "v.parquet"))


@pytest.mark.parametrize(
    ("links", "ids"),
    [
        ({"loop": "."}, ["a/x", "b/y"]),
        ({"a/up": "..", "b/up": ".."}, ["a/x", "b/y"]),
        ({"a/b": "../b", "b/a": "../a"}, ["a/x", "b/y"]),
        ({"a/again": "../b", "z": "a"}, ["a/x", "b/y"]),
        ({"out": "../outside"}, ["a/x", "b/y", "out/z"]),
        ({"out": "../outside", "out2": "../outside"}, ["a/x", "b/y", "out/z"]),
        ({"self": "self"}, ["a/x", "b/y"]),
        ({"copy.mp4": "a/x.mp4"}, ["a/x", "b/y", "copy"]),
    ],
    ids=str,
)
def test_links_add_each_folder_once_and_no_loop_has_an_end_to_wait_for(tmp_path, links, ids):
    root = touch(tmp_path / "root", "a/x.mp4", "b/y.mp4")
    touch(tmp_path / "outside", "z.mp4")
    for name, target in links.items():
        (root / name).symlink_to(target)
    source = FolderSource(str(root))
    assert listed(source) == ids
    assert not source.failures


def test_links_without_an_end_fail_and_do_not_vanish(tmp_path):
    root = touch(tmp_path / "root", "a.mp4")
    (root / "gone.mp4").symlink_to("nowhere.mp4")
    (root / "self.mp4").symlink_to("self.mp4")
    (root / "notes").symlink_to("nowhere")
    source = FolderSource(str(root))
    refs = {ref.video_id: ref for ref in source.refs()}
    assert sorted(refs) == ["a", "gone", "self"]
    assert source.ignored == 1, "no video by its name"
    with pytest.raises(VanishedVideo, match=r"link to nowhere\.mp4"), local_copy(refs["gone"], LIMIT):
        pass
    with pytest.raises(UnreachableVideo, match="symbolic links"), local_copy(refs["self"], LIMIT):
        pass


def test_a_name_that_is_no_utf_8_is_one_failure(tmp_path):
    touch(tmp_path, "a.mp4", "é.mp4")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).write_bytes(b"x")
    deep = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(deep)
    Path(os.fsdecode(deep + b"/b.mp4")).write_bytes(b"x")
    source = FolderSource(str(tmp_path))
    assert listed(source) == ["a", "é"]
    assert failed(source) == dict.fromkeys(["caf\\xe9.mp4", "\\xff\\xfe/b.mp4"], "its name is not UTF-8")
    for entry in source.failures:
        assert entry.uri.encode().decode() == entry.uri


def test_a_folder_that_cannot_be_read_is_one_failure(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "closed/b.mp4", "open/c.mp4")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = FolderSource(str(tmp_path))
    assert listed(source) == ["a", "open/c"]
    assert failed(source) == {"closed": "the folder cannot be listed: permission denied"}


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["a.mp4", "a.webm"], ["a.mp4", "a.webm"]),
        (["a.mp4", "a.MP4", "b.mp4"], ["a.MP4", "a.mp4", "b"]),
        (["a.mp4", "a.webm", "a.mp4.webm"], ["a.mp4", "a.mp4.webm", "a.webm"]),
        (["a.mp4", "a.mp4.webm", "a.mp4.webm.ts", "a.ts"], ["a.mp4", "a.mp4.webm", "a.mp4.webm.ts", "a.ts"]),
        (["x/a.mp4", "y/a.webm"], ["x/a", "y/a"]),
        (["a.b.mp4", "a.mp4"], ["a", "a.b"]),
    ],
    ids=str,
)
def test_files_that_differ_in_their_ending_keep_it_in_any_order(tmp_path, files, ids):
    touch(tmp_path, *files)
    source = FolderSource(str(tmp_path))
    assert sorted(listed(source)) == ids
    for order in itertools.permutations(files):
        assert sorted(folder_ids(order).values()) == ids


@given(st.sets(st.text("a.", min_size=1, max_size=6).map(lambda stem: f"b{stem}"), max_size=9))
def test_no_two_files_of_a_folder_have_one_id(files):
    assert len(set(folder_ids(sorted(files)).values())) == len(files)


def test_a_bad_row_of_a_table_is_one_failure_with_its_number(tmp_path):
    source = table(
        tmp_path,
        video_id=["a", None, " b ", "", "NaN", "null", "c", "d"],
        uri=["a.mp4", "x", "b.mp4", "x", "x", "x", None, "  "],
        tags=[["red", None], None, [None], [], None, None, None, None],
    )
    assert [(ref.video_id, ref.tags) for ref in source.refs()] == [("a", ("red",)), ("b", ())]
    assert failed(source) == {
        "(row 2)": "its video_id is empty",
        "(row 4)": "its video_id is empty",
        "NaN": "its video_id is 'NaN'",
        "null": "its video_id is 'null'",
        "c": "it has no uri",
        "d": "it has no uri",
    }
    assert all(isinstance(entry.error, UnlistedVideo) for entry in source.failures)


def test_text_that_is_no_utf_8_fails_in_its_own_row(tmp_path):
    # Parquet as other programs write it: nobody checked the bytes.
    raw = pa.array([b"a", b"b\xff", b"c"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    source = table(tmp_path, video_id=["a", "b", "c"], uri=["a.mp4", "b.mp4", "c.mp4"], title=texts)
    assert listed(source) == ["a", "c"]
    assert "UnicodeDecodeError" in failed(source)["b"]


@pytest.mark.parametrize(
    "column",
    [
        *(
            pa.array([7, 8], kind)
            for kind in (pa.int64(), pa.int32(), pa.uint8(), pa.float64(), pa.float32())
        ),
        *(pa.array(["7", "8"], kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        pa.array(["7", "8"]).dictionary_encode(),
        pa.array([7, 8]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize(
    "tags",
    [
        pa.array([["1", None], None], pa.list_(pa.string())),
        pa.array([["1"], None], pa.large_list(pa.large_string())),
        pa.array([[1], None], pa.list_(pa.int64())),
        pa.array([["1"], None], pa.list_(pa.string(), 1)),
        pa.array([["1"], None], pa.list_(pa.string_view())),
        pa.array([["1"], None], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    ],
    ids=lambda column: str(column.type),
)
def test_ids_and_tags_of_any_lossless_type_are_text(tmp_path, column, tags):
    source = table(tmp_path, video_id=column, uri=["a", "b"], title=pa.nulls(2), tags=tags)
    assert [(ref.video_id, ref.tags) for ref in source.refs()] == [("7", ("1",)), ("8", ())]


FORMATS = {
    "3g2": ("3g2", "libx264"), "264": ("h264", "libx264"), "asf": ("asf", "msmpeg4"),
    "avi": ("avi", "mpeg4"), "f4v": ("f4v", "libx264"), "flv": ("flv", "flv"), "hevc": ("hevc", "libx265"),
    "ivf": ("ivf", "libvpx"), "m1v": ("mpeg1video", "mpeg1video"), "m2t": ("mpegts", "mpeg2video"),
    "m2ts": ("mpegts", "libx264"), "m2v": ("mpeg2video", "mpeg2video"), "mk3d": ("matroska", "libx264"),
    "mov": ("mov", "libx264"), "mpe": ("mpeg", "mpeg1video"), "mts": ("mpegts", "libx264"),
    "mxf": ("mxf", "mpeg2video"), "nut": ("nut", "mpeg4"), "ogv": ("ogg", "libtheora"),
    "qt": ("mov", "mpeg4"),
    "rm": ("rm", "rv20"), "trp": ("mpegts", "mpeg2video"), "vob": ("vob", "mpeg2video"),
    "webm": ("webm", "libvpx"), "wmv": ("asf", "wmv2"),
}  # fmt: skip


@pytest.mark.parametrize("extension", sorted(FORMATS))
def test_a_video_of_any_usual_ending_is_listed_and_decodes(tmp_path, extension):
    form, codec = FORMATS[extension]
    path = tmp_path / f"a.{extension.upper()}"
    try:
        with av.open(str(path), "w", format=form) as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
            for number in range(25):
                file.mux(
                    stream.encode(av.VideoFrame.from_ndarray(numbered(number, 176, 144), format="rgb24"))
                )
            file.mux(stream.encode())
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV cannot write it: {error}")
    (ref,) = open_source(str(tmp_path)).refs()
    with local_copy(ref, LIMIT) as video:
        assert len(decode(video.path, MediaConfig()).frames) > 1


def test_the_endings_of_the_formats_are_those_of_ffmpeg():
    """Every ending that FFmpeg's own writers of video use is a video's, none of sound or a picture is."""
    for form in {form for form, _ in FORMATS.values()}:
        endings = av.format.ContainerFormat(form, "w").extensions - {"ogg", "wma", "ra"}
        assert {f".{ending}" for ending in endings} <= VIDEO_EXTENSIONS, form
    assert not VIDEO_EXTENSIONS & {".mp3", ".wav", ".jpg", ".png", ".gif", ".txt", ".json", ".m4a", ".ogg"}
