"""What models are fitted on: events, videos and embeddings, read from wherever a command names them."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from vrec.config.settings import EventsConfig
from vrec.core.errors import SourceError, os_error_reason
from vrec.core.schema import VIDEOS, conform
from vrec.core.tables import read_embeddings, resolve
from vrec.core.types import CatalogContent, Modality
from vrec.events.datasets import DATASETS, PublicDataset
from vrec.events.interactions import weigh_events
from vrec.events.read import read_events


@dataclass(frozen=True, slots=True)
class InputData:
    """Interactions and content, ready to be split or fitted on."""

    name: str
    events: pa.Table
    """EVENTS."""
    interactions: pa.Table
    """INTERACTIONS, one row an event that shows interest, not faded and not gathered yet."""
    content: CatalogContent | None
    has_clock: bool
    """Whether `at` is a real time; where it is not, only the order of one user's events means something."""
    duplicates: int
    """Events left out because they were there already."""
    future_events: int
    """Events left out because they lie in the future."""


@dataclass(frozen=True, slots=True)
class InputPaths:
    """Where a command's tables are."""

    events: str
    """A table of events, or the folder of a data set."""
    dataset: str | None = None
    """The public data set that the folder holds, by its name in `DATASETS`."""
    mapping: Mapping[str, str] | None = None
    """Names of the table's columns, by the names of EVENTS."""
    videos: str | None = None
    """A VIDEOS table."""
    embeddings: str | None = None
    """An embedding folder."""


def read_inputs(where: InputPaths, config: EventsConfig, modality: Modality) -> InputData:
    """The material that a command names.

    Raises EventsError, SchemaError or SourceError for what cannot be read.
    """
    if where.dataset is None:
        log = read_events(where.events, where.mapping, config.read)
        found = PublicDataset(where.events, log.events, None, has_timestamps=True, note="")
        duplicates, future = log.duplicates, log.future
    else:
        if where.dataset not in DATASETS:
            raise SourceError(
                f"{where.dataset} is no data set that is known here",
                fix=f"give one of {', '.join(DATASETS)}",
            )
        found, duplicates, future = DATASETS[where.dataset](where.events), 0, 0
    videos = read_videos(where.videos) if where.videos else found.videos
    embeddings = _embeddings(where.embeddings, modality) if where.embeddings else None
    content = None if videos is None and embeddings is None else CatalogContent(videos, embeddings)
    rows = weigh_events(found.events, config.interest, videos)
    return InputData(found.name, found.events, rows, content, found.has_timestamps, duplicates, future)


def read_videos(uri: str) -> pa.Table:
    """The VIDEOS table at a path or URI; raises SourceError or SchemaError."""
    filesystem, path = resolve(uri)
    try:
        table = pq.read_table(path, filesystem=filesystem)
    except FileNotFoundError:
        raise SourceError(f"{uri}: no such file") from None
    except pa.ArrowInvalid as error:
        raise SourceError(f"{uri}: not a Parquet table ({error})", fix="give VIDEOS as Parquet") from None
    except OSError as error:
        raise SourceError(f"{uri}: {os_error_reason(error)}") from None
    return conform(table, VIDEOS, stage=f"videos {uri}", extra=True)


def read_users(uri: str) -> list[str]:
    """The user_ids of a file: a Parquet or CSV table with a `user_id` column, or text with one a line.

    Raises SourceError.
    """
    filesystem, path = resolve(uri)
    try:
        if path.endswith(".parquet"):
            column = pq.read_table(path, filesystem=filesystem, columns=["user_id"]).column("user_id")
            return [str(user) for user in column.to_pylist() if user is not None]
        with filesystem.open_input_stream(path) as stream:
            text = stream.read().decode("utf-8-sig")
    except FileNotFoundError:
        raise SourceError(f"{uri}: no such file", fix="check the path given to --users") from None
    except (pa.ArrowInvalid, KeyError, UnicodeDecodeError) as error:
        raise SourceError(f"{uri}: no user_id to be read ({error})", fix="give one user_id a line") from None
    if not path.endswith(".csv"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    rows = csv.DictReader(io.StringIO(text))
    if "user_id" not in (rows.fieldnames or ()):
        raise SourceError(f"{uri}: no column user_id", fix="name the column of ids user_id")
    return [row["user_id"] for row in rows if row["user_id"]]


def _embeddings(uri: str, modality: Modality) -> pa.Table:
    table = read_embeddings(uri, modality)
    if table is None:
        raise SourceError(
            f"{uri}: no {modality} embeddings there", fix="set fit.modality to one that was embedded"
        )
    return table
