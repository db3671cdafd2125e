"""The objective: each weight and switch against the losses written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.encoders.learned.catalogues import of_topics
from vrec.encoders.learned.batches import EncoderBatches
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.encoder import init_head
from vrec.encoders.learned.heads.batch import FeatureBatch, normalize_rows
from vrec.encoders.learned.heads.config import GatedHeadConfig, GruHeadConfig, MeanHeadConfig, VaeHeadConfig
from vrec.encoders.learned.losses import (
    cosine_distillation_loss,
    info_nce,
    similarity_distillation_loss,
)
from vrec.encoders.learned.objective import EncoderObjective, reversed_frames
from vrec.encoders.learned.split import split_videos
from vrec.encoders.learned.training_config import EncoderObjectiveConfig

COUNT = 12
FEATURES, _ = of_topics(COUNT, seed=0, has={"audio": np.arange(COUNT) % 3 > 0})
LEFT, RIGHT = np.array([0, 1, 2, 3, 4]), np.array([1, 2, 3, 4, 5])
BEHAVIOR = BehaviorSignals(
    LEFT,
    RIGHT,
    np.array([4, 1, 2, 1, 3, 5, 0, 0, 0, 0, 0, 0], float),
    np.random.default_rng(3).normal(size=(COUNT, 4)).astype(np.float32),
    np.arange(COUNT) != 2,
)
CPU = torch.device("cpu")


def batches(features=FEATURES, behavior=None, unwatched: bool = False, share: float = 0.0) -> EncoderBatches:
    usable = np.arange(len(features))
    return EncoderBatches(features, behavior, split_videos(usable, behavior, share, 0), unwatched, CPU)


def objective(head=None, features=FEATURES, targets: int = 0, **changed) -> EncoderObjective:
    head = head or MeanHeadConfig(dim=6)
    config = EncoderObjectiveConfig.model_validate(changed)
    return EncoderObjective(init_head(head, features, 0), config, features, targets).eval()


@torch.no_grad()
def losses(some: EncoderObjective, views=None, pairs=None) -> dict[str, float]:
    return {name: float(loss) for name, loss in some(views, pairs).items()}


VIEWS = batches().view_batch(np.arange(COUNT))
PAIRS = batches(behavior=BEHAVIOR).pair_batch(np.arange(5))


def test_views_are_contrasted_at_their_temperature():
    some = objective(temperature=0.3, audio_agreement=0)
    found = losses(some, VIEWS)
    wanted = info_nce(some.head(VIEWS.one), some.head(VIEWS.other), 0.3)
    assert found.keys() == {"views", "total"}
    assert found["total"] == pytest.approx(found["views"]) == pytest.approx(wanted.item())


def test_picture_and_sound_are_contrasted_over_videos_that_have_both_by_their_weight():
    some = objective(temperature=0.3, audio_agreement=0.7)
    found = losses(some, VIEWS)
    both = torch.from_numpy(FEATURES.has["audio"])
    sound = normalize_rows(some.hear(VIEWS.one.audio))
    wanted = info_nce(some.head(VIEWS.one)[both], sound[both], 0.3)
    assert found["audio"] == pytest.approx(wanted.item(), rel=1e-5)
    assert found["total"] == pytest.approx(found["views"] + 0.7 * found["audio"])


def test_gated_heads_contrast_their_own_parts():
    some = objective(GatedHeadConfig(dim=6))
    assert some.hear is None
    parts, both = some.head.parts(VIEWS.one), torch.from_numpy(FEATURES.has["audio"])
    wanted = info_nce(parts["frames"][both], parts["audio"][both], 0.1)
    assert losses(some, VIEWS)["audio"] == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("heard", [0, 1])
def test_fewer_than_two_videos_with_sound_agree_on_nothing(heard):
    has = VIEWS.one.has | {"audio": torch.arange(COUNT) < heard}
    views = replace(VIEWS, one=replace(VIEWS.one, has=has))
    found = losses(objective(), views)
    assert found["audio"] == 0
    assert found["total"] == pytest.approx(found["views"])


def test_no_agreement_without_sound_or_in_a_vae():
    silent, _ = of_topics(COUNT, seed=0, has={"audio": np.zeros(COUNT, bool)})
    assert not objective(features=silent).uses_audio_agreement
    assert not objective(VaeHeadConfig(dim=6, layer=5)).uses_audio_agreement
    assert objective().uses_audio_agreement


def test_the_reverse_is_one_more_negative_only_where_order_is_seen_and_there_is_one():
    gru = GruHeadConfig(dim=6, hidden=4)
    with_reverse, without = (objective(gru, reversed_negatives=on, audio_agreement=0) for on in (True, False))
    one, other, back = (
        without.head(batch) for batch in (VIEWS.one, VIEWS.other, reversed_frames(VIEWS.other))
    )
    assert losses(without, VIEWS)["views"] == pytest.approx(info_nce(one, other, 0.1).item(), rel=1e-5)
    wanted = info_nce(one, other, 0.1, (one * back).sum(dim=1))
    assert losses(with_reverse, VIEWS)["views"] == pytest.approx(wanted.item(), rel=1e-5)
    # A clip of one frame is its own reverse.
    short = replace(VIEWS, other=replace(VIEWS.other, lengths=torch.ones_like(VIEWS.other.lengths)))
    wanted = info_nce(one, without.head(short.other), 0.1)
    assert losses(with_reverse, short)["views"] == pytest.approx(wanted.item(), rel=1e-5)
    mean = [losses(objective(reversed_negatives=on), VIEWS)["views"] for on in (True, False)]
    assert mean[0] == mean[1]


def test_frames_are_reversed_within_their_length():
    frames = torch.arange(1, 9).float().reshape(2, 4, 1)
    batch = FeatureBatch(frames, torch.tensor([3, 0]), torch.zeros(2, 0), torch.zeros(2, 0), {})
    assert reversed_frames(batch).frames[:, :, 0].tolist() == [[3, 2, 1, 0], [0, 0, 0, 0]]


def test_a_vaes_loss_counts_a_number_of_evidence_as_one():
    some = objective(VaeHeadConfig(dim=6, layer=5, evidence=32))
    torch.manual_seed(0)
    found = losses(some, VIEWS)
    assert found.keys() == {"elbo", "total"}
    assert found["total"] == pytest.approx(found["elbo"] / 32, rel=1e-5)


@pytest.mark.parametrize("kind", ["none", "vector", "likeness"])
def test_distillation_is_of_its_kind_and_weight_over_videos_with_targets(kind):
    some = objective(targets=4, kind="aligned", distillation=kind, distillation_weight=3.0)
    assert (some.predict is None) == (kind != "vector")
    found = losses(some, None, PAIRS)
    if kind == "none":
        assert found.keys() == {"co_watch", "total"}
        assert found["total"] == pytest.approx(found["co_watch"])
        return
    vectors = torch.cat([some.head(PAIRS.left), some.head(PAIRS.right)])[PAIRS.has_target]
    targets = PAIRS.targets[PAIRS.has_target]
    wanted = (
        similarity_distillation_loss(vectors, targets)
        if kind == "likeness"
        else cosine_distillation_loss(some.predict(vectors), targets)
    )
    assert found["distillation"] == pytest.approx(wanted.item(), rel=1e-5)
    assert found["total"] == pytest.approx(found["co_watch"] + 3 * found["distillation"], rel=1e-5)


def test_one_known_target_teaches_nothing():
    pairs = replace(PAIRS, has_target=torch.arange(10) == 1)
    assert losses(objective(targets=4, kind="aligned"), None, pairs)["distillation"] == 0


def test_popularity_is_taken_off_only_where_it_is_corrected():
    corrected, plain = (
        losses(objective(kind="aligned", popularity_correction=on), None, PAIRS)["co_watch"]
        for on in (True, False)
    )
    even = replace(PAIRS, log_q=(torch.zeros(5), torch.zeros(5)))
    assert losses(objective(kind="aligned"), None, even)["co_watch"] == pytest.approx(plain)
    assert corrected != pytest.approx(plain, rel=1e-3)


def test_unwatched_videos_count_by_their_weight_beside_pairs_alone():
    some = objective(kind="aligned", unwatched_weight=0.25, audio_agreement=0)
    found = losses(some, VIEWS, replace(PAIRS, targets=None))
    assert found["total"] == pytest.approx(found["co_watch"] + 0.25 * found["views"], rel=1e-5)
    assert losses(some, VIEWS)["total"] == pytest.approx(found["views"], rel=1e-5)


def test_chances_of_pairs_are_shares_of_all_popularity():
    log_q = np.log(BEHAVIOR.popularity[:6] / 16)
    assert np.allclose(PAIRS.log_q[0], log_q[LEFT])
    assert np.allclose(PAIRS.log_q[1], log_q[RIGHT])
    assert np.allclose(PAIRS.targets, BEHAVIOR.targets[np.append(LEFT, RIGHT)])
    assert PAIRS.has_target.tolist() == [True, True, False, True, True, True, False, True, True, True]
    assert torch.equal(PAIRS.rows[0], torch.from_numpy(LEFT))
    assert torch.equal(PAIRS.rows[1], torch.from_numpy(RIGHT))
    assert torch.equal(PAIRS.left.text, torch.from_numpy(FEATURES.text[LEFT]))
    assert torch.equal(PAIRS.right.text, torch.from_numpy(FEATURES.text[RIGHT]))


def test_pairs_without_a_generator_are_in_the_view_of_the_video_itself():
    assert torch.equal(PAIRS.left.frames, torch.from_numpy(FEATURES.frames[LEFT, 0]).float())
    drawn = batches(behavior=BEHAVIOR).pair_batch(np.tile(np.arange(5), 20), np.random.default_rng(0))
    first = torch.from_numpy(FEATURES.frames[np.tile(LEFT, 20), 0]).float()
    same = (drawn.left.frames == first).all(dim=(1, 2)).float().mean()
    assert 0.3 < float(same) < 0.7


def test_the_two_views_of_a_video_always_differ():
    frames = np.random.default_rng(0).normal(size=(COUNT, 3, 2, 4)).astype(np.float16)
    three = replace(FEATURES, frames=frames, lengths=np.full(COUNT, 2, np.int16))
    some = batches(three)
    fixed = some.view_batch(np.arange(COUNT))
    assert torch.equal(fixed.one.frames, torch.from_numpy(frames[:, 0]).float())
    assert torch.equal(fixed.other.frames, torch.from_numpy(frames[:, 1]).float())
    drawn = some.view_batch(np.tile(np.arange(COUNT), 10), np.random.default_rng(0))
    assert (drawn.one.frames != drawn.other.frames).flatten(1).any(dim=1).all()
    single = batches(replace(three, frames=frames[:, :1]))
    for rng in (None, np.random.default_rng(0)):
        views = single.view_batch(np.arange(COUNT), rng)
        assert torch.equal(views.one.frames, views.other.frames)


def test_a_step_on_pairs_takes_views_of_videos_that_nobody_watched():
    rng = np.random.default_rng(0)
    some = batches(behavior=BEHAVIOR, unwatched=True)
    assert (some.examples, some.target_dim) == (5, 4)
    views, pairs = some.batch(np.arange(3), rng)
    assert (len(views.one), len(pairs.left)) == (3, 3)
    nobody = {tuple(row) for row in FEATURES.text[6:].tolist()}
    assert {tuple(row) for row in views.one.text.tolist()} <= nobody
    assert some.batch(np.arange(1), rng)[0] is None  # one video has no other to be told from
    assert batches(behavior=BEHAVIOR).batch(np.arange(3), rng)[0] is None
    plain = batches()
    assert (plain.examples, plain.target_dim) == (COUNT, 0)
    views, pairs = plain.batch(np.array([3, 1]), rng)
    assert pairs is None
    assert torch.equal(views.one.text, torch.from_numpy(FEATURES.text[[3, 1]]))
