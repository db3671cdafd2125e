"""Construction of a `GalleryReport` from the tables of an embedding run."""

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

_MODALITY_ORDER: tuple[Modality, ...] = ("fused", "frames", "audio", "text")
_Metadata = Mapping[str, Mapping[str, object]]
"""Columns of VIDEOS by video_id."""


@dataclass(frozen=True, slots=True)
class _ModalityNeighbors:
    """Vectors of one modality with their nearest neighbors."""

    ids: list[str]
    vectors: npt.NDArray[np.float32]
    """(N, D)."""
    near: npt.NDArray[np.int64]
    """(N, k) rows, nearest first."""
    scores: npt.NDArray[np.float32]
    """(N, k) cosines."""

    def neighbors_of(self, row: int) -> list[tuple[str, float]]:
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
    """Build the content of the gallery page from the tables of an embedding run.

    Args:
        videos: VIDEOS, or None.
        embeddings: EMBEDDINGS by modality.
        media: MEDIA.
        failures: FAILURES.
        manifest: Manifest of the run; every key is optional.
        posters: JPEGs by video_id; videos may be missing.
        config: Cards and neighbors.

    Raises:
        SchemaError: If a table is malformed.
    """
    metadata, spaces = _video_metadata(videos, media), _spaces(embeddings, config)
    lead = next(iter(spaces.values()), None)
    ids = lead.ids if lead else []
    groups = _string_groups(manifest.get("near_duplicates"))
    shown = _select(lead, config) if lead else []
    cards = _videos(spaces, shown, metadata, groups, posters)
    index = {video.video_id: number for number, video in enumerate(cards)}
    counts, failed = _mapping(manifest.get("counts")), _failures(failures)
    return GalleryReport(
        videos=cards,
        shown=len(shown),
        embedded=_integer(counts.get("embedded"), len(ids)),
        failed=_integer(counts.get("failed"), failures.num_rows),
        total=_integer(counts.get("videos"), len(ids) + failures.num_rows),
        modalities=list(spaces),
        categories=_categories(ids, metadata),
        agreement=_agreement(spaces, metadata, groups, config),
        near_duplicates=[[index[v] for v in group] for group in groups],
        failures=failed,
        encoders={k: str(v) for k, v in _mapping(manifest.get("encoders")).items()},
        decoders={k: _integer(v, 0) for k, v in _mapping(manifest.get("decoders")).items()},
        timings=_numbers(manifest.get("timings")),
        throughput=_numbers(manifest.get("throughput")),
        machine=_mapping(manifest.get("machine")),
        config=_mapping(manifest.get("config")),
    )


def select_cards(embeddings: Mapping[Modality, pa.Table], config: GalleryConfig) -> list[str]:
    """Select the video_ids that get a card, and therefore need a poster, in the order of the page.

    If the catalog is larger than `config.shown`, they are an evenly spread sample in which each sampled video
    brings its nearest neighbors along, so that neighbors can be seen together.
    """
    for modality in _MODALITY_ORDER:
        if modality in embeddings and (count := embeddings[modality].num_rows):
            if count <= config.shown:
                # The neighbors, quadratic to find, are not needed to take all videos.
                return sorted(embeddings[modality]["entity_id"].to_pylist())
            return _select(_space(embeddings[modality], config), config)
    return []


def _select(space: _ModalityNeighbors, config: GalleryConfig) -> list[str]:
    count = len(space.ids)
    if count <= config.shown:
        return sorted(space.ids)
    selected: dict[int, None] = {}
    # A stride near the golden ratio's share of the catalog visits it evenly at every length.
    stride = next(s for s in range(int(count * 0.618), count + 1) if np.gcd(s, count) == 1)
    for step in range(count):
        row = step * stride % count
        selected.update(dict.fromkeys([row, *space.near[row].tolist()]))
        if len(selected) >= config.shown:
            break
    return sorted(space.ids[row] for row in list(selected)[: config.shown])


def _spaces(
    embeddings: Mapping[Modality, pa.Table], config: GalleryConfig
) -> dict[Modality, _ModalityNeighbors]:
    present: list[Modality] = [m for m in _MODALITY_ORDER if m in embeddings and embeddings[m].num_rows]
    return {m: _space(embeddings[m], config) for m in present}


