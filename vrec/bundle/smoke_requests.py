"""Smoke requests: made-up requests whose answers a bundle stores, to verify a service before it serves."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.neighbors import VideoNeighbors
from vrec.core.compute import pc
from vrec.core.errors import BundleError
from vrec.core.protocols import VectorIndex
from vrec.core.types import CatalogContent
from vrec.profiles.profile import EventRecord, Profile, VideoMetadata
from vrec.profiles.update import ProfilesConfig, apply_event, embedding_matrix, video_metadata
from vrec.ranking.base import ProfileRanker
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import profile_counts

SMOKE_ANSWERS = pa.schema(
    [
        ("ask", pa.string()),
        ("of", pa.string()),
        ("place", pa.int32()),
        ("video_id", pa.string()),
        ("value", pa.float32()),
    ]
)
"""One row per video of an answer: `of` is the video that the request is about, `ask` the kind of request,
`place` the position in the answer from 0, `value` the score or prediction."""
PREDICTIONS = ("p_click", "watch_s", "p_conv", "spread")
"""Predictions of the ranker, each of which is an answer of its own."""
TOP_K = 10
"""Number of videos per answer."""
RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""Tolerances of an answer's values: processors add float32 numbers in different orders."""
SECOND, DAY = 1_000_000, 86_400_000_000
"""Microseconds in a second and a day."""

SmokeAnswers = dict[tuple[str, str], list[tuple[str, float]]]
"""Videos and values of each answer, by kind of request and video."""


class SmokeTarget(Protocol):
    """Components of a bundle that answer smoke requests."""

    @property
    def videos(self) -> pa.Table: ...

    @property
    def content(self) -> CatalogContent: ...

    @property
    def popular(self) -> tuple[str, ...]: ...

    @property
    def profiles(self) -> ProfilesConfig: ...

    @property
    def ranker(self) -> ProfileRanker: ...

    @property
    def neighbors(self) -> VideoNeighbors: ...

    @property
    def index(self) -> VectorIndex: ...

    @property
    def text_index(self) -> Bm25Index: ...


def smoke_request_videos(video_ids: Sequence[str], count: int) -> tuple[str, ...]:
    """Return at most `count` of the videos, evenly spaced in their order."""
    positions = np.linspace(0, len(video_ids) - 1, min(count, len(video_ids)))
    rows: list[int] = np.unique(positions.round().astype(int)).tolist()
    return tuple(video_ids[row] for row in rows)


def requested_videos(answers: pa.Table) -> list[str]:
    """Return the videos of the requests that SMOKE_ANSWERS answer, in the order of the requests.

    A request depends on the one before it, and only the ranker answers each of them.
    """
    ranked = answers.filter(pc.equal(answers.column("ask"), PREDICTIONS[0]))
    return ranked.column("of").unique().to_pylist()


def run_smoke_requests(bundle: SmokeTarget, video_ids: Sequence[str]) -> pa.Table:
    """Answer one request of each kind about each video; return SMOKE_ANSWERS."""
    rows = [*_search(bundle, video_ids), *_nearest(bundle, video_ids), *_rank(bundle, video_ids)]
    columns = zip(*rows, strict=True) if rows else [()] * len(SMOKE_ANSWERS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SMOKE_ANSWERS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SMOKE_ANSWERS)


def check_smoke_answers(expected: pa.Table, actual: pa.Table, uri: str) -> None:
    """Check that answers are finite, and the same as expected except for float rounding.

    Args:
        expected: SMOKE_ANSWERS when the bundle was made.
        actual: SMOKE_ANSWERS now.
        uri: The bundle's folder, for messages.

    Raises:
        BundleError: An answer is not finite or differs; the message names it.
    """
    before, now = _answers(expected), _answers(actual)
    for (kind, of), answer in now.items():
        if invalid := [video_id for video_id, value in answer if not np.isfinite(value)]:
            raise BundleError(f"{uri}: {kind} of smoke request {of} is not finite for {invalid[0]}")
    for kind, of in {**before, **now}:
        old, new = before.get((kind, of), []), now.get((kind, of), [])
        if difference := _difference(old, new, fixed_order=kind in PREDICTIONS):
            raise BundleError(
                f"{uri}: {kind} of smoke request {of} differs from when the bundle was made: {difference}",
                fix="serve with the version of vrec that made the bundle, or make it again with this one",
            )


def _answers(table: pa.Table) -> SmokeAnswers:
    answers: SmokeAnswers = defaultdict(list)
    for row in table.sort_by([("ask", "ascending"), ("of", "ascending"), ("place", "ascending")]).to_pylist():
        answers[row["ask"], row["of"]].append((row["video_id"], row["value"]))
    return dict(answers)


