"""The tables that an embedding run leaves, made into a `GalleryReport`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.errors import fix_for
from vrec.core.schema import EMBEDDINGS, FAILURES, MEDIA, VIDEOS, conform
from vrec.core.types import Modality
from vrec.evaluation.reports.gallery.neighbors import map_2d, nearest_neighbors, one_nn_accuracy
from vrec.evaluation.reports.gallery.report import (
    CategoryAgreement,
    GalleryConfig,
    GalleryFailure,
    GalleryReport,
    GalleryVideo,
)

_OFFERED: tuple[Modality, ...] = ("fused", "frames", "audio", "text")
_Facts = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class _ModalityNeighbors:
    """One modality's vectors and who is near whom."""

    ids: list[str]
    vectors: npt.NDArray[np.float32]
    near: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def of(self, row: int) -> list[tuple[str, float]]:
        pairs = zip(self.near[row], self.scores[row], strict=True)
        return [(self.ids[other], float(score)) for other, score in pairs]


def build_gallery(
    *,
    videos: pa.Table | None,
    embeddings: Mapping[Modality, pa.Table],
    media: pa.Table,
    failures: pa.Table,
    manifest: Mapping[str, object],
    posters: Mapping[str, bytes],
    config: GalleryConfig,
) -> GalleryReport:
    """The page's data, from a run's tables.

    `videos` is VIDEOS or None, `embeddings` an EMBEDDINGS table a modality, `posters` JPEGs by
    video_id; posters and every key of `manifest` may be missing. Raises SchemaError.
    """
    facts, spaces = _facts(videos, media), _spaces(embeddings, config)
    lead = next(iter(spaces.values()), None)
    ids = lead.ids if lead else []
    groups = _string_groups(manifest.get("near_duplicates"))
    cards, shown = _videos(spaces, lead, facts, groups, posters, config)
    index = {video.video_id: number for number, video in enumerate(cards)}
    counts, failed = _mapping(manifest.get("counts")), _failures(failures)
    return GalleryReport(
        videos=cards,
        shown=shown,
        embedded=_whole(counts.get("embedded"), len(ids)),
        failed=_whole(counts.get("failed"), failures.num_rows),
        total=_whole(counts.get("videos"), len(ids) + failures.num_rows),
        modalities=list(spaces),
        categories=_categories(ids, facts),
        agreement=_agreement(spaces, facts, groups, config),
        near_duplicates=[[index[v] for v in group] for group in groups],
        failures=failed,
        encoders={k: str(v) for k, v in _mapping(manifest.get("encoders")).items()},
        decoders={k: _whole(v, 0) for k, v in _mapping(manifest.get("decoders")).items()},
        timings=_numbers(manifest.get("timings")),
        throughput=_numbers(manifest.get("throughput")),
        machine=_mapping(manifest.get("machine")),
        config=_mapping(manifest.get("config")),
    )


def select_cards(embeddings: Mapping[Modality, pa.Table], config: GalleryConfig) -> list[str]:
    """The video_ids that will have a card, in the page's order: those that need a poster.

    All of them where they fit; else a sample spread evenly over the catalogue, in which each
    video drawn brings its nearest neighbours along, so that look-alikes can be seen together.
    """
    for modality in _OFFERED:
        if modality in embeddings and (count := embeddings[modality].num_rows):
            if count <= config.shown:
                # Who is near whom is quadratic to find, and not needed to take them all.
                return sorted(embeddings[modality]["entity_id"].to_pylist())
            return _choose(_space(embeddings[modality], config), config)
    return []


def _choose(space: _ModalityNeighbors | None, config: GalleryConfig) -> list[str]:
    if space is None:
        return []
    count = len(space.ids)
    if count <= config.shown:
        return sorted(space.ids)
    chosen: dict[int, None] = {}
    # A stride near the golden ratio's share of the catalogue visits it evenly at every length.
    stride = next(s for s in range(int(count * 0.618), count + 1) if np.gcd(s, count) == 1)
    for step in range(count):
        row = step * stride % count
        chosen.update(dict.fromkeys([row, *space.near[row].tolist()]))
        if len(chosen) >= config.shown:
            break
    return sorted(space.ids[row] for row in list(chosen)[: config.shown])


def _spaces(
    embeddings: Mapping[Modality, pa.Table], config: GalleryConfig
) -> dict[Modality, _ModalityNeighbors]:
    return {m: _space(embeddings[m], config) for m in _OFFERED if m in embeddings and embeddings[m].num_rows}


def _space(table: pa.Table, config: GalleryConfig) -> _ModalityNeighbors:
    table = conform(table, EMBEDDINGS, stage="build_gallery")
    column = table.column("vector").combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), column.type.list_size)
    near, scores = nearest_neighbors(vectors, config.neighbours, config.center)
    return _ModalityNeighbors(table.column("entity_id").to_pylist(), vectors, near, scores)


