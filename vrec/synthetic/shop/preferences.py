"""Ground truth of a simulated shop: catalog, tastes, quality and popularity."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import EventsError
from vrec.core.schema import TIMESTAMP, VIDEOS, conform
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.shop import CENTURY_DAYS, DAY_US, Floats, Indices, SimulatedShop, calibrate_base

CALIBRATION_PAIRS = 20_000
"""Number of random user-video pairs that calibrate the click rate."""
LATENT_DIM = 8
"""Length of the latent vectors of tags and of creators."""


def generate_shop(
    config: SimulationConfig, videos: pa.Table | None = None, vectors: npt.NDArray[np.floating] | None = None
) -> SimulatedShop:
    """Generate a shop whose tastes depend on categories, tags, creators and content vectors.

    Args:
        config: Sizes and strengths of effects.
        videos: VIDEOS rows; without them both catalog and vectors are drawn at random. Videos that are not
            `available` are never shown.
        vectors: (V, dim) content vectors in the order of `videos`, or None.

    Raises:
        SchemaError: `videos` are not VIDEOS.
        EventsError: No video can be shown on the first day, video ids are not unique, or the vectors do not
            match the videos.
    """
    rng = np.random.default_rng([config.seed, 1])
    if videos is None:
        if vectors is not None:
            raise EventsError("vectors came without videos", fix="give the VIDEOS rows that they are of")
        catalog, vectors = _draw_catalog(config, rng)
    else:
        catalog = conform(videos, VIDEOS, stage="simulate", extra=True)
        _check_catalog(catalog, vectors)
    catalog, release = _assign_release(catalog, config, rng)
    taste_model, quality = _TasteModel.draw(config, catalog, vectors, rng), rng.normal(size=len(release))
    tastes = (taste_model.tastes(config, rng), taste_model.tastes(config, rng))
    pairs = rng.integers([config.users, len(release)], size=(CALIBRATION_PAIRS, 2))
    sample = np.einsum("nf,nf->n", tastes[0][pairs[:, 0]], taste_model.features[pairs[:, 1]])
    activity = np.exp(config.activity_spread * rng.normal(size=config.users))
    width = len(str(config.users - 1))
    return SimulatedShop(
        config=config,
        users=pa.array([f"shopper-{n:0{width}}" for n in range(config.users)], pa.string()),
        videos=catalog,
        vectors=None if vectors is None else vectors.astype(np.float32),
        activity=activity / activity.sum(),
        tastes=tastes,
        features=taste_model.features,
        quality=config.quality_spread * quality,
        base_log_odds=calibrate_base(
            config.click_rate, sample + config.quality_spread * quality[pairs[:, 1]]
        ),
        popularity=_popularity(config, quality, rng),
        release=release,
    )


class _TasteModel:
    """Video features that tastes refer to: categories, latent vectors of tags and creators, content."""

    def __init__(self, features: Floats, category: Indices, ideals: Floats) -> None:
        self.features, self.category, self.ideals = features, category, ideals

    @classmethod
    def draw(
        cls,
        config: SimulationConfig,
        videos: pa.Table,
        vectors: npt.NDArray[np.floating] | None,
        rng: np.random.Generator,
    ) -> "_TasteModel":
        category = _codes(pc.fill_null(videos.column("category"), ""))
        one_hot = np.eye(category.max() + 1)[category]
        blocks = [config.category_weight * one_hot]
        blocks.append(config.tag_weight * _tag_features(videos.column("tags"), rng))
        creators = _codes(videos.column("creator_id"))
        hidden = rng.normal(size=(creators.max() + 1, LATENT_DIM)) / np.sqrt(LATENT_DIM)
        blocks.append(config.creator_weight * hidden[creators])
        ideals = np.zeros((one_hot.shape[1], 0))
        if vectors is not None:
            unit = _unit(vectors - vectors.mean(axis=0, dtype=np.float64))
            blocks.append(config.vector_weight * unit)
            ideals = one_hot.T @ unit / one_hot.sum(axis=0)[:, None]
        return cls(np.hstack(blocks), category, ideals)

    def tastes(self, config: SimulationConfig, rng: np.random.Generator) -> Floats:
        """Draw (U, F) tastes: a few favorite categories per user, and an ideal content vector near theirs."""
        shares = rng.dirichlet(np.full(self.ideals.shape[0], config.interests), config.users)
        # Very small concentrations underflow to shares that are NaN or all zero.
        shares = np.nan_to_num(shares)
        strength = shares / np.maximum(shares.max(axis=1, keepdims=True), np.finfo(float).tiny)
        hidden = rng.normal(size=(config.users, 2 * LATENT_DIM))
        dim = self.ideals.shape[1]
        ideal = _unit(shares @ self.ideals + rng.normal(size=(config.users, dim)) / (4 * max(1, dim) ** 0.5))
        return np.hstack([strength, hidden, ideal])


def _draw_catalog(
    config: SimulationConfig, rng: np.random.Generator
) -> tuple[pa.Table, npt.NDArray[np.floating]]:
    n = config.videos
    category = rng.integers(config.categories, size=n)
    creator = rng.integers(config.creators, size=n)
    tags = rng.integers(config.tags, size=(n, 3))
    price = np.exp(rng.normal(3.0 + 0.5 * rng.normal(size=config.categories)[category], 0.6))
    duration = np.exp(rng.normal(np.log(40.0), 0.7, n)).clip(5, 600)
    centres = _unit(rng.normal(size=(config.categories, config.dim)))
    vectors = _unit(centres[category] + rng.normal(size=(n, config.dim)) / config.dim**0.5)
    ids = [f"video-{i:0{len(str(n - 1))}}" for i in range(n)]
    table = pa.table(
        {
            "video_id": ids,
            "uri": [f"{i}.mp4" for i in ids],
            "kind": pa.repeat("product", n),
            "product_ids": pa.array([[f"sku-{i}"] for i in ids], pa.list_(pa.string())),
            "creator_id": [f"creator-{c}" for c in creator],
            "domain": pa.repeat("shop", n),
            "category": [f"category-{c}" for c in category],
            "tags": pa.array([[f"tag-{t}" for t in sorted(set(row))] for row in tags.tolist()]),
            "title": [f"category-{c} {i}" for c, i in zip(category, ids, strict=True)],
            "language": pa.repeat("en", n),
            "price": pa.array(price.round(2), pa.float64()),
            "duration_s": pa.array(duration.round(1), pa.float32()),
            "published_at": pa.nulls(n, TIMESTAMP),
            "available": pa.repeat(True, n),
        }
    )
    return conform(table, VIDEOS, stage="simulate"), vectors


def _check_catalog(videos: pa.Table, vectors: npt.NDArray[np.floating] | None) -> None:
    if not videos.num_rows:
        raise EventsError("simulate: VIDEOS has no rows", fix="give a catalog with videos")
    ids = videos.column("video_id")
    if len(pc.unique(ids)) < len(ids):
        counts = pc.value_counts(ids)
        name = next(row["values"] for row in counts.to_pylist() if row["counts"] > 1)
        duplicates = len(ids) - len(counts)
        raise EventsError(
            f"simulate: VIDEOS.video_id has {duplicates:,} duplicates of {len(ids):,}, such as {name}",
            fix="give every video its own id",
        )
    if vectors is not None and (len(vectors) != videos.num_rows or not np.isfinite(vectors).all()):
        raise EventsError(
            f"simulate: vectors are {vectors.shape} for {videos.num_rows:,} videos, or are not all finite",
            fix="give one finite vector per video, in the order of VIDEOS",
        )


def _assign_release(
    videos: pa.Table, config: SimulationConfig, rng: np.random.Generator
) -> tuple[pa.Table, Indices]:
    """Return VIDEOS with `published_at` filled in, and the first day, from 0, on which each can be shown."""
    start = round(config.start.timestamp() * 1e6)
    late = rng.random(videos.num_rows) < config.cold_share
    drawn = np.where(
        late,
        rng.integers(min(1, config.days - 1), config.days, size=videos.num_rows),
        -rng.integers(1, 366, size=videos.num_rows),
    )
    given = videos.column("published_at").cast(pa.int64())
    has_date = np.asarray(pc.is_valid(given))
    at = np.where(has_date, np.asarray(pc.fill_null(given, 0)), start + drawn * DAY_US)
    # A video is available from the first midnight after its release, so availability is constant in a day.
    release = np.maximum(0, -((start - at) // DAY_US))
    release[~np.asarray(videos.column("available"))] = CENTURY_DAYS
    if not (release == 0).any():
        # A small drawn catalog may by chance have no video on the first day; then one is moved there.
        movable = np.flatnonzero(~has_date & (release < CENTURY_DAYS))
        if not len(movable):
            raise EventsError(
                f"simulate: none of {videos.num_rows:,} videos is available and published by {config.start}",
                fix="give available videos, or a later start",
            )
        release[movable[0]], at[movable[0]] = 0, start - DAY_US
    column = videos.column_names.index("published_at")
    return videos.set_column(column, "published_at", pa.array(at, pa.int64()).cast(TIMESTAMP)), release


def _popularity(config: SimulationConfig, quality: Floats, rng: np.random.Generator) -> Floats:
    """Return (V,) minus skew × log of the rank by a score that correlates with quality as configured."""
    rho = config.popularity_quality
    score = rho * quality + np.sqrt(1 - rho**2) * rng.normal(size=len(quality))
    rank = np.argsort(np.argsort(-score, kind="stable"), kind="stable")
    return -config.popularity_skew * np.log1p(rank)


def _codes(column: pa.ChunkedArray) -> Indices:
    # By name and not by first occurrence, so that a reordered catalog has the same tastes for the same names.
    names = pc.unique(column).sort()
    return np.asarray(pc.index_in(column, value_set=names)).astype(np.int64)


def _tag_features(tags: pa.ChunkedArray, rng: np.random.Generator) -> Floats:
    """Return (V, LATENT_DIM) sums of the latent vectors of a video's tags over the root of their number."""
    lists = tags.combine_chunks()
    rows, flat = np.asarray(pc.list_parent_indices(lists)), pc.list_flatten(lists)
    total = np.zeros((len(lists), LATENT_DIM))
    if len(flat):
        codes = _codes(pa.chunked_array([flat]))
        hidden = rng.normal(size=(codes.max() + 1, LATENT_DIM)) / np.sqrt(LATENT_DIM)
        np.add.at(total, rows, hidden[codes])
    return total / np.sqrt(np.maximum(1, np.bincount(rows, minlength=len(lists))))[:, None]


def _unit(rows: npt.NDArray[np.floating]) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)
