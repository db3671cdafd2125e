"""Vectors of moments: what 8 bits keep, and sizes that hold for any video."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.moments import MOMENTS
from vrec.encoders.moments.vectors import (
    MinuteBudget,
    MomentVectors,
    quantize_rows,
    restore_rows,
)
from vrec.encoders.vectors import unit_rows
from vrec.media.moments.config import MomentSpansConfig
from vrec.media.moments.spans import BLOCK_S, cut_spans
from vrec.media.moments.subtitles import Cue, bound_cues
from vrec.pipelines.embed.checkpoints import build_part
from vrec.pipelines.embed.moments import moment_rows


def rows(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, dim)))


@given(count=st.integers(0, 20), dim=st.sampled_from([1, 3, 60, 512, 1280]), seed=st.integers(0, 999))
def test_8_bits_keep_the_cosine(count, dim, seed):
    before = rows(count, dim, seed) if count else np.empty((0, dim), np.float32)
    codes, scales = quantize_rows(before)
    assert codes.dtype == np.int8
    after = restore_rows(codes, scales)
    assert np.abs(after - before).max(initial=0) <= scales.max(initial=0) / 2 + 1e-7
    if count:
        assert (after * before).sum(axis=1).min() > 0.995


@settings(max_examples=40)
@given(
    duration=st.floats(0.04, 400),
    cuts=st.lists(st.floats(0, 400), max_size=300),
    cues=st.lists(st.tuples(st.floats(0, 400), st.text(min_size=1, max_size=90)), max_size=200),
    dim=st.sampled_from([64, 512, 1280, 4096]),
    id_bytes=st.integers(1, 200),
    kilobytes=st.sampled_from([16.0, 64.0]),
)
def test_a_minute_never_takes_more_than_its_bytes(duration, cuts, cues, dim, id_bytes, kilobytes):
    """Whole videos, cut in any way and with any subtitles, in the table's own form."""
    config, name = MomentSpansConfig(), "v" * id_bytes
    blocks = [
        cut_spans(
            start, min(start + BLOCK_S, duration), [c for c in cuts if start < c < start + BLOCK_S], config
        )
        for start in np.arange(0, duration, BLOCK_S).tolist()
    ]
    spans = np.concatenate(blocks)
    words = bound_cues([Cue(at, at + 1, text) for at, text in cues], duration)
    cue_spans = np.array([(cue.start_s, cue.end_s) for cue in words]).reshape(-1, 2)
    made = {
        "audio": MomentVectors(spans, rows(len(spans), 60, 1), (None,) * len(spans)),
        "text": MomentVectors(cue_spans, rows(len(words), 512, 2), tuple(cue.text for cue in words)),
        "frames": MomentVectors(spans, rows(len(spans), dim, 3), (None,) * len(spans)),
    }
    budget = MinuteBudget(kilobytes * 1000)
    kept = {}
    for modality, share in (("audio", 0.125), ("text", 0.375), ("frames", 1.0)):
        if len(made[modality].rows):
            kept[modality] = made[modality].bounded(budget, id_bytes, share)
    part = build_part([{"video_id": name}], [{}], [kept])
    tables = {m: moment_rows(part, m, "encoder@0123456789ab") for m in kept}
    minutes = int(duration // 60) + 1
    for modality, table in tables.items():
        assert table.schema.names == [column.name for column in MOMENTS.columns]
        starts = table.column("start_s").to_numpy()
        assert (np.diff(starts) >= 0).all()
        assert np.isclose(table.column("end_s").to_numpy().max(), made[modality].spans[:, 1].max())
    # At least one moment of each modality stays in a minute, whatever it takes.
    least = sum((4096 if dim == 4096 else dim) + 4 * 250 + id_bytes for dim in (60, 512, dim))
    total = sum(table.combine_chunks().nbytes for table in tables.values())
    assert total <= minutes * max(kilobytes * 1000, least)


def test_what_fits_is_left_as_it_is():
    made = MomentVectors(np.array([[0.0, 2.0], [2.0, 4.0]]), rows(2, 8), (None, None))
    assert made.bounded(MinuteBudget(64_000), 4) is made


def test_the_most_similar_neighbors_are_joined():
    same, other = rows(2, 64)
    spans = np.array([[0.0, 2.0], [2.0, 3.0], [3.0, 7.0]])
    made = MomentVectors(spans, np.stack([other, same, same]), ("a", "b", "c"))
    joined = made.bounded(MinuteBudget(2 * (96 + 4 + 64) + 8), 4)
    assert joined.spans.tolist() == [[0.0, 2.0], [2.0, 7.0]]
    assert joined.texts == ("a", "b c")
    assert np.linalg.norm(joined.rows, axis=1) == pytest.approx(1)
