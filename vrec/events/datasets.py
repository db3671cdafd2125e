"""Public data sets as vrec's tables, to compare models on what others measure on too."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, VIDEOS
from vrec.events.interactions import InterestConfig
from vrec.events.polars_tables import from_polars, to_polars

MICROLENS_END = datetime(2024, 1, 1, tzinfo=UTC)
"""When every user of MicroLens is said to have watched their last video."""

KUAIRAND_INTEREST_CONFIG = InterestConfig(watch_whole_s=18.0, watch_least=1.0)
"""What counts as interest in KuaiRand: a click, a long view, a like, a share, a follow. Its long view is a
video watched for 18 s, or to its end where it is shorter: with these values a watch counts for 99.2 % of the
rows that the data set calls long views, and for no other. Give `weigh` the videos too."""


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """A data set as vrec's tables."""

    name: str
    events: pa.Table
    """EVENTS, by time, then event_id."""
    videos: pa.Table | None
    """VIDEOS, one a video, by id; their `uri` is empty, as no video comes with them. None: nothing known."""
    has_timestamps: bool
    """Whether `at` is the time of the event. Where it is not, only the order within a user means anything:
    no split by time, no hour of the day."""
    note: str
    """Where it comes from, and what was made of it."""


DatasetReader = Callable[[str | Path], PublicDataset]


def movielens_100k(folder: str | Path) -> PublicDataset:
    """MovieLens-100k: each of the 100,000 ratings as a click, whatever its stars, as papers often do.

    Reads `ml100k/` below `folder`, in RecBole's form. Genres are the tags. Raises EventsError where a file
    is missing. Harper and Konstan 2015, ACM TiiS 5(4).
    """
    base = Path(folder) / "ml100k"
    ratings = _read_tsv(base / "ml-100k.inter").select(
        user_id="user_id:token",
        video_id="item_id:token",
        kind=pl.lit("click"),
        at=_at(pl.col("timestamp:float").cast(pl.Int64) * 1_000_000),
    )
    ids = pl.concat_str("user_id", "video_id", separator="-")
    genres = pl.col("class:token_seq").str.split(" ")
    films = _read_tsv(base / "ml-100k.item").select(
        video_id="item_id:token", title="movie_title:token_seq", tags=genres, language=pl.lit("en")
    )
    note = "GroupLens; every rating is a click at its own time, the stars are left out"
    return _dataset("movielens_100k", ratings.with_columns(event_id=ids), films, note)


def microlens_50k(folder: str | Path) -> PublicDataset:
    """MicroLens-50k: 50,000 users' videos in the order they were watched, as clicks, and the videos' titles.

    Reads `microlens50k/` below `folder`. There are no times, so they are made up: a user's last video is at
    MICROLENS_END, the one before it a day earlier, and so on; days are places from the end, and `clock` is
    False. Raises EventsError where a file is missing. Ni et al. 2023, arXiv:2309.15379.
    """
    base = Path(folder) / "microlens50k"
    rows = _read_tsv(base / "MicroLens-50k_pairs.tsv", has_header=False, new_columns=["user_id", "video_id"])
    watched = rows.with_columns(pl.col("video_id").str.split(" ")).explode("video_id")
    place = pl.int_range(pl.len()).over("user_id")
    left = pl.len().over("user_id").cast(pl.Int64) - 1 - place
    events = watched.select(
        "user_id",
        "video_id",
        event_id=pl.concat_str("user_id", place, separator="-"),
        kind=pl.lit("click"),
        at=(pl.lit(MICROLENS_END) - pl.duration(days=left)).cast(pl.Datetime("us", "UTC")),
    )
    titles = _found(base / "MicroLens-50k_titles.csv", pl.read_csv, infer_schema=False)
    note = "westlake-repl; `at` is the place from the end of the user's sequence in days, not a time"
    return _dataset("microlens_50k", events, titles.select("title", video_id="item"), note, clock=False)


def kuairand_pure(folder: str | Path) -> PublicDataset:
    """KuaiRand-Pure's later windows (24 April to 8 May 2022): impressions, clicks, watches, likes and more.

    Reads `kuairand_pure/` below `folder`. Each row is an impression; `is_click`, `is_like`, `is_follow` and
    `is_forward` (as share) are events of their own, and so is playing for more than 0 s (as watch, its
    `value` the seconds). All of one showing have its time and `request_id`; `domain` is the tab it was in.
    Exact duplicates are dropped; rows that differ though user, video and millisecond are the same
    are one showing, with the most that any of them says. KUAIRAND_INTEREST says what counts as interest.
    Raises EventsError where a file is missing. Gao et al. 2022, arXiv:2208.08696.
    """
    base = Path(folder) / "kuairand_pure"
    showing = ["user_id", "video_id", "time_ms"]
    signs = ["is_click", "is_like", "is_follow", "is_forward", "play_time_ms"]
    windows = [
        _found(base / f"{part}.parquet", pl.read_parquet, columns=[*showing, *signs, "tab"])
        for part in ("val", "test")
    ]
    rows = pl.concat(windows).group_by(showing).agg(pl.col(*signs, "tab").max())
    shown = rows.select(
        *signs,
        pl.col("user_id", "video_id").cast(pl.String),
        request_id=pl.concat_str(*showing, separator="-"),
        domain=pl.concat_str(pl.lit("tab"), "tab"),
        at=_at(pl.col("time_ms") * 1000),
    )
    kinds = {"click": "is_click", "like": "is_like", "follow": "is_follow", "share": "is_forward"}
    parts = [shown.with_columns(kind=pl.lit("impression"))]
    parts += [shown.filter(pl.col(sign) > 0).with_columns(kind=pl.lit(k)) for k, sign in kinds.items()]
    seconds = (pl.col("play_time_ms") / 1000).cast(pl.Float32)
    watched = shown.filter(pl.col("play_time_ms") > 0).with_columns(kind=pl.lit("watch"), value=seconds)
    events = pl.concat([*parts, watched], how="diagonal").with_columns(
        event_id=pl.concat_str("request_id", "kind", separator="-")
    )
    note = (
        "KuaiRand, CC BY-SA 4.0, validation and test windows; no row comes from the random policy; "
        f"{sum(w.height for w in windows) - rows.height:,} rows repeat another and were merged"
    )
    return _dataset("kuairand_pure", events, _kuairand_videos(base), note)


