"""Readers of public data sets, for comparing models with published results."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa

from vrec.core.errors import EventsError, os_error_reason
from vrec.core.schema import EVENTS, VIDEOS
from vrec.core.uris import join_uri, read_file, resolve
from vrec.events.columns import POLARS_TIMESTAMP
from vrec.events.config import InterestConfig
from vrec.events.creators import follows_from_events
from vrec.events.polars_tables import from_polars, to_polars

ORDER_END = datetime(2024, 1, 1, tzinfo=UTC)
"""Made-up time of the last video of every user of a set that has an order and no times."""

KUAIRAND_INTEREST_CONFIG = InterestConfig(watch_whole_s=18.0, watch_least=1.0)
"""Interest in KuaiRand: a click, a long view, a like, a share, a follow. A long view is a video watched for
18 s, or to its end where it is shorter: with these values a watch counts for 99.2 % of the rows that the data
set calls long views, and for no other row. Requires the videos in `weigh_events`."""


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """A data set as vrec's tables."""

    name: str
    events: pa.Table
    """EVENTS, sorted by time, then event_id."""
    videos: pa.Table | None
    """VIDEOS, one row per video, sorted by id, with an empty `uri` as there are no video files; None where
    nothing is known of the videos."""
    has_timestamps: bool
    """Whether `at` is the time of the event. If not, only the order within a user is meaningful: neither a
    split by time nor the hour of the day is."""
    note: str
    """Source, license and conversion."""
    has_order: bool = True
    """Whether `at` gives the order of a user's events. If not, all events of a user are at one moment."""

    @property
    def follows(self) -> pa.Table:
        """FOLLOWS of creators by the events, such as those of KuaiRand's authors."""
        return follows_from_events(self.events, self.videos)


DatasetReader = Callable[[str | os.PathLike[str]], PublicDataset]
"""A function from the folder of a set, or one that holds the folders of several sets, to the data set."""


def movielens_100k(folder: str | os.PathLike[str]) -> PublicDataset:
    """Load MovieLens-100k from its folder, or from `ml100k/` below `folder`, in RecBole's format.

    Each of the 100,000 ratings is a click, whatever its stars, as in many papers. Genres are the tags.
    Harper and Konstan 2015, ACM TiiS 5(4).

    Raises:
        EventsError: A file is missing.
    """
    base = dataset_folder(folder, "ml100k", "ml-100k.inter")
    ratings = _read_tsv(join_uri(base, "ml-100k.inter")).select(
        user_id="user_id:token",
        video_id="item_id:token",
        kind=pl.lit("click"),
        at=epoch_time(pl.col("timestamp:float").cast(pl.Int64) * 1_000_000),
    )
    ids = pl.concat_str("user_id", "video_id", separator="-")
    genres = pl.col("class:token_seq").str.split(" ")
    films = _read_tsv(join_uri(base, "ml-100k.item")).select(
        video_id="item_id:token", title="movie_title:token_seq", tags=genres, language=pl.lit("en")
    )
    note = "GroupLens; every rating is a click at its own time, the stars are left out"
    return to_public_dataset("movielens_100k", ratings.with_columns(event_id=ids), films, note)


def microlens_50k(folder: str | os.PathLike[str]) -> PublicDataset:
    """Load MicroLens-50k from its folder, or from `microlens50k/` below `folder`.

    The videos of 50,000 users, in the order they were watched, are clicks; videos have titles. There are no
    times, so they are made up: a user's last video is at ORDER_END, the one before it a day earlier, and
    so on, and `has_timestamps` is False. Ni et al. 2023, arXiv:2309.15379.

    Raises:
        EventsError: A file is missing.
    """
    base = dataset_folder(folder, "microlens50k", "MicroLens-50k_pairs.tsv")
    rows = _read_tsv(
        join_uri(base, "MicroLens-50k_pairs.tsv"), has_header=False, new_columns=["user_id", "video_id"]
    )
    watched = rows.with_columns(pl.col("video_id").str.split(" ")).explode("video_id")
    titles = read_frame(join_uri(base, "MicroLens-50k_titles.csv"), pl.read_csv, infer_schema=False)
    note = "westlake-repl; `at` is the place from the end of the user's sequence in days, not a time"
    videos = titles.select("title", video_id="item")
    return to_public_dataset("microlens_50k", events_in_order(watched), videos, note, has_timestamps=False)


