import numpy as np
import pytest
import torchaudio

from tests.films import tone
from vrec.media.mel import MelConfig, log_mel


def test_log_mel_agrees_with_torchaudio_and_ignores_loudness():
    audio = tone(1.0, 16_000) + np.random.default_rng(0).normal(0, 0.05, 16_000).astype(np.float32)
    got = log_mel(audio, MelConfig())
    assert got.shape == (64, 101)
    assert (got.mean(), got.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert got == pytest.approx(log_mel(audio * np.float32(0.01), MelConfig()), abs=1e-3)
    banks = torchaudio.functional.melscale_fbanks(257, 20, 8_000, 64, 16_000)
    assert abs(int(got.mean(axis=1).argmax()) - int(banks[round(440 / 16_000 * 512)].argmax())) <= 1


def test_log_mel_of_silence_is_zero_and_of_nonsense_an_error():
    assert (log_mel(np.zeros(16_000, np.float32), MelConfig()) == 0).all()
    assert np.isfinite(log_mel(np.ones(3, np.float32), MelConfig())).all()
    for bad in (np.empty(0, np.float32), np.full(9, np.nan, np.float32), np.zeros((2, 9), np.float32)):
        with pytest.raises(ValueError, match="audio has"):
            log_mel(bad, MelConfig())


def loudest_band(pitch_hz, **settings):
    config = MelConfig(**settings)
    return int(log_mel(tone(0.5, 16_000, pitch_hz), config).mean(axis=1).argmax())


def test_shapes_follow_the_settings():
    audio = tone(1.0, 16_000, 500)
    assert log_mel(audio, MelConfig(n_mels=32)).shape == (32, 101)
    assert log_mel(audio, MelConfig(hop_s=0.02)).shape == (64, 51)
    assert log_mel(audio[:1_600], MelConfig(window_s=0.1)).shape == (64, 11)
    assert log_mel(audio, MelConfig()).dtype == np.float32


def test_band_edges_follow_the_settings():
    assert loudest_band(3_000, high_hz=8_000) < loudest_band(3_000, high_hz=4_000)
    assert loudest_band(3_000, low_hz=2_000) < loudest_band(3_000, low_hz=20)


def test_a_longer_window_separates_pitches():
    def spread(window_s):
        mel = log_mel(tone(0.5, 16_000, 2_000), MelConfig(window_s=window_s, n_mels=40)).mean(axis=1)
        return int((mel > mel.max() - 1).sum())

    assert spread(0.1) < spread(0.01)


def test_the_floor_cuts_what_is_quieter():
    audio = tone(1.0, 16_000)
    audio[8_000:] *= 0.01  # 40 dB less
    values = np.unique(np.round(log_mel(audio, MelConfig(floor_db=20)), 4))
    assert (log_mel(audio, MelConfig(floor_db=20))[:, 60:].std(), len(values) > 1) == (
        pytest.approx(0, abs=1e-5),
        True,
    )
    assert log_mel(audio, MelConfig(floor_db=80))[:, 60:].std() > 0.1


def test_an_offset_does_not_matter():
    audio = tone(0.5, 16_000)
    assert log_mel(audio + np.float32(0.2), MelConfig()) == pytest.approx(
        log_mel(audio, MelConfig()), abs=1e-2
    )
