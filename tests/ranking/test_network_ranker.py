"""The ranker on a network: what it says, what it keeps on disk, and what it refuses."""

import json
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from vrec.core.artifact import ModelArtifact, write_artifact
from vrec.core.errors import ModelError, RankError
from vrec.core.types import CatalogContent
from vrec.ranking import network_ranker as model_module
from vrec.ranking.calibration import CalibrationConfig, Calibrator
from vrec.ranking.config import RankerConfig
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions, RankingFeatures, RankingRequest
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.networks.config import RankerHeadsConfig
from vrec.ranking.networks.layers import to_batch, to_catalog_tensors
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.ranking.registry import load_ranker
from vrec.ranking.uncertainty import LaplaceConfig, LastLayerLaplace, click_logit_std
from vrec.testing.rankers import SHOP
from vrec.testing.ranking_shop import TINY, network

RANKER = cache(lambda: network(SHOP()))


def part(name: str) -> tuple[RankingFeatures, ImpressionLabels]:
    requests, labels = getattr(SHOP(), name)
    return RANKER().builder.build(requests), labels


def same(one: RankerPredictions, other: RankerPredictions, rtol: float = 0.0) -> bool:
    names = RankerPredictions.__dataclass_fields__
    return all(np.allclose(getattr(one, n), getattr(other, n), rtol=rtol, atol=rtol) for n in names)


def test_it_ranks_better_than_chance():
    features, labels = part("valid")
    assert roc_auc_score(labels.click, RANKER().predict(features).p_click) > 0.6


def test_answers_are_calibrated_on_the_validation_part():
    features, labels = part("valid")
    found = RANKER().predict(features, at_logged_positions=True)
    assert set(RANKER().calibrators) == {"click", "watch", "conversion"}
    assert found.p_click.mean() == pytest.approx(labels.click.mean(), rel=0.1)
    assert found.watch_s.mean() == pytest.approx(labels.watch_s.mean(), rel=0.15)
    mature = labels.mature
    assert found.p_conv[mature].mean() == pytest.approx(labels.conversion[mature].mean(), rel=0.15)


def test_without_calibrators_answers_are_the_networks_own():
    ranker, (features, _) = RANKER(), part("valid")
    bare = NetworkRanker(
        ranker.config, ranker.space, ranker.content, ranker.network, ranker.head, calibrators={}, factor=None
    )
    found = bare.predict(features, at_logged_positions=True)
    with torch.no_grad():
        catalog = to_catalog_tensors(features.catalog, torch.device("cpu"))
        outputs = ranker.network(to_batch(features, torch.device("cpu")), catalog)
    click, after = (expit(side.numpy().astype(float)) for side in (outputs.click, outputs.conversion))
    assert found.p_click == pytest.approx(click, rel=1e-5)
    assert found.p_conv == pytest.approx(click * after, rel=1e-5)
    durations = np.asarray(ranker.content.videos["duration_s"])
    ids = ranker.content.videos["video_id"].to_pylist()
    of = dict(zip(ids, durations, strict=True))
    asked = np.array([of[v] for request in SHOP().valid[0] for v in request.video_ids], np.float32)
    assert found.watch_s == pytest.approx(
        ranker.head.seconds(outputs.watch.numpy(), asked), rel=1e-4, abs=1e-4
    )
    assert (found.spread == 0).all()


def test_the_spread_is_that_of_the_training_impressions():
    ranker, (features, _) = RANKER(), part("train")
    cpu = torch.device("cpu")
    with torch.no_grad():
        outputs = ranker.network(to_batch(features, cpu), to_catalog_tensors(features.catalog, cpu))
    last, chance = outputs.last.numpy(), expit(outputs.click.numpy())
    factor = LastLayerLaplace(last.shape[1], TINY.laplace).add(last, chance).factor()
    assert ranker.predict(features, at_logged_positions=True).spread == pytest.approx(
        click_logit_std(last, factor), rel=1e-3
    )