def kuairand_pure(folder: str | os.PathLike[str]) -> PublicDataset:
    """Load KuaiRand-Pure's later windows, 24 April to 8 May 2022.

    It is read from its folder, or from `kuairand_pure/` below `folder`. Each row is an impression;
    `is_click`, `is_like`, `is_follow` and `is_forward` (as share) become events of their own, and so does
    playing for more than 0 s (as watch, `value` in seconds). Events of one impression share its time and
    `request_id`; `domain` is its tab. Exact duplicates are dropped; rows that differ although user, video and
    millisecond are the same are one impression with the maximum of each column. KUAIRAND_INTEREST_CONFIG
    defines the interest. Gao et al. 2022, arXiv:2208.08696.

    Raises:
        EventsError: A file is missing.
    """
    base = dataset_folder(folder, "kuairand_pure", "val.parquet")
    key = ["user_id", "video_id", "time_ms"]
    signals = ["is_click", "is_like", "is_follow", "is_forward", "play_time_ms"]
    windows = [
        read_frame(join_uri(base, f"{window}.parquet"), pl.read_parquet, columns=[*key, *signals, "tab"])
        for window in ("val", "test")
    ]
    rows = pl.concat(windows).group_by(key).agg(pl.col(*signals, "tab").max())
    shown = rows.select(
        *signals,
        pl.col("user_id", "video_id").cast(pl.String),
        request_id=pl.concat_str(*key, separator="-"),
        domain=pl.concat_str(pl.lit("tab"), "tab"),
        at=epoch_time(pl.col("time_ms") * 1000),
    )
    kinds = {"click": "is_click", "like": "is_like", "follow": "is_follow", "share": "is_forward"}
    parts = [shown.with_columns(kind=pl.lit("impression"))]
    parts += [shown.filter(pl.col(signal) > 0).with_columns(kind=pl.lit(k)) for k, signal in kinds.items()]
    seconds = (pl.col("play_time_ms") / 1000).cast(pl.Float32)
    watched = shown.filter(pl.col("play_time_ms") > 0).with_columns(kind=pl.lit("watch"), value=seconds)
    events = pl.concat([*parts, watched], how="diagonal").with_columns(
        event_id=pl.concat_str("request_id", "kind", separator="-")
    )
    note = (
        "KuaiRand, CC BY-SA 4.0, validation and test windows; no row comes from the random policy; "
        f"{sum(w.height for w in windows) - rows.height:,} rows repeat another and were merged"
    )
    return to_public_dataset("kuairand_pure", events, _kuairand_videos(base), note)


