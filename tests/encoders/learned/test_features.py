"""Features: what goes in comes out, and what does not fit is named."""

from dataclasses import replace

import numpy as np
import pytest

from tests.encoders.learned.catalogues import NAMES, feature_set, of_topics, unit
from vrec.core.errors import FitError, ModelError
from vrec.encoders.learned.artifact import read_encoder_artifact
from vrec.encoders.learned.features import FeatureSet

HAS = {"audio": np.arange(9) % 3 > 0, "frames": np.arange(9) != 4}


def some(**changed) -> FeatureSet:
    features, _ = of_topics(9, seed=0, has=HAS)
    return replace(features, **changed)


def test_saved_features_come_back_to_the_last_bit(tmp_path):
    features = some(embed={"encoders": {"frames": {"kind": "cnn"}}})
    features.save(str(tmp_path / "kept"))
    found = FeatureSet.load(str(tmp_path / "kept"))
    assert (found.video_ids, found.names, found.embed) == (features.video_ids, features.names, features.embed)
    for name in ("frames", "lengths", "audio", "text"):
        kept, again = getattr(features, name), getattr(found, name)
        assert kept.dtype == again.dtype
        assert np.array_equal(kept, again)
    assert all(np.array_equal(found.has[m], features.has[m]) for m in NAMES)
    assert found.fingerprint == features.fingerprint


def test_the_fingerprint_follows_every_part():
    features = some()
    frames, ids = features.frames.copy(), list(features.video_ids)
    frames[3, 1, 0, 0] += 1
    ids[0] = "another"
    others = [
        some(frames=frames),
        some(video_ids=tuple(ids)),
        some(names=features.names | {"text": "text@1"}),
        some(embed={"sample": 1}),
        some(audio=-features.audio),
    ]
    assert len({features.fingerprint, *(other.fingerprint for other in others)}) == 6
    assert some().fingerprint == features.fingerprint


def test_rows_are_those_asked_for():
    features = some()
    part = features.select([1, 4, 8])
    assert part.video_ids == tuple(features.video_ids[i] for i in (1, 4, 8))
    assert np.array_equal(part.frames, features.frames[[1, 4, 8]])
    assert part.has["frames"].tolist() == [True, False, True]
    assert part.lengths.tolist() == [3, 0, 3]


def test_embeddings_become_features_sorted_by_id_with_absent_rows():
    rows = np.random.default_rng(0).normal(size=(3, 5))
    rows[1] = 0
    made = FeatureSet.from_embeddings(["c", "a", "b"], {"text": rows, "frames": -rows}, NAMES)
    assert made.video_ids == ("a", "b", "c")
    assert np.allclose(made.text, [[0] * 5, *unit(rows[[2, 0]])], atol=1e-6)
    assert made.frames.shape == (3, 1, 1, 5)
    assert np.allclose(made.frames[2, 0, 0], unit(-rows[:1])[0], atol=1e-3)
    assert made.lengths.tolist() == [0, 1, 1]
    assert made.has["text"].tolist() == [False, True, True]
    assert made.dims == {"frames": 5, "text": 5}
    assert set(made.names) == {"frames", "text"}


def test_a_modality_that_all_lack_has_no_length():
    features = some(has=some().has | {"audio": np.zeros(9, bool)})
    assert features.dims == {"frames": 24, "text": 16}
    nothing = feature_set(np.zeros((4, 1, 0, 0)))
    assert nothing.dims == {}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"video_ids": tuple("bacdefghi")}, "sorted and unique"),
        ({"video_ids": tuple("aacdefghi")}, "sorted and unique"),
        ({"lengths": np.full(9, 3, np.int16)}, "has.frames. is not lengths > 0"),
        ({"lengths": np.where(HAS["frames"], 4, 0).astype(np.int16)}, "lengths go to 4, but there are 3"),
        ({"frames": np.zeros((9, 2, 3, 24), np.float32)}, "frames are float32"),
        ({"text": np.zeros((8, 16), np.float32)}, "text is float32 .8, 16."),
        ({"names": {"frames": "cnn@1", "audio": "audio@1"}}, "videos have text, but"),
        ({"text": np.zeros((9, 0), np.float32)}, "videos have text, but"),
    ],
)
def test_features_that_do_not_fit_are_refused(changed, says):
    with pytest.raises(FitError, match=says):
        some(**changed)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named_with_their_video(bad):
    text = some().text.copy()
    text[5, 2] = bad
    with pytest.raises(FitError, match="text of 1 videos are not finite numbers, the first is video-00005"):
        some(text=text)
    rows = np.ones((2, 3))
    rows[1, 1] = bad
    with pytest.raises(FitError, match="text of 1 videos are not finite"):
        FeatureSet.from_embeddings(["a", "b"], {"text": rows}, NAMES)


def test_another_folder_is_no_features(tmp_path):
    some().save(str(tmp_path))
    with pytest.raises(ModelError, match="is of kind features, not encoder"):
        read_encoder_artifact(str(tmp_path))
    with pytest.raises(ModelError, match="no manifest"):
        FeatureSet.load(str(tmp_path / "nowhere"))