def test_candidates_are_scored_for_the_first_slot_wherever_they_were_shown():
    features, _ = part("valid")
    ranker = RANKER()
    moved = replace(features, position=np.roll(features.position, 7))
    assert same(ranker.predict(features), ranker.predict(moved))
    first = replace(features, position=np.ones_like(features.position))
    assert same(ranker.predict(features), ranker.predict(first, at_logged_positions=True), rtol=1e-5)
    assert not same(
        ranker.predict(features, at_logged_positions=True),
        ranker.predict(moved, at_logged_positions=True),
        rtol=1e-3,
    )


def test_blocks_do_not_matter(monkeypatch):
    features, _ = part("valid")
    for as_shown in (False, True):
        whole = RANKER().predict(features, at_logged_positions=as_shown)
        with monkeypatch.context() as patch:
            patch.setattr(model_module, "BLOCK", 37)
            assert same(RANKER().predict(features, at_logged_positions=as_shown), whole, rtol=1e-5)


def test_nothing_gives_nothing():
    features, _ = part("valid")
    found = RANKER().predict(features.take(np.zeros(0, np.int64)))
    assert found.p_click.shape == found.watch_s.shape == found.p_conv.shape == found.spread.shape == (0,)


def test_features_of_another_space_are_refused():
    features, _ = part("valid")
    other = replace(features, shape=replace(features.shape, dim=99))
    with pytest.raises(RankError, match="another feature space"):
        RANKER().predict(other)


def test_untrained_networks_repeat_and_leave_the_callers_randomness_alone():
    features, labels = part("train")
    torch.manual_seed(4)
    want = torch.rand(2)
    torch.manual_seed(4)
    one, _ = build_untrained(TINY, features.shape, labels)
    other, head = build_untrained(TINY, features.shape, labels)
    assert torch.equal(torch.rand(2), want)
    assert head is not None
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
    clicks = TINY.model_copy(update={"heads": RankerHeadsConfig(heads=("click",))})
    assert build_untrained(clicks, features.shape, labels)[1] is None


def test_new_videos_are_known_by_what_they_are():
    """A new video with all that a known one has, but its id, is no stranger."""
    shop, ranker = SHOP(), RANKER()
    twin_of = shop.content.videos["video_id"][3].as_py()
    row = shop.content.videos.slice(3, 1).to_pylist()[0] | {"video_id": "twin", "price": 12.0}
    vector = shop.content.embeddings.slice(3, 1).to_pylist()[0] | {"entity_id": "twin"}
    content = CatalogContent(
        pa.Table.from_pylist([row], shop.content.videos.schema),
        pa.Table.from_pylist([vector], shop.content.embeddings.schema),
    )
    more = ranker.with_videos(content)
    rows = pa.Table.from_pylist(
        [
            {"user_id": "u", "video_id": v, "score": 1.0, "rank": 1, "source": "s"}
            for v in ("twin", twin_of, "x")
        ],
        shop.candidates.schema,
    )
    before, after = (r.score(rows, shop.users, {}, shop.context).to_pylist() for r in (ranker, more))
    assert before[0]["p_click"] == before[2]["p_click"]
    assert after[0]["p_click"] != after[2]["p_click"]
    assert after[1:] == before[1:]
    assert "twin" not in ranker.catalog.rows


def test_a_ranker_with_new_videos_is_saved_with_them(tmp_path):
    shop = SHOP()
    moved = pa.Table.from_pylist(
        [shop.content.videos.slice(5, 1).to_pylist()[0] | {"duration_s": 900.0, "price": 3.0}],
        shop.content.videos.schema,
    )
    more = RANKER().with_videos(CatalogContent(moved))
    more.save(str(tmp_path))
    loaded = load_ranker(str(tmp_path))
    given = (shop.candidates, shop.users, shop.videos, shop.context)
    assert loaded.score(*given).equals(more.score(*given))
    assert not more.score(*given).equals(RANKER().score(*given))
    assert loaded.content.videos.num_rows == shop.content.videos.num_rows


