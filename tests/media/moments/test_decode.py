"""Moments of real encoded videos: formats, clocks, sound that starts late, subtitles, limits."""

import subprocess

import numpy as np
import pytest

from tests.films import noise, write_video
from vrec.core.errors import NoVideoStream, VideoError
from vrec.media.decode import MediaConfig, decode
from vrec.media.decode_process import DecodeProcess

PLAIN = MediaConfig(fingerprint=True)
CONFIG = PLAIN.model_copy(update={"moments": MediaConfig(moments={}).moments})
SHOTS = (0.0, 3.0, 4.5, 9.0)
SRT = "1\n00:00:03,000 --> 00:00:04,500\n<b>the zip</b>\n"


def shots(rate: int = 10, seconds: float = 12.0) -> list[np.ndarray]:
    """Pictures of four shots, which begin at SHOTS."""
    looks = [noise(seed, frames=1)[0] for seed in range(len(SHOTS))]
    count = int(seconds * rate)
    return [looks[np.searchsorted(SHOTS, number / rate, side="right") - 1] for number in range(count)]


def has_cuts(spans, at=SHOTS, within=0.3):
    return all(np.abs(spans[:, 0] - cut).min() <= within for cut in at)


def same_video(plain, other):
    assert np.array_equal(plain.frames, other.frames)
    assert plain.fingerprint == other.fingerprint
    assert (plain.audio is None) == (other.audio is None)
    assert plain.audio is None or np.array_equal(plain.audio, other.audio)
    assert plain.duration_s == other.duration_s


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),
        ("a.mkv", "libx265", {"x265-params": "log-level=none"}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.mpg", "mpeg2video", {"bf": "2"}),
        ("a.ts", "libx264", {"bf": "2"}),
    ],
)
def test_cuts_are_found_in_every_format(tmp_path, name, codec, options):
    rate = 25 if name == "a.mpg" else 10
    path = write_video(tmp_path / name, shots(rate), codec=codec, rate=rate, options=options)
    found = decode(path, CONFIG)
    assert found.moments is not None
    assert has_cuts(found.moments.spans)
    assert len(found.moments.frames) == len(found.moments.spans)
    same_video(decode(path, PLAIN), found)


def test_a_variable_frame_rate_keeps_its_times(tmp_path):
    rng = np.random.default_rng(0)
    steps = rng.integers(20, 400, 60)
    times = [0, *np.cumsum(steps).tolist()]
    looks = [noise(seed, frames=1)[0] for seed in (1, 2)]
    pictures = [looks[time >= 5000] for time in times]
    path = write_video(tmp_path / "a.mkv", pictures, times_ms=times)
    cut = next(time for time in times if time >= 5000) / 1000
    spans = decode(path, CONFIG).moments.spans
    assert has_cuts(spans, (cut,), 0.45)


def test_a_rotated_video_gives_upright_frames(tmp_path):
    pictures = [picture[:112] for picture in shots()]
    upright = decode(write_video(tmp_path / "a.mp4", pictures, rate=10), CONFIG).moments
    turned = [np.rot90(picture).copy() for picture in pictures]
    rotated = decode(write_video(tmp_path / "b.mp4", turned, rate=10, rotate_deg=-90), CONFIG).moments
    assert np.array_equal(upright.spans, rotated.spans)
    difference = np.abs(upright.frames.astype(int) - rotated.frames).mean()
    assert difference < 12


def test_one_frame_is_one_moment(tmp_path):
    path = write_video(tmp_path / "a.mp4", [noise(3, frames=1)[0]])
    moments = decode(path, CONFIG).moments
    assert moments.spans.shape == (1, 2)
    assert moments.spans[0, 0] == 0
    assert moments.sound is None
    assert moments.cues == ()


def test_sound_alone_is_refused_as_before(shared_data):
    with pytest.raises(NoVideoStream):
        decode(shared_data / "hostile" / "audio.mp3", CONFIG)


def test_sound_is_cut_on_the_clock_of_the_picture(tmp_path):
    """A beep of another pitch at 6 s, in a sound that begins 2 s after the picture."""
    video = write_video(tmp_path / "a.mp4", shots(), rate=10)
    beep = "sine=f=200:d=4[a];sine=f=2000:d=1.5[b];sine=f=200:d=4[c];[a][b][c]concat=n=3:v=0:a=1"
    subprocess.run(
        [
            *(["ffmpeg", "-v", "error", "-y", "-i"]),
            video,
            *(["-itsoffset", "2", "-f", "lavfi", "-i"]),
            beep,
            *(["-c:v", "copy", "-map", "0:v", "-map", "1:a"]),
            tmp_path / "b.mkv",
        ],
        check=True,
    )
    moments = decode(tmp_path / "b.mkv", CONFIG).moments
    starts = moments.sound_spans[:, 0]
    for at in (2.0, 6.0, 7.5):
        assert np.abs(starts - at).min() <= 0.3
    assert sum(len(moments.sound_of(n)) for n in range(len(starts))) == len(moments.sound)


