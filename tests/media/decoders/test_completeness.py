"""A file that was cut is told from a whole one, in each container and at each length."""

import pytest

from tests.media.reordered import REORDERED, write_film
from vrec.media.decode import MediaConfig, decode
from vrec.media.decoders.completeness import missing_end

FILMS = {
    "mkv": "libx264",
    "avi": "mpeg4",
    "ts": "libx264",
    "webm": "libvpx-vp9",
    "flv": "libx264",
    "wmv": "mpeg4",
    "fragmented.mp4": "libx264",
}
SHARES = (0.4, 0.6, 0.8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a film in each container."""
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for ending, codec in FILMS.items():
        path = folder / f"film.{ending}"
        order = "B-pyramid" if ending == "webm" else REORDERED
        kind = ending.rpartition(".")[2]
        write_film(path, kind, codec, order, "zero", fragmented=kind != ending)
        found[ending] = path.read_bytes()
    return found


@pytest.mark.parametrize("ending", FILMS)
def test_whole_films_are_whole(whole, ending, tmp_path):
    (tmp_path / "film").write_bytes(whole[ending])
    assert missing_end(whole[ending]) is None
    assert missing_end(str(tmp_path / "film")) is None
    assert decode(whole[ending], MediaConfig()).note is None


@pytest.mark.parametrize("ending", FILMS)
@pytest.mark.parametrize("share", SHARES)
def test_a_part_of_a_film_is_embedded_and_noted(whole, ending, share):
    video = decode(whole[ending][: int(len(whole[ending]) * share)], MediaConfig())
    assert "cut short" in (video.note or "")
    assert video.duration_s < 2.3


@pytest.mark.parametrize("ending", ["mkv", "avi", "webm", "fragmented.mp4"])
@pytest.mark.parametrize("lost", [1, 10, 100])
def test_a_single_lost_byte_is_seen_where_sizes_are_stated(whole, ending, lost):
    data = whole[ending]
    assert missing_end(data[:-lost]) == f"{len(data) - lost:,} of {len(data):,} bytes are there"


def test_a_transport_stream_ends_with_a_whole_packet(whole):
    data = whole["ts"]
    assert [missing_end(data[: len(data) - n]) is None for n in (0, 1, 187, 188, 376)] == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_unknown_sizes_and_bytes_behind_the_boxes_say_nothing(whole):
    live = bytearray(whole["mkv"])
    at = live.index(b"\x18\x53\x80\x67") + 4
    live[at : at + 8] = b"\x01" + b"\xff" * 7
    assert missing_end(bytes(live[:-500])) is None
    assert missing_end(whole["fragmented.mp4"] + b"trailing bytes") is None
    assert missing_end(b"RIFF\xff\xff\xff\xffAVI " + b"\0" * 1000) is None
    assert missing_end(b"") is None


def test_a_picture_that_ends_before_the_sound_is_not_cut_short(tmp_path):
    from tests.films import numbered, write_video

    path = write_video(tmp_path / "long.mkv", [numbered(i) for i in range(50)], tone_s=6.0)
    assert decode(path, MediaConfig()).note is None


@pytest.mark.parametrize("ending", ["mkv", "ts", "flv"])
def test_frames_that_are_all_of_one_time_are_noted(tmp_path, ending):
    path = tmp_path / f"zero.{ending}"
    numbers, _ = write_film(path, ending, "libx264", "no B", "frozen")
    video = decode(path, MediaConfig())
    assert "no times" in video.note
    assert len(video.frames) == 8
    assert len(numbers) == 60