def _space(table: pa.Table, config: GalleryConfig) -> _ModalityNeighbors:
    table = conform(table, EMBEDDINGS, stage="build_gallery")
    column = table.column("vector").combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), column.type.list_size)
    near, scores = nearest_neighbors(vectors, config.neighbours, config.center)
    return _ModalityNeighbors(table.column("entity_id").to_pylist(), vectors, near, scores)


def _video_metadata(videos: pa.Table | None, media: pa.Table) -> dict[str, dict[str, object]]:
    """Return the columns of VIDEOS by video_id, with measured durations where there are any."""
    metadata: dict[str, dict[str, object]] = {}
    if videos is not None:
        wanted = ["video_id", "title", "category", "language", "kind", "duration_s"]
        for row in conform(videos, VIDEOS, stage="build_gallery", extra=True).select(wanted).to_pylist():
            metadata.setdefault(row["video_id"], row)
    measured = conform(media, MEDIA, stage="build_gallery").select(["video_id", "duration_s"])
    for row in measured.to_pylist():
        if row["duration_s"] is not None:
            metadata[row["video_id"]] = {**metadata.get(row["video_id"], {}), "duration_s": row["duration_s"]}
    return metadata


def _videos(
    spaces: Mapping[Modality, _ModalityNeighbors],
    shown: Sequence[str],
    metadata: _Metadata,
    groups: Sequence[Sequence[str]],
    posters: Mapping[str, bytes],
) -> list[GalleryVideo]:
    """Return the videos with a card first, then those that they or groups of near-duplicates refer to."""
    rows = {m: {v: row for row, v in enumerate(space.ids)} for m, space in spaces.items()}
    positions: dict[str, list[float]] = {}
    for modality, space in list(spaces.items())[:1]:
        vectors = space.vectors[[rows[modality][v] for v in shown]]
        positions = dict(zip(shown, map_2d(vectors).tolist(), strict=True))
    near: dict[str, dict[Modality, list[tuple[str, float]]]] = {
        v: {m: space.neighbors_of(rows[m][v]) for m, space in spaces.items() if v in rows[m]} for v in shown
    }
    others = [other for by_modality in near.values() for pairs in by_modality.values() for other, _ in pairs]
    order = list(dict.fromkeys([*shown, *others, *(v for group in groups for v in group)]))
    index = {video_id: number for number, video_id in enumerate(order)}
    return [
        _gallery_video(
            video_id, metadata.get(video_id, {}), posters, positions, near.get(video_id, {}), index
        )
        for video_id in order
    ]


def _gallery_video(  # noqa: PLR0917
    video_id: str,
    row: Mapping[str, object],
    posters: Mapping[str, bytes],
    positions: Mapping[str, Sequence[float]],
    near: Mapping[Modality, Sequence[tuple[str, float]]],
    index: Mapping[str, int],
) -> GalleryVideo:
    duration, xy = row.get("duration_s"), positions.get(video_id)
    return GalleryVideo(
        video_id=video_id,
        title=_text(row.get("title")) or video_id,
        category=_text(row.get("category")),
        language=_text(row.get("language")),
        kind=_text(row.get("kind")),
        duration_s=float(duration) if isinstance(duration, int | float) else None,
        poster=posters.get(video_id),
        xy=(xy[0], xy[1]) if xy else None,
        neighbors={m: [(index[v], score) for v, score in pairs] for m, pairs in near.items()},
    )


def _categories(ids: Sequence[str], metadata: _Metadata) -> list[tuple[str, int]]:
    known = (_text(metadata.get(video_id, {}).get("category")) for video_id in ids)
    return Counter(sorted(c for c in known if c)).most_common()


def _agreement(
    spaces: Mapping[Modality, _ModalityNeighbors],
    metadata: _Metadata,
    groups: Sequence[Sequence[str]],
    config: GalleryConfig,
) -> CategoryAgreement | None:
    # Copies of one clip would confirm each other and flatter every modality.
    group_of = {video_id: group[0] for group in groups for video_id in group}
    shares: dict[Modality, float] = {}
    counts: Counter[str] = Counter()
    for modality, space in spaces.items():
        known = [i for i, v in enumerate(space.ids) if metadata.get(v, {}).get("category")]
        if len(known) < 2:
            continue
        labels = [str(metadata[space.ids[i]]["category"]) for i in known]
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


def _integer(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) else default


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
