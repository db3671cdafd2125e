"""Made-up requests whose answers a bundle keeps, so that a service sees whether it answers the same."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from vrec.bundle.inputs import embedding_matrix
from vrec.core.compute import pc
from vrec.core.errors import BundleError
from vrec.core.types import CatalogContent
from vrec.profiles.profile import EventRecord, Profile, VideoMetadata
from vrec.profiles.update import apply_event, video_metadata
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import profile_counts

if TYPE_CHECKING:
    from vrec.bundle.bundle import ServingBundle

SMOKE_ANSWERS = pa.schema(
    [
        ("ask", pa.string()),
        ("of", pa.string()),
        ("place", pa.int32()),
        ("video_id", pa.string()),
        ("value", pa.float32()),
    ]
)
"""One row an answer: `of` is the video that the request is about, `ask` what was asked of whom, `place` where
in the answer the video stands, from 0."""
PREDICTIONS = ("p_click", "watch_s", "p_conv", "spread")
TOP_K = 10
"""Videos of each answer."""
RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""How far an answer may be from the one that was kept: processors add float32 numbers in other orders."""
SECOND, DAY = 1_000_000, 86_400_000_000

SmokeAnswers = dict[tuple[str, str], list[tuple[str, float]]]


def smoke_request_videos(video_ids: Sequence[str], count: int) -> tuple[str, ...]:
    """At most `count` of the videos, evenly spread over their order."""
    step = np.linspace(0, len(video_ids) - 1, min(count, len(video_ids)))
    places: list[int] = np.unique(step.round().astype(int)).tolist()
    return tuple(video_ids[place] for place in places)


def run_smoke_requests(bundle: "ServingBundle", video_ids: Sequence[str]) -> pa.Table:
    """CANARIES: what the bundle answers to one request of each kind about each of some videos."""
    rows = [*_searched(bundle, video_ids), *_nearest(bundle, video_ids), *_ranked(bundle, video_ids)]
    columns = zip(*rows, strict=True) if rows else [()] * len(SMOKE_ANSWERS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SMOKE_ANSWERS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SMOKE_ANSWERS)


def check_smoke_answers(expected: pa.Table, found: pa.Table, uri: str) -> None:
    """Returns where the answers are the same, but for float rounding; raises BundleError, naming one."""
    before, now = _answers(expected), _answers(found)
    for (asked, of), answer in now.items():
        if wrong := [video_id for video_id, value in answer if not np.isfinite(value)]:
            raise BundleError(f"{uri}: {asked} of canary {of} is not a finite number for {wrong[0]}")
    for asked, of in {**before, **now}:
        was, is_now = before.get((asked, of), []), now.get((asked, of), [])
        if difference := _difference(was, is_now, by_place=asked in PREDICTIONS):
            raise BundleError(
                f"{uri}: {asked} of canary {of} is not what it was when the bundle was made: {difference}",
                fix="serve with the version of vrec that made the bundle, or make it again with this one",
            )


def _answers(table: pa.Table) -> SmokeAnswers:
    found: SmokeAnswers = defaultdict(list)
    for row in table.sort_by([("ask", "ascending"), ("of", "ascending"), ("place", "ascending")]).to_pylist():
        found[row["ask"], row["of"]].append((row["video_id"], row["value"]))
    return dict(found)


def _difference(
    was: list[tuple[str, float]], is_now: list[tuple[str, float]], *, by_place: bool
) -> str | None:
    """What differs between two answers in words, or None; of equal values the order may change."""
    if len(was) != len(is_now):
        return f"{len(is_now)} videos, were {len(was)}"
    for place, ((video_id, old), (other, new)) in enumerate(zip(was, is_now, strict=True)):
        if not _close(old, new) or (by_place and video_id != other):
            return f"{other} has {new:.6g} in place {place}, where {video_id} had {old:.6g}"
    values, last = dict(was), was[-1][1] if was else 0.0
    for video_id, new in is_now:
        # One that was not there may come in only where it is as good as the last.
        if not _close(values.get(video_id, last), new):
            return f"{video_id} has {new:.6g}, had {values.get(video_id, last):.6g}"
    return None