def changed_shop():
    """Content in which one video has another price, tag and vector, one another creator, and one is new."""
    content = SHOP().content
    rows = content.videos.slice(5, 3).to_pylist()
    rows[0] |= {"price": 3.0, "tags": [], "duration_s": 900.0}
    rows[1] |= {"creator_id": "nobody", "published_at": None}
    rows[2] |= {"video_id": "brand new"}
    vectors = content.embeddings.slice(6, 2).to_pylist()
    vectors[0] |= {"entity_id": rows[0]["video_id"]}
    vectors[1] |= {"entity_id": "brand new"}
    return CatalogContent(
        pa.Table.from_pylist(rows, content.videos.schema),
        pa.Table.from_pylist(vectors, content.embeddings.schema),
    )


@pytest.mark.parametrize("kind", ["network", "rates"])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_among_some_videos_features_and_answers_are_as_among_all(kind, data):
    shop = SHOP()
    ranker = (
        RANKER()
        if kind == "network"
        else RateBaselineRanker.fit(RateBaselineConfig(), *shop.train, shop.content)
    )
    change = changed_shop()
    ids = change.videos.column("video_id").to_pylist()
    whole, few = ranker.with_videos(change), ranker.restricted_to(ids).with_videos(change)
    names = [*shop.content.videos.column("video_id").to_pylist(), "brand new", "never heard of"]
    asked = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    user = data.draw(st.sampled_from(sorted(shop.users.values(), key=lambda one: one.entity_id)))
    states = np.arange(len(asked) * len(VIDEO_COUNT_KEYS)).reshape(len(asked), -1) % 7.0
    request = RankingRequest(user, shop.context, tuple(asked), states)
    history = [entry.video_id for entry in user.history]
    for newer, whole_ranker in ((None, ranker), (few, whole)):
        some = ranker.restricted_to([*asked, *history], newer)
        expected, found = (one.predict_requests([request]) for one in (whole_ranker, some))
        assert same(found, expected, rtol=1e-5)
        if isinstance(some, NetworkRanker):
            ours, theirs = (one.builder.build([request]) for one in (some, whole_ranker))
            for name in ("candidate", "user", "context", "history_dense"):
                assert (getattr(ours, name) == getattr(theirs, name)).all(), name
            assert some.scalars.price[some.scalars.find(asked)].tobytes() == (
                whole_ranker.scalars.price[whole_ranker.scalars.find(asked)].tobytes()
            )


def test_a_ranker_does_not_take_another_kind_s_word_on_videos():
    shop = SHOP()
    other = RateBaselineRanker.fit(RateBaselineConfig(), *shop.train, shop.content)
    with pytest.raises(RankError, match="the newer ranker is of kind rates, this one of kind network"):
        RANKER().restricted_to([], other)


def test_vectors_of_another_encoder_are_refused():
    vectors = SHOP().content.embeddings
    place = vectors.column_names.index("encoder")
    other = vectors.set_column(place, vectors.schema.field(place), pa.array(["other@1"] * vectors.num_rows))
    with pytest.raises(RankError, match="other@1"):
        RANKER().with_videos(CatalogContent(None, other))


def test_it_loads_by_its_kind(tmp_path):
    RANKER().save(str(tmp_path / "network"))
    rates = RateBaselineRanker.fit(RateBaselineConfig(), *SHOP().train, SHOP().content)
    rates.save(str(tmp_path / "rates"))
    assert isinstance(load_ranker(str(tmp_path / "network")), NetworkRanker)
    assert isinstance(load_ranker(str(tmp_path / "rates")), RateBaselineRanker)
    for one, other in ((NetworkRanker, "rates"), (RateBaselineRanker, "network")):
        with pytest.raises(ModelError, match=f"is of kind {other}, not"):
            one.load(str(tmp_path / other))