def open_bandit(folder: str | os.PathLike[str], policy: str = "random") -> PublicDataset:
    """Load Open Bandit (men's campaign, small) from its folder, or from `obd_men/` below `folder`.

    Each row is an impression with its propensity and position (from 0), and a clicked row also a click with
    the same `request_id` and no propensity. There are no users: `user_id` stands for everyone who shares the
    four features. Saito et al. 2021, arXiv:2008.07146.

    Args:
        folder: The folder of the set, or one that holds the folders of several sets.
        policy: The policy that logged the events, `random` or `bts` (Bernoulli Thompson sampling).

    Raises:
        EventsError: The file is missing, or the policy is unknown.
    """
    if policy not in {"random", "bts"}:
        raise EventsError(f"open_bandit: there is no policy {policy}", fix="use random or bts")
    path = join_uri(dataset_folder(folder, "obd_men", f"{policy}_men.csv"), f"{policy}_men.csv")
    features = [pl.col(f"user_feature_{i}").str.slice(0, 6) for i in range(4)]
    shown = read_frame(path, pl.read_csv, infer_schema=False).select(
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
    return to_public_dataset(f"open_bandit_{policy}", events, None, note)


def open_bandit_bts(folder: str | os.PathLike[str]) -> PublicDataset:
    """Load `open_bandit` as logged under the Bernoulli Thompson policy."""
    return open_bandit(folder, "bts")


DATASETS: dict[str, DatasetReader] = {
    "movielens_100k": movielens_100k,
    "microlens_50k": microlens_50k,
    "kuairand_pure": kuairand_pure,
    "open_bandit_random": open_bandit,
    "open_bandit_bts": open_bandit_bts,
}
"""The readers by name; each takes the folder of its set, or one that holds the folders of several sets."""


def _kuairand_videos(base: str) -> pl.DataFrame:
    columns = ["video_id", "author_id", "tag", "video_duration", "upload_dt"]
    items = read_frame(join_uri(base, "item_features.parquet"), pl.read_parquet, columns=columns)
    tags = pl.col("tag").replace("unknown", None).str.split(",").fill_null([])
    return items.select(
        pl.col("video_id").cast(pl.String),
        creator_id=pl.col("author_id").cast(pl.String),
        tags=tags,
        duration_s=(pl.col("video_duration") / 1000).cast(pl.Float32),
        published_at=pl.col("upload_dt").str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC"),
        language=pl.lit("zh"),
    )


def events_in_order(watched: pl.DataFrame) -> pl.DataFrame:
    """Return clicks at made-up times: each user's last is at ORDER_END, and those before it a day apart.

    Args:
        watched: (N,) rows of `user_id` and `video_id`, each user's from the oldest to the newest.
    """
    index = pl.int_range(pl.len()).over("user_id")
    days = pl.len().over("user_id").cast(pl.Int64) - 1 - index
    return watched.select(
        "user_id",
        "video_id",
        event_id=pl.concat_str("user_id", index, separator="-"),
        kind=pl.lit("click"),
        at=(pl.lit(ORDER_END) - pl.duration(days=days)).cast(POLARS_TIMESTAMP),
    )


def to_public_dataset(
    name: str,
    events: pl.DataFrame,
    videos: pl.DataFrame | None,
    note: str,
    *,
    has_timestamps: bool = True,
    has_order: bool = True,
) -> PublicDataset:
    """Build a data set from frames with some of the columns of EVENTS and VIDEOS, any order of rows."""
    if "domain" not in events.columns:
        events = events.with_columns(domain=pl.lit(name))
    table = from_polars(events.sort("at", "event_id"), EVENTS, name)
    catalog = None
    if videos is not None:
        schema = to_polars(VIDEOS.arrow().empty_table()).schema
        defaults = {"uri": "", "kind": "clip", "creator_id": "", "domain": name, "available": True}
        defaults |= {"product_ids": [], "tags": []}
        absent = {k: pl.lit(v, schema[k]) for k, v in defaults.items() if k not in videos.columns}
        catalog = from_polars(videos.with_columns(**absent).sort("video_id"), VIDEOS, name)
    return PublicDataset(name, table, catalog, has_timestamps, note, has_order)


def dataset_folder(folder: str | os.PathLike[str], name: str, file: str) -> str:
    """Return the folder of a set: `folder` itself where the file is in it, else the folder `name` below."""
    own = os.fspath(folder)
    filesystem, path = resolve(join_uri(own, file))
    return own if filesystem.get_file_info(path).is_file else join_uri(own, name)


def epoch_time(micros: pl.Expr) -> pl.Expr:
    """Return times of whole numbers of microseconds since 1970."""
    return micros.cast(POLARS_TIMESTAMP)


def _read_tsv(uri: str, **options: object) -> pl.DataFrame:
    # Titles hold quotation marks that do not quote.
    return read_frame(uri, pl.read_csv, separator="\t", quote_char=None, infer_schema=False, **options)


def read_frame(uri: str, read: Callable[..., pl.DataFrame], **options: object) -> pl.DataFrame:
    """Read a file of a data set with a reader of polars.

    Raises:
        EventsError: There is no such file, or it cannot be read.
    """
    try:
        return read(io.BytesIO(read_file(uri)), **options)
    except FileNotFoundError:
        raise EventsError(
            f"{uri}: no such file", fix="give the folder of the data set, or the one above it"
        ) from None
    except OSError as error:
        raise EventsError(f"{uri}: {os_error_reason(error)}") from None
    except pl.exceptions.PolarsError as error:
        raise EventsError(f"{uri}: {error}", fix="give the file as it was published") from None
