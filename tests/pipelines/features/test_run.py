"""The feature cache on a real Ray: what it holds, and that nothing is decoded twice."""

import shutil

import numpy as np
import pytest
import ray

from vrec.config.load import load_settings
from vrec.config.patch import patch_settings
from vrec.core.errors import ModelError, SourceError
from vrec.core.tables import StorageFolder, read_embeddings
from vrec.encoders.build import encoder_names
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.vectors import unit_rows
from vrec.media.catalog import open_source
from vrec.pipelines.embed.checkpoints import PARTS
from vrec.pipelines.embed.plan import deduplicate_refs
from vrec.pipelines.embed.run import embed
from vrec.pipelines.features.run import FACTS, extract_features

SETTINGS = load_settings(
    overrides=[
        "embed.sample.frames=4",
        "train.encoder.features.views=1",
        "embed.workers=1",
        "embed.batch_size=4",
    ]
)
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def made(clips, local_ray, tmp_path_factory):
    return extract_features(str(clips), str(tmp_path_factory.mktemp("features")), SETTINGS)


@pytest.fixture(scope="module")
def embedded(clips, local_ray, tmp_path_factory) -> str:
    """The folder of the same clips' embeddings. Not to be changed."""
    out = str(tmp_path_factory.mktemp("embedded"))
    embed(str(clips), out, SETTINGS.embed)
    return out


def test_features_are_what_embed_finds_before_pooling(made, embedded):
    features = made.features
    for modality in ("frames", "audio", "text"):
        table = read_embeddings(embedded, modality)
        ids = [] if table is None else table["entity_id"].to_pylist()
        has = features.has[modality]
        assert [video for video, there in zip(features.video_ids, has, strict=True) if there] == ids
        if table is None:
            continue
        wanted = np.stack(table["vector"].to_numpy(zero_copy_only=False))
        if modality == "frames":
            found = unit_rows(features.frames[has, 0].astype(np.float64).mean(axis=1))
            assert np.abs(found - wanted).max() < 2e-4
        else:
            assert np.array_equal(getattr(features, modality)[has], wanted)
    assert dict(features.names) == {
        m: name for m, name in encoder_names(SETTINGS.embed.encoders).items() if m != "fused"
    }
    assert len(made.failures) == 3
    assert made.new == len(features) + 3
    assert features.frames.shape[1:3] == (2, 4)


def test_ray_data_tells_nobody_of_a_run(embedded):
    names = {one["name"] for one in ray.util.list_named_actors(all_namespaces=True)}
    assert "AutoscalingCoordinator" in names, "Ray Data has other names for its actors now"
    assert "DataUsageCollectionActor" not in names


def test_a_changed_copy_differs_and_is_of_the_same_video(made):
    frames = made.features.frames.astype(np.float64)
    means = frames.mean(axis=2) - frames[:, 0].mean(axis=(0, 1))
    one, other = (means[:, view] / np.linalg.norm(means[:, view], axis=1, keepdims=True) for view in (0, 1))
    cosines = one @ other.T
    assert (np.diag(cosines) < 0.999).all()
    own = np.diag(cosines).mean()
    assert own > cosines[~np.eye(len(cosines), dtype=bool)].mean() + 0.3


def test_a_finished_cache_is_reused_and_one_of_other_settings_is_not(made, clips):
    again = extract_features(str(clips), made.uri, SETTINGS)
    assert again.reused
    assert again.new == 0
    assert again.features.fingerprint == made.features.fingerprint
    assert again.failures.equals(made.failures)


def test_a_catalogue_that_changed_costs_only_what_is_new(made, clips, local_ray, tmp_path):
    some, out, whole = tmp_path / "videos", tmp_path / "features", made.features
    shutil.copytree(clips, some)
    shutil.copytree(made.uri, out)
    gone, twin = whole.video_ids[0], whole.video_ids[1]
    (some / f"{gone}.mp4").unlink()
    shutil.copy(some / f"{twin}.mp4", some / "a-twin.mp4")
    changed = extract_features(str(some), str(out), SETTINGS)
    assert not changed.reused
    assert changed.new == 1
    found = changed.features
    assert found.video_ids == ("a-twin", *whole.video_ids[1:])
    assert found.select(range(1, len(found))).fingerprint == whole.select(range(1, len(whole))).fingerprint
    assert np.array_equal(found.frames[0, 0], found.frames[1, 0])
    assert not np.array_equal(found.frames[0, 1], found.frames[1, 1])
    assert FeatureSet.load(str(out)).fingerprint == found.fingerprint
    assert len(StorageFolder(str(out)).files(FACTS)) == 1
    assert not StorageFolder(str(out)).files(PARTS)
    (some / "a-twin.mp4").unlink()
    fewer = extract_features(str(some), str(out), SETTINGS)
    assert fewer.new == 0
    assert fewer.features.fingerprint == whole.select(range(1, len(whole))).fingerprint


def test_what_a_killed_run_left_is_not_made_again(made, clips, local_ray, tmp_path):
    from vrec.pipelines.embed.stages import FusedEmbedder
    from vrec.pipelines.features.run import feature_job
    from vrec.pipelines.features.stages import FeatureJob

    job = feature_job(StorageFolder(str(tmp_path)), SETTINGS)
    assert isinstance(job, FeatureJob)
    refs, _ = deduplicate_refs(open_source(str(clips)).refs(), str(clips))
    FusedEmbedder(job)(refs.slice(0, 5))
    rest = extract_features(str(clips), str(tmp_path), SETTINGS)
    assert rest.new == refs.num_rows - 5
    assert rest.features.fingerprint == made.features.fingerprint


def test_a_catalogue_of_which_nothing_can_be_used_is_refused(clips, local_ray, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.mp4").write_bytes(b"<html>")
    # Without sound, whose encoder brings torch into the worker that starts.
    silent = patch_settings(SETTINGS, {"embed.encoders.audio": None})
    with pytest.raises(SourceError, match=r"a: WrongContainer"):
        extract_features(str(broken), str(tmp_path / "out"), silent)


def test_a_folder_that_holds_something_else_is_left_alone(clips, embedded, local_ray):
    with pytest.raises(ModelError):
        extract_features(str(clips), embedded, SETTINGS)
    assert read_embeddings(embedded, "frames") is not None