def open_bandit(folder: str | Path, policy: str = "random") -> PublicDataset:
    """Open Bandit (men's campaign, small) as logged under one policy, `random` or `bts` (Bernoulli Thompson).

    Reads `obd_men/` below `folder`. Each row is an impression with its propensity and position (from 0),
    and where it was clicked, a click with the same `request_id` and no propensity. There are no users:
    `user_id` stands for all who share the four features given. Raises EventsError where the file is missing
    or the policy is another. Saito et al. 2021, arXiv:2008.07146.
    """
    if policy not in {"random", "bts"}:
        raise EventsError(f"open_bandit: no policy {policy}", fix="ask for random or bts")
    path = Path(folder) / "obd_men" / f"{policy}_men.csv"
    features = [pl.col(f"user_feature_{i}").str.slice(0, 6) for i in range(4)]
    shown = _found(path, pl.read_csv, infer_schema=False).select(
        user_id=pl.concat_str(features, separator="-"),
        video_id="item_id",
        position=pl.col("position").cast(pl.Int16) - 1,
        request_id=pl.concat_str(pl.lit(policy), "", separator="-"),
        propensity=pl.col("propensity_score").cast(pl.Float64).cast(pl.Float32),
        at=pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us"),
        clicked=pl.col("click") == "1",
    )
    clicks = shown.filter("clicked").drop("propensity").with_columns(kind=pl.lit("click"))
    events = pl.concat([shown.with_columns(kind=pl.lit("impression")), clicks], how="diagonal")
    events = events.with_columns(event_id=pl.concat_str("request_id", "kind", separator="-"))
    note = (
        f"ZOZO, CC BY 4.0, the {policy} policy's log; a user_id is a group of people with the same features"
    )
    return _dataset(f"open_bandit_{policy}", events, None, note)


def open_bandit_bts(folder: str | Path) -> PublicDataset:
    """`open_bandit` as logged under the Bernoulli Thompson policy."""
    return open_bandit(folder, "bts")


DATASETS: dict[str, DatasetReader] = {
    "movielens_100k": movielens_100k,
    "microlens_50k": microlens_50k,
    "kuairand_pure": kuairand_pure,
    "open_bandit_random": open_bandit,
    "open_bandit_bts": open_bandit_bts,
}
"""The readers by name; each takes the folder that holds the data sets' folders."""


def _kuairand_videos(base: Path) -> pl.DataFrame:
    columns = ["video_id", "author_id", "tag", "video_duration", "upload_dt"]
    items = _found(base / "item_features.parquet", pl.read_parquet, columns=columns)
    tags = pl.col("tag").replace("unknown", None).str.split(",").fill_null([])
    return items.select(
        pl.col("video_id").cast(pl.String),
        creator_id=pl.col("author_id").cast(pl.String),
        tags=tags,
        duration_s=(pl.col("video_duration") / 1000).cast(pl.Float32),
        published_at=pl.col("upload_dt").str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC"),
        language=pl.lit("zh"),
    )


def _dataset(
    name: str, events: pl.DataFrame, videos: pl.DataFrame | None, note: str, *, clock: bool = True
) -> PublicDataset:
    if "domain" not in events.columns:
        events = events.with_columns(domain=pl.lit(name))
    table = from_polars(events.sort("at", "event_id"), EVENTS, name)
    catalogue = None
    if videos is not None:
        none = to_polars(VIDEOS.arrow().empty_table())
        given = {"uri": "", "kind": "clip", "creator_id": "", "domain": name, "available": True}
        given |= {"product_ids": [], "tags": []}
        rest = {k: pl.lit(v, none.schema[k]) for k, v in given.items() if k not in videos.columns}
        catalogue = from_polars(videos.with_columns(**rest).sort("video_id"), VIDEOS, name)
    return PublicDataset(name, table, catalogue, clock, note)


def _at(micros: pl.Expr) -> pl.Expr:
    return micros.cast(pl.Datetime("us", "UTC"))


def _read_tsv(path: Path, **options: object) -> pl.DataFrame:
    # Titles hold quotation marks that mean nothing.
    return _found(path, pl.read_csv, separator="\t", quote_char=None, infer_schema=False, **options)


def _found(path: Path, read: Callable[..., pl.DataFrame], **options: object) -> pl.DataFrame:
    try:
        return read(path, **options)
    except FileNotFoundError:
        raise EventsError(
            f"{path}: no such file", fix="give the folder that holds the data sets' folders"
        ) from None