def _difference(
    old: list[tuple[str, float]], new: list[tuple[str, float]], *, fixed_order: bool
) -> str | None:
    """Describe the first difference of two answers, or return None; ties may come in another order."""
    if len(old) != len(new):
        return f"{len(new)} videos, before {len(old)}"
    for position, ((video_id, before), (other, now)) in enumerate(zip(old, new, strict=True)):
        if not _close(before, now) or (fixed_order and video_id != other):
            return f"position {position} is {other} with {now:.6g}, before {video_id} with {before:.6g}"
    values, last = dict(old), old[-1][1] if old else 0.0
    for video_id, now in new:
        # A video that was not in the answer may enter only if it ties with the last.
        before = values.get(video_id, last)
        if not _close(before, now):
            return f"{video_id} has {now:.6g}, before {before:.6g}"
    return None


def _close(old: float, new: float) -> bool:
    return bool(np.isclose(new, old, rtol=RELATIVE, atol=ABSOLUTE))


def _search(bundle: SmokeTarget, video_ids: Sequence[str]) -> Iterator[tuple]:
    table = _rows(bundle.videos, "video_id", video_ids)
    for row in table.select(["video_id", "title", "tags", "category", "creator_id"]).to_pylist():
        text = row["title"] or " ".join(row["tags"]) or row["category"] or row["creator_id"]
        yield from _lines("search", row["video_id"], bundle.text_index.search(text, TOP_K))


def _nearest(bundle: SmokeTarget, video_ids: Sequence[str]) -> Iterator[tuple]:
    if bundle.content.embeddings is None:
        return
    table = _rows(bundle.content.embeddings, "entity_id", video_ids)
    if not table.num_rows:
        return
    ids, values = bundle.index.search(embedding_matrix(table), TOP_K)
    for of, names, scores in zip(table.column("entity_id").to_pylist(), ids, values, strict=True):
        yield from _lines("index", of, list(zip(names, scores, strict=True)))


def _rank(bundle: SmokeTarget, video_ids: Sequence[str]) -> Iterator[tuple]:
    requests = [_request(bundle, n, video_ids) for n in range(len(video_ids))]
    predictions = bundle.ranker.predict_requests(requests)
    start = 0
    for of, request in zip(video_ids, requests, strict=True):
        rows = slice(start, start := start + len(request.video_ids))
        for name in PREDICTIONS:
            values = getattr(predictions, name)[rows].tolist()
            yield from _lines(name, of, list(zip(request.video_ids, values, strict=True)))


def _request(bundle: SmokeTarget, number: int, video_ids: Sequence[str]) -> RankingRequest:
    """Return a request of a made-up user who watched the video before and then the video at `number`."""
    of, before = video_ids[number], video_ids[number - 1]
    facts, at = _facts(bundle, (before, of)), _request_time(bundle.videos)
    user = Profile("user", f"canary-{number}")
    for step, seen in enumerate((before, of)):
        for kind, value in (("impression", None), ("click", None), ("watch", 12.0)):
            event_id, when = f"{user.entity_id}-{step}-{kind}", at - (2 - step) * 60 * SECOND
            event = EventRecord(event_id, user.entity_id, seen, kind, value, "canary", when)
            user = apply_event(user, event, facts.get(seen), bundle.profiles)
    near = [video_id for video_id, _ in bundle.neighbors.find(of, TOP_K)]
    candidates = tuple(dict.fromkeys([*near, *bundle.popular[:TOP_K], of]))
    states = [
        profile_counts(Profile("video", name, counts={"event:impression": 50.0, "event:click": float(rank)}))
        for rank, name in enumerate(candidates)
    ]
    return RankingRequest(user, RequestContext(at, "canary"), candidates, np.array(states))


def _facts(bundle: SmokeTarget, video_ids: Sequence[str]) -> dict[str, VideoMetadata]:
    embeddings = bundle.content.embeddings
    if embeddings is not None:
        embeddings = _rows(embeddings, "entity_id", video_ids)
    return video_metadata(CatalogContent(_rows(bundle.videos, "video_id", video_ids), embeddings))


def _request_time(videos: pa.Table) -> int:
    """Return a day after the last video was published in µs, so that answers do not depend on the present."""
    newest = pc.max(videos.column("published_at").cast(pa.int64())).as_py()
    return (newest or 0) + DAY


def _rows(table: pa.Table, key: str, ids: Sequence[str]) -> pa.Table:
    return table.filter(pc.is_in(table.column(key), value_set=pa.array(ids, pa.string())))


def _lines(kind: str, of: str, answer: Sequence[tuple[str, float]]) -> Iterator[tuple]:
    for position, (video_id, value) in enumerate(answer):
        yield kind, of, position, video_id, value
