"""What becomes of each odd and broken file: which are embedded, and why the others are not."""

from functools import cache

import pytest

from vrec.core.errors import VideoError
from vrec.media.decode import DecodedVideo, MediaConfig, decode
from vrec.media.decode_process import DecodeProcess

EMBEDDED = {
    # file: (decoder, width, height, frames, a word of the note or None)
    "audio_shorter.mp4": ("pyav", 320, 240, 8, "sound ends after 2.0 s of 5.0 s"),
    "av1.mp4": ("pyav", 320, 240, 8, None),
    "bframes_2s.mp4": ("pyav", 320, 240, 8, None),
    "bitflip200_mdat.mp4": ("pyav", 720, 480, 8, "packets of its sound are damaged"),
    "ffv1_lossless.mkv": ("pyav", 320, 240, 8, None),
    "fragmented_trunc60.mp4": ("pyav", 720, 480, 8, "cut short: its picture ends after 1.0 s"),
    "good_h264_aac.mp4": ("pyav", 720, 480, 8, None),
    "hevc10.mp4": ("pyav", 320, 240, 8, None),
    "mjpeg.avi": ("pyav", 320, 240, 8, None),
    "one_frame.mp4": ("pyav", 320, 240, 1, "a still"),
    "prores.mov": ("pyav", 320, 240, 8, None),
    "raw_annexb.h264": ("pyav", 720, 480, 8, None),
    "real_av1.mkv": ("pyav", 640, 360, 8, None),
    "real_failing_audio.mp4": ("pyav", 640, 360, 8, None),
    "real_hevc10.mp4": ("pyav", 200, 200, 8, None),
    "real_hi444_cockatoo.mp4": ("pyav", 1280, 720, 8, None),
    "rot90_meta.mp4": ("pyav", 480, 720, 8, None),
    "trunc50_faststart.mp4": ("pyav", 720, 480, 8, "cut short: its picture ends after 4.0 s of 7.3 s"),
    "trunc95_faststart.mp4": ("pyav", 720, 480, 8, "cut short: "),
    "ts_renamed.mp4": ("pyav", 720, 480, 8, None),
    "two_video_streams.mp4": ("pyav", 320, 240, 8, None),
    "uhd4k.mp4": ("pyav", 4096, 2160, 8, None),
    "video_only.mp4": ("pyav", 720, 480, 8, None),
    "vp9.webm": ("pyav", 320, 240, 8, None),
    "zeroed_100k_mid.mp4": ("pyav", 720, 480, 7, "1 of 8 frames are damaged"),
}
REFUSED = {
    # file: (error, what an operator reads)
    "audio.mp3": ("NoVideoStream", "sound only"),
    "audio_with_cover.mp3": ("NoVideoStream", "sound with a cover picture"),
    "jpeg_renamed.mp4": ("WrongContainer", "a picture (JPEG)"),
    "png_renamed.mp4": ("WrongContainer", "a picture (PNG)"),
    "random_bytes.mp4": ("WrongContainer", "no video format is recognised"),
    "real_1x1.mp4": ("BlackVideo", "of one flat color"),
    "real_no_duration.webm": ("BlackVideo", "are black"),
    "still.jpg": ("WrongContainer", "a picture (JPEG)"),
    "text_renamed.mp4": ("WrongContainer", "text"),
    "trunc50_moov_missing.mp4": ("UnreadableVideo", "its index (the moov box) is missing"),
    "trunc_1000bytes.mp4": ("UnreadableVideo", "its index (the moov box) is missing"),
    "zero_byte.mp4": ("EmptyVideo", "no bytes"),
}


@cache
def in_this_process(path: str) -> DecodedVideo | VideoError:
    """Once for all tests: none of them changes it."""
    try:
        return decode(path, MediaConfig())
    except VideoError as error:
        return error


@pytest.mark.parametrize("name", EMBEDDED)
def test_legal_or_half_whole_files_are_embedded(shared_data, name):
    decoder, width, height, frames, note = EMBEDDED[name]
    video = in_this_process(str(shared_data / "hostile" / name))
    assert isinstance(video, DecodedVideo), video
    assert (video.decoder, video.width, video.height) == (decoder, width, height)
    assert video.frames.shape == (frames, 224, 224, 3)
    assert (note in video.note) if note else video.note is None, video.note


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_files_say_why(shared_data, name):
    kind, words = REFUSED[name]
    error = in_this_process(str(shared_data / "hostile" / name))
    assert type(error).__name__ == kind
    assert words in str(error)
    assert "Errno" not in str(error)


def test_every_hostile_file_has_its_verdict(shared_data):
    names = {path.name for path in (shared_data / "hostile").iterdir()}
    assert names == set(EMBEDDED) | set(REFUSED)


@pytest.mark.slow
def test_the_child_gives_what_this_process_gives(shared_data):
    paths = sorted(str(path) for path in (shared_data / "hostile").iterdir())
    with DecodeProcess(MediaConfig()) as process:
        for path, got in zip(paths, process.decode_many(paths), strict=True):
            want = in_this_process(path)
            if isinstance(want, VideoError):
                assert type(got) is type(want), path
                assert (str(got), got.fix) == (str(want), want.fix)
                continue
            assert not isinstance(got, VideoError), path
            assert (got.frames == want.frames).all()
            assert (got.times_s == want.times_s).all()
            assert (got.audio is None) == (want.audio is None)
            assert want.audio is None or (got.audio == want.audio).all()
            assert (got.fingerprint, got.note, got.decoder) == (want.fingerprint, want.note, want.decoder)


@pytest.mark.slow
def test_no_real_clip_is_refused(shared_data):
    paths = sorted(str(p) for p in (shared_data / "videos").iterdir() if p.suffix != ".csv")
    small = [path for path in paths if "screencast" not in path][::3]
    with DecodeProcess(MediaConfig()) as process:
        results = dict(zip(small, process.decode_many(small), strict=True))
    assert not {path: str(r) for path, r in results.items() if isinstance(r, VideoError)}