def _facts(videos: pa.Table | None, media: pa.Table) -> dict[str, dict[str, object]]:
    facts: dict[str, dict[str, object]] = {}
    if videos is not None:
        wanted = ["video_id", "title", "category", "language", "kind", "duration_s"]
        for row in conform(videos, VIDEOS, stage="build_gallery", extra=True).select(wanted).to_pylist():
            facts.setdefault(row["video_id"], row)
    measured = conform(media, MEDIA, stage="build_gallery").select(["video_id", "duration_s"])
    for row in measured.to_pylist():
        if row["duration_s"] is not None:
            facts[row["video_id"]] = {**facts.get(row["video_id"], {}), "duration_s": row["duration_s"]}
    return facts


def _videos(  # noqa: PLR0917
    spaces: Mapping[Modality, _ModalityNeighbors],
    lead: _ModalityNeighbors | None,
    facts: _Facts,
    groups: Sequence[Sequence[str]],
    posters: Mapping[str, bytes],
    config: GalleryConfig,
) -> tuple[list[GalleryVideo], int]:
    """Those with a card first, then whatever they and the groups of near-duplicates refer to."""
    shown = _choose(lead, config)
    rows = {m: {v: row for row, v in enumerate(space.ids)} for m, space in spaces.items()}
    places: dict[str, list[float]] = {}
    if lead is not None:
        row_of = next(iter(rows.values()))
        places = dict(zip(shown, map_2d(lead.vectors[[row_of[v] for v in shown]]).tolist(), strict=True))
    near: dict[str, dict[Modality, list[tuple[str, float]]]]
    near = {v: {m: space.of(rows[m][v]) for m, space in spaces.items() if v in rows[m]} for v in shown}
    others = [other for found in near.values() for pairs in found.values() for other, _ in pairs]
    order = list(dict.fromkeys([*shown, *others, *(v for group in groups for v in group)]))
    index = {video_id: number for number, video_id in enumerate(order)}
    cards: list[GalleryVideo] = []
    for video_id in order:
        fact, place = facts.get(video_id, {}), places.get(video_id)
        length = fact.get("duration_s")
        found: dict[Modality, list[tuple[str, float]]] = near.get(video_id, {})
        cards.append(
            GalleryVideo(
                video_id=video_id,
                title=_text(fact.get("title")) or video_id,
                category=_text(fact.get("category")),
                language=_text(fact.get("language")),
                kind=_text(fact.get("kind")),
                duration_s=float(length) if isinstance(length, int | float) else None,
                poster=posters.get(video_id),
                xy=(place[0], place[1]) if place else None,
                neighbours={m: [(index[v], score) for v, score in pairs] for m, pairs in found.items()},
            )
        )
    return cards, len(shown)


def _categories(ids: Sequence[str], facts: _Facts) -> list[tuple[str, int]]:
    known = (_text(facts.get(video_id, {}).get("category")) for video_id in ids)
    return Counter(sorted(c for c in known if c)).most_common()


def _agreement(
    spaces: Mapping[Modality, _ModalityNeighbors],
    facts: _Facts,
    groups: Sequence[Sequence[str]],
    config: GalleryConfig,
) -> CategoryAgreement | None:
    # Copies of one clip would vouch for each other and flatter every modality.
    group_of = {video_id: group[0] for group in groups for video_id in group}
    shares: dict[Modality, float] = {}
    counts: Counter[str] = Counter()
    for modality, space in spaces.items():
        known = [i for i, v in enumerate(space.ids) if facts.get(v, {}).get("category")]
        if len(known) < 2:
            continue
        labels = [str(facts[space.ids[i]]["category"]) for i in known]
        own = [group_of.get(space.ids[i], space.ids[i]) for i in known]
        share = one_nn_accuracy(space.vectors[known], labels, own, center=config.center)
        if np.isfinite(share):
            shares[modality] = share
            counts = counts or Counter(labels)
    total = sum(counts.values())
    if not shares:
        return None
    chance = sum(n * (n - 1) for n in counts.values()) / (total * (total - 1))
    return CategoryAgreement(by_modality=shares, chance=chance, videos=total)


def _failures(table: pa.Table) -> list[GalleryFailure]:
    wanted = ["video_id", "uri", "stage", "error", "message"]
    rows = conform(table, FAILURES, stage="build_gallery").select(wanted).to_pylist()
    return [GalleryFailure(**row, fix=fix_for(row["error"])) for row in rows]


def _mapping(value: object) -> dict[str, object]:
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _numbers(value: object) -> dict[str, float]:
    return {k: float(v) for k, v in _mapping(value).items() if isinstance(v, int | float)}


def _string_groups(value: object) -> list[list[str]]:
    groups = value if isinstance(value, list | tuple) else []
    return [[str(v) for v in group] for group in groups if isinstance(group, list | tuple) and len(group) > 1]


def _whole(value: object, otherwise: int) -> int:
    return int(value) if isinstance(value, int | float) else otherwise


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