def _close(old: float, new: float) -> bool:
    return bool(np.isclose(new, old, rtol=RELATIVE, atol=ABSOLUTE))


def _searched(bundle: "ServingBundle", video_ids: Sequence[str]) -> Iterator[tuple]:
    table = _rows(bundle.videos, "video_id", video_ids)
    for row in table.select(["video_id", "title", "tags", "category", "creator_id"]).to_pylist():
        text = row["title"] or " ".join(row["tags"]) or row["category"] or row["creator_id"]
        yield from _lines("search", row["video_id"], bundle.text_index.search(text, TOP_K))


def _nearest(bundle: "ServingBundle", video_ids: Sequence[str]) -> Iterator[tuple]:
    if bundle.content.embeddings is None:
        return
    table = _rows(bundle.content.embeddings, "entity_id", video_ids)
    if not table.num_rows:
        return
    ids, values = bundle.index.search(embedding_matrix(table), TOP_K)
    for of, names, scores in zip(table.column("entity_id").to_pylist(), ids, values, strict=True):
        yield from _lines("index", of, list(zip(names, scores, strict=True)))


def _ranked(bundle: "ServingBundle", video_ids: Sequence[str]) -> Iterator[tuple]:
    requests = [_request(bundle, n, video_ids) for n in range(len(video_ids))]
    found = bundle.ranker.predict_requests(requests)
    start = 0
    for of, request in zip(video_ids, requests, strict=True):
        rows = slice(start, start := start + len(request.video_ids))
        for name in PREDICTIONS:
            values = getattr(found, name)[rows].tolist()
            yield from _lines(name, of, list(zip(request.video_ids, values, strict=True)))


def _request(bundle: "ServingBundle", number: int, video_ids: Sequence[str]) -> RankingRequest:
    """What someone is asked to be shown who watched one canary and then another."""
    of, before = video_ids[number], video_ids[number - 1]
    facts, at = _facts(bundle, (before, of)), _moment(bundle.videos)
    user = Profile("user", f"canary-{number}")
    for step, seen in enumerate((before, of)):
        for kind, value in (("impression", None), ("click", None), ("watch", 12.0)):
            event_id, when = f"{user.entity_id}-{step}-{kind}", at - (2 - step) * 60 * SECOND
            event = EventRecord(event_id, user.entity_id, seen, kind, value, "canary", when)
            user = apply_event(user, event, facts.get(seen), bundle.profiles)
    near = [video_id for video_id, _ in bundle.neighbors.find(of, TOP_K)]
    candidates = tuple(dict.fromkeys([*near, *bundle.popular[:TOP_K], of]))
    states = [
        profile_counts(Profile("video", name, counts={"event:impression": 50.0, "event:click": float(place)}))
        for place, name in enumerate(candidates)
    ]
    return RankingRequest(user, RequestContext(at, "canary"), candidates, np.array(states))


def _facts(bundle: "ServingBundle", video_ids: Sequence[str]) -> dict[str, VideoMetadata]:
    embeddings = bundle.content.embeddings
    if embeddings is not None:
        embeddings = _rows(embeddings, "entity_id", video_ids)
    return video_metadata(CatalogContent(_rows(bundle.videos, "video_id", video_ids), embeddings))


def _moment(videos: pa.Table) -> int:
    """A day after the last video was published: the same whenever it is asked."""
    newest = pc.max(videos.column("published_at").cast(pa.int64())).as_py()
    return (newest or 0) + DAY


def _rows(table: pa.Table, key: str, ids: Sequence[str]) -> pa.Table:
    return table.filter(pc.is_in(table.column(key), value_set=pa.array(ids, pa.string())))


def _lines(asked: str, of: str, answer: Sequence[tuple[str, float]]) -> Iterator[tuple]:
    for place, (video_id, value) in enumerate(answer):
        yield asked, of, place, video_id, value
