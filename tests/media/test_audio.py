import av
import numpy as np
import pytest

from tests.films import numbered, write_sound, write_video
from vrec.media.audio import AudioConfig, decode_audio
from vrec.media.decode import MediaConfig, decode


def test_sound_is_the_tone_that_was_played_and_no_longer_than_asked(tmp_path):
    pictures = [numbered(i) for i in range(50)]
    path = write_video(tmp_path / "t.mp4", pictures, tone_s=2.0)
    whole = decode(path, MediaConfig()).audio
    assert whole.dtype == np.float32
    assert np.abs(whole).max() <= 1
    spectrum = np.abs(np.fft.rfft(whole[4_000:20_000]))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert np.sqrt((whole[4_000:20_000] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    short = decode(path, MediaConfig(audio=AudioConfig(max_s=0.5))).audio
    assert len(short) == 8_000
    assert (short == whole[:8_000]).all()


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A file of one second of sound."""
    return write_sound(tmp_path_factory.mktemp("sound") / "s.m4a", 1.0)


def audio_of(path, duration_s, **settings):
    with av.open(str(path)) as media:
        return decode_audio(media, AudioConfig(**settings), duration_s)


def test_samples_are_at_16_khz(second):
    audio = audio_of(second, None)
    assert len(audio.samples) == pytest.approx(16_000, abs=1_100)
    assert audio.samples.dtype == np.float32
    assert (audio.has_audio, audio.note) == (True, None)


def test_sound_that_is_switched_off_is_still_noted_to_be_there(second):
    audio = audio_of(second, 1.0, enabled=False)
    assert (audio.samples, audio.has_audio, audio.note) == (None, True, None)


def test_sound_is_cut_short_when_it_lacks_more_than_its_share(second):
    assert audio_of(second, 1.05).note is None
    assert audio_of(second, 2.0).note == f"its sound ends after {audio_s(second):.1f} s of 2.0 s"
    assert audio_of(second, 2.0, short_by=0.6).note is None
    assert audio_of(second, 2.0, short_by=0.3).note is not None
    # Only what is to be read can be lacking: of a long picture the first half second.
    assert audio_of(second, 60.0, max_s=0.5).note is None
    assert audio_of(second, None).note is None


def audio_s(path):
    return len(audio_of(path, None).samples) / 16_000


def test_a_limit_is_exact_to_the_sample(second):
    assert len(audio_of(second, 1.0, max_s=0.25).samples) == 4_000