def test_sound_beyond_what_the_encoder_takes_has_moments_too(tmp_path):
    path = write_video(tmp_path / "a.mp4", shots(seconds=40), rate=10, tone_s=40)
    plain = decode(path, PLAIN)
    found = decode(path, CONFIG)
    assert len(plain.audio) == 30 * 16_000
    assert found.moments.sound_spans[-1, 1] > 39
    same_video(plain, found)


def subtitled(tmp_path, form: str, codec: str):
    (tmp_path / "s.srt").write_text(SRT)
    video = write_video(tmp_path / "v.mp4", shots(), rate=10)
    path = tmp_path / f"a.{form}"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-i",
        video,
        "-i",
        tmp_path / "s.srt",
        "-c",
        "copy",
        "-c:s",
        codec,
    ]
    subprocess.run([*command, path], check=True)
    return path


@pytest.mark.parametrize(
    ("form", "codec"), [("mp4", "mov_text"), ("mkv", "srt"), ("mkv", "ass"), ("mkv", "webvtt")]
)
def test_embedded_subtitles_are_read(tmp_path, form, codec):
    path = subtitled(tmp_path, form, codec)
    (cue,) = decode(path, CONFIG).moments.cues
    assert (cue.text, round(cue.start_s, 2), round(cue.end_s, 2)) == ("the zip", 3.0, 4.5)
    assert decode(path, MediaConfig(moments={"subtitles": False})).moments.cues == ()


def test_a_file_beside_the_video_wins_over_embedded_subtitles(tmp_path):
    path = subtitled(tmp_path, "mkv", "srt")
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n00:05.000 --> 00:06.000\nbeside\n")
    with DecodeProcess(CONFIG) as process:
        (found,) = process.decode_many([str(path)], subtitles=[str(tmp_path / "a.vtt")])
        (plain,) = process.decode_many([str(path)])
        (broken,) = process.decode_many([str(path)], subtitles=[str(path)])
    assert [cue.text for cue in found.moments.cues] == ["beside"]
    assert [cue.text for cue in plain.moments.cues] == ["the zip"]
    assert [cue.text for cue in broken.moments.cues] == ["the zip"]


def test_another_process_gives_the_same_moments(tmp_path):
    path = write_video(tmp_path / "a.mp4", shots(), rate=10, tone_s=12)
    here = decode(path, CONFIG).moments
    with DecodeProcess(CONFIG) as process:
        (found,) = process.decode_many([str(path)])
    for name in ("spans", "frames", "sound_spans", "sound"):
        assert np.array_equal(getattr(found.moments, name), getattr(here, name)), name


def test_a_long_video_has_moments_as_far_as_the_settings_say(tmp_path):
    path = write_video(tmp_path / "a.mp4", shots(), rate=10, tone_s=12)
    video = decode(path, MediaConfig(moments={"up_to_s": 5}))
    assert video.moments.spans[-1, 1] <= 5.001
    assert video.moments.sound_spans[-1, 1] <= 5.001
    assert "its moments end after 5.0 s of 12.0 s" in video.note


def test_without_processor_time_the_video_itself_is_whole(tmp_path):
    path = write_video(tmp_path / "a.mp4", shots(), rate=10, gop=10)
    video = decode(path, MediaConfig(fingerprint=True, moments={"timeout_s": 1e-6}))
    assert "its moments end after" in video.note
    same_video(decode(path, PLAIN), video)


def test_hostile_files_fail_as_without_moments(shared_data):
    for path in sorted((shared_data / "hostile").iterdir()):
        if path.name == "uhd4k.mp4":
            continue  # takes as long as all others
        results = []
        for config in (PLAIN, CONFIG):
            try:
                results.append(decode(path, config))
            except VideoError as error:
                results.append(type(error))
        plain, found = results
        if isinstance(plain, type):
            assert found is plain, path.name
        else:
            assert not isinstance(found, type), path.name
            assert len(found.moments.spans) >= 1, path.name
            assert len(found.frames) == len(plain.frames), path.name


def test_decord_is_left_for_a_decoder_that_gives_all_frames(tmp_path):
    path = write_video(tmp_path / "a.mp4", shots(), rate=10)
    video = decode(path, MediaConfig(decode={"decoder": "decord"}, moments={}))
    assert video.decoder == "pyav"