def altered(folder: Path, change) -> str:
    """A ranker's folder whose manifest another version wrote."""
    RANKER().save(str(folder))
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["data"]["space"]["columns"].remove("candidate.click_rate"), "adds candidate.click_rate"),
        (lambda m: m["data"]["space"]["columns"].append("user.age"), "no longer has user.age"),
        (lambda m: m["config"]["network"].update(width=9), "another version"),
        (lambda m: m["config"].update(colour="red"), "colour"),
        (lambda m: m["data"].pop("space"), "space"),
        (lambda m: m["data"]["calibrated"].append("likes"), "calibrator"),
    ],
)
def test_a_ranker_of_another_version_is_refused_by_name(tmp_path, change, words):
    with pytest.raises(ModelError, match=words):
        NetworkRanker.load(altered(tmp_path, change))


def test_a_ranker_that_was_trained_on_a_gpu_loads_without_one(tmp_path):
    def on_gpu(manifest: dict) -> None:
        manifest["config"]["training"]["device"] = "cuda:7"

    loaded = NetworkRanker.load(altered(tmp_path, on_gpu))
    features, _ = part("valid")
    assert same(loaded.predict(features), RANKER().predict(features), rtol=1e-5)


def test_configs_and_rankers_travel():
    config = RankerConfig.model_validate(json.loads(TINY.model_dump_json()))
    assert config == TINY
    assert pickle.loads(pickle.dumps(TINY)) == TINY
    features, _ = part("valid")
    arrived = pickle.loads(pickle.dumps(RANKER()))
    assert same(arrived.predict(features), RANKER().predict(features))


def test_conversions_stay_below_clicks_where_calibrators_disagree():
    ranker, (features, _) = RANKER(), part("valid")
    always = Calibrator(
        "isotonic", "chance", np.array([0.0, 1.0]), np.array([0.9, 1.0]), np.array([1.0, 0.0])
    )
    given = (ranker.config, ranker.space, ranker.content, ranker.network, ranker.head)
    calibrators = ranker.calibrators | {"conversion": always}
    found = NetworkRanker(*given, calibrators=calibrators, factor=ranker.factor).predict(features)
    assert (found.p_conv == found.p_click).any()
    assert (found.p_conv <= found.p_click).all()


def test_without_a_factor_the_spread_is_nothing():
    ranker, (features, _) = RANKER(), part("valid")
    given = (ranker.config, ranker.space, ranker.content, ranker.network, ranker.head)
    bare = NetworkRanker(*given, calibrators=ranker.calibrators, factor=None)
    assert not bare.predict(features).spread.any()
    assert ranker.predict(features).spread.all()


def test_settings_reach_the_ranker():
    ranker = RANKER()
    assert ranker.utility_config is ranker.config.utility
    assert ranker.name == ranker.config.network.kind

    def refitted(config):
        parts = ranker.space, ranker.content, ranker.network, ranker.head
        return NetworkRanker.from_training(config, *parts, train=part("train"), valid=part("valid"))

    stronger = TINY.model_copy(update={"laplace": LaplaceConfig(prior_precision=1e6)})
    fitted = refitted(stronger)
    features, _ = part("valid")
    # A prior this strong leaves no doubt.
    assert fitted.predict(features).spread.max() < 0.05 < RANKER().predict(features).spread.max()
    none = TINY.model_copy(update={"calibration": CalibrationConfig(method="none")})
    fitted = refitted(none)
    assert {c.method for c in fitted.calibrators.values()} == {"none"}


def test_what_is_no_ranker_is_refused_by_its_kind(tmp_path):
    write_artifact(str(tmp_path), ModelArtifact("als", {}, {"x": np.zeros(1)}))
    with pytest.raises(ModelError, match="is of kind als, not a ranker"):
        load_ranker(str(tmp_path))


def test_metrics_are_kept_on_disk(tmp_path):
    ranker = NetworkRanker.load(altered(tmp_path / "a", lambda manifest: None))
    ranker.metrics = {"auc": 0.75}
    ranker.save(str(tmp_path / "b"))
    assert NetworkRanker.load(str(tmp_path / "b")).metrics == {"auc": 0.75}
