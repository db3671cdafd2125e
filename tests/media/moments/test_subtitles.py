"""Subtitles: odd encodings, tags, overlaps, and times that cannot be right."""

import math

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.media.moments.subtitles import (
    LONGEST_S,
    MAX_BYTES,
    PER_MINUTE,
    TEXT_BYTES,
    Cue,
    bound_cues,
    clean_text,
    decode_text,
    read_embedded,
    read_sidecar,
    read_sidecar_file,
)

SRT = """1
00:00:00,500 --> 00:00:02,000
<i>Look</i> at the <font color="#ff0000">zip</font> &amp; pocket
{\\an8}second line

2
00:00:01,000 --> 00:00:03,000
拉链在这里
"""
VTT = """WEBVTT

NOTE nobody says this

00:00.500 --> 00:02.000 align:start position:0%
<v Ann>Look at the <c.red>zip</c>

00:01.000 --> 00:03.000
拉链<00:01.500>在这里
"""


def texts(cues):
    return [cue.text for cue in cues]


def test_tags_and_entities_are_no_words():
    cues = read_sidecar(SRT.encode(), "srt")
    assert texts(cues) == ["Look at the zip & pocket second line", "拉链在这里"]
    assert [(cue.start_s, cue.end_s) for cue in cues] == [(0.5, 2.0), (1.0, 3.0)]
    assert texts(read_sidecar(VTT.encode(), "webvtt")) == ["Look at the zip", "拉链在这里"]


@pytest.mark.parametrize("text", ["1 < 2 and 3 > 2", "a <3 b", "50 % {off}", "AT&T"])
def test_what_is_no_tag_stays(text):
    assert clean_text(text) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encodings_are_found(encoding):
    assert "拉链在这里" in texts(read_sidecar(SRT.encode(encoding), "srt"))


def test_a_western_encoding_is_found():
    content = SRT.replace("拉链在这里", "la fermeture éclair, très élégante").encode("cp1252")
    assert "la fermeture éclair, très élégante" in texts(read_sidecar(content, "srt"))


@given(content=st.binary(max_size=400), form=st.sampled_from(["srt", "webvtt"]))
def test_any_bytes_give_cues_or_none(content, form):
    decode_text(content)
    for head in (b"", b"WEBVTT\n\n", SRT.encode()):
        for cue in bound_cues(read_sidecar(head + content, form), 100.0):
            assert cue.text


TIMES = st.one_of(st.floats(-10, 200), st.sampled_from([math.nan, math.inf, -math.inf, 4_294_963_296.0]))
CUES = st.lists(st.builds(Cue, TIMES, TIMES, st.text(max_size=300)), max_size=120)


@settings(max_examples=50)
@given(cues=CUES, end_s=st.floats(1, 180))
def test_cues_are_bounded_whatever_their_times(cues, end_s):
    found = bound_cues(cues, end_s)
    assert [cue.start_s for cue in found] == sorted(cue.start_s for cue in found)
    for cue in found:
        assert 0 <= cue.start_s < cue.end_s <= end_s
        assert cue.end_s - cue.start_s <= 60 + LONGEST_S
        assert 0 < len(cue.text.encode()) <= TEXT_BYTES
    for minute in range(4):
        assert sum(cue.start_s // 60 == minute for cue in found) <= PER_MINUTE


def test_too_many_cues_are_joined_and_lose_no_word():
    cues = [Cue(number / 2, number / 2 + 0.4, f"w{number}") for number in range(100)]
    found = bound_cues(cues, 60.0)
    assert " ".join(texts(found)).split() == [f"w{number}" for number in range(100)]


def test_overlapping_cues_stay_apart_and_repeated_ones_come_once():
    cues = [Cue(1, 4, "one"), Cue(2, 3, "two"), Cue(1, 4, "one")]
    assert bound_cues(cues, 9.0) == (Cue(1, 4, "one"), Cue(2, 3, "two"))


def test_a_wrong_end_is_replaced():
    assert bound_cues([Cue(5, 1, "back"), Cue(7, 1e6, "late")], 100.0) == (
        Cue(5, 7, "back"),
        Cue(7, 9, "late"),
    )


def test_files_that_cannot_be_read_have_no_cues(tmp_path):
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "a.txt").write_text(SRT)
    assert len(read_sidecar_file(str(tmp_path / "a.srt"))) == 2
    assert read_sidecar_file(str(tmp_path / "a.txt")) == []
    assert read_sidecar_file(str(tmp_path / "b.srt")) == []
    (tmp_path / "big.srt").write_bytes(
        SRT.encode() + b"\n\n3\n00:00:05,000 --> 00:00:06,000\n" + b"x" * MAX_BYTES
    )
    assert "拉链在这里" in texts(read_sidecar_file(str(tmp_path / "big.srt")))


def test_a_container_without_subtitles_has_none(tmp_path):
    from tests.films import noise, write_video

    with av.open(str(write_video(tmp_path / "a.mp4", list(noise(1))))) as container:
        assert read_embedded(container, 0.0) == []
