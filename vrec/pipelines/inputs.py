"""Input tables of the commands: events, videos and embeddings, read from paths or URIs."""

import csv
import io
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from vrec.config.events import EventsConfig
from vrec.core.errors import ConfigError, DataWarning, EventsError, SourceError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.core.tables import read_embeddings, tables_digest
from vrec.core.types import CatalogContent, Modality
from vrec.core.uris import read_file, resolve, uri_name
from vrec.events.datasets import DATASETS, PublicDataset
from vrec.events.formats import load_columns
from vrec.events.interactions import weigh_events
from vrec.events.links import link_shoppers, other_domains, read_links
from vrec.events.plain_files import FILE_READERS
from vrec.events.read import read_events
from vrec.events.videos import complete_videos, parse_text_columns

TEXT_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of the names of tables of text; every other table is Parquet."""


@dataclass(frozen=True, slots=True)
class InputData:
    """Interactions and content of a catalog, ready to be split or fitted on."""

    name: str
    """For people: the path of the events or the name of the public data set."""
    events: pa.Table
    """EVENTS."""
    interactions: pa.Table
    """INTERACTIONS, one row per event that shows interest, neither decayed nor aggregated yet."""
    content: CatalogContent | None
    has_clock: bool
    """Whether `at` is a real time; if not, only the order of one user's events has a meaning."""
    duplicates: int
    """Events dropped because an equal event was read before."""
    future_events: int
    """Events dropped because they lie in the future."""
    has_order: bool = True
    """Whether `at` tells the order of one user's events; if not, all events may be at one moment."""
    validation: pa.Table | None = None
    """INTERACTIONS of a published validation split, None without one; `interactions` has none of its rows."""
    test: pa.Table | None = None
    """INTERACTIONS of a published test split, None without one; `interactions` has none of its rows."""


@dataclass(frozen=True, slots=True)
class InputPaths:
    """Paths or URIs of a command's tables."""

    events: str
    """A table of events, or the folder of a public data set."""
    dataset: str | None = None
    """The public data set in the folder, by its name in `DATASETS`; None for a table."""
    mapping: Mapping[str, str] | None = None
    """Names of the table's columns, keyed by the columns of EVENTS."""
    videos: str | None = None
    """A VIDEOS table."""
    embeddings: str | None = None
    """An embedding folder."""
    validation: str | None = None
    """A published validation split, read as `events`."""
    test: str | None = None
    """A published test split, read as `events`."""
    links: str | None = None
    """A LINKS table: accounts of the shoppers in other domains; VIDEOS has the domains."""


def read_inputs(paths: InputPaths, config: EventsConfig, modality: Modality) -> InputData:
    """Read the input tables of a command, with the embeddings of one modality.

    Raises EventsError, SchemaError or SourceError for a table that cannot be read.
    """
    dataset, duplicates, future = _read_log(paths, paths.events, config)
    videos = read_videos(paths.videos) if paths.videos else dataset.videos
    embeddings = _read_embeddings(paths.embeddings, modality) if paths.embeddings else None
    content = None if videos is None and embeddings is None else CatalogContent(videos, embeddings)
    linked = _no_links
    if paths.links is not None:
        links = _read_links(paths.links, videos)
        assert content is not None  # links need videos
        content = replace(content, other_domains=other_domains(links))
        linked = partial(link_shoppers, videos=content.videos, links=links, at=datetime.now(UTC))

    def weigh(events: pa.Table) -> pa.Table:
        return weigh_events(linked(events), config.interest, videos)

    validation, test = (
        None if path is None else weigh(_read_log(paths, path, config)[0].events)
        for path in (paths.validation, paths.test)
    )
    return InputData(
        name=dataset.name if paths.dataset in (None, *DATASETS) else mask_credentials(paths.events),
        events=linked(dataset.events),
        interactions=weigh(dataset.events),
        content=content,
        has_clock=dataset.has_timestamps,
        duplicates=duplicates,
        future_events=future,
        has_order=dataset.has_order,
        validation=validation,
        test=test,
    )


def _no_links(events: pa.Table) -> pa.Table:
    return events


def _read_links(uri: str, videos: pa.Table | None) -> pa.Table:
    """Read LINKS, of domains that VIDEOS has; warn of others."""
    if videos is None:
        raise ConfigError(
            "--links needs the domain of each video", fix="give --videos a VIDEOS table with `domain`"
        )
    links = read_links(uri)
    known = set(videos.column("domain").to_pylist())
    if unknown := [name for name in other_domains(links) if name not in known]:
        shown = f"{mask_credentials(uri)}: no video is of the domain {', '.join(unknown)}"
        warnings.warn(f"{shown}, so that its links join nothing", DataWarning, stacklevel=2)
    return links


def _read_log(paths: InputPaths, uri: str, config: EventsConfig) -> tuple[PublicDataset, int, int]:
    """Read the events at `uri` in the layout of `paths`, with the numbers of duplicates and future events."""
    if paths.dataset is None:
        log = read_events(uri, paths.mapping, config.read, own_kinds=config.interest.own_kinds)
        dataset = PublicDataset(mask_credentials(uri), log.events, None, has_timestamps=True, note="")
        return dataset, log.duplicates, log.future
    readers = {**DATASETS, **FILE_READERS}
    if paths.dataset not in readers:
        raise ConfigError(
            f"--dataset {paths.dataset}: there is no reader of that name",
            fix=f"give one of {', '.join(readers)}",
        )
    return readers[paths.dataset](uri), 0, 0


def input_fingerprint(inputs: InputData) -> str:
    """Return a digest of all tables that a model may learn from."""
    content = inputs.content or CatalogContent()
    return tables_digest(inputs.events, inputs.interactions, content.videos, content.embeddings)


def read_videos(uri: str) -> pa.Table:
    """Read the VIDEOS table at a path or URI; raises SourceError or SchemaError.

    The table is Parquet, or CSV, TSV or JSON lines by the ending of its name, also with `.gz`.
    Only `video_id` is required: absent columns and nulls get the defaults of docs/tables.md. Columns of other
    types are cast where that loses nothing.
    """
    filesystem, path = resolve(uri)
    if uri_name(uri).lower().removesuffix(".gz").endswith(TEXT_ENDINGS):
        try:
            text = load_columns(uri, lambda names: {name: name for name in names}, lists=True)
        except EventsError as error:
            raise SourceError(str(error), fix="give VIDEOS as Parquet, CSV, TSV or JSON lines") from None
        return complete_videos(parse_text_columns(text.to_arrow(), f"videos {uri}"), f"videos {uri}")
    try:
        table = pq.read_table(path, filesystem=filesystem)
    except FileNotFoundError:
        raise SourceError(f"{uri}: no such file", fix="check the path given to --videos") from None
    except pa.ArrowInvalid as error:
        raise SourceError(f"{uri}: not a Parquet table ({error})", fix="give VIDEOS as Parquet") from None
    except OSError as error:
        raise SourceError(f"{uri}: {os_error_reason(error)}") from None
    return complete_videos(table, f"videos {uri}")


def read_users(uri: str) -> list[str]:
    """Read user ids from a Parquet or CSV table with a column `user_id`, or from text with one id per line.

    Raises SourceError.
    """
    filesystem, path, name = *resolve(uri), uri_name(uri)
    try:
        if name.endswith(".parquet"):
            column = pq.read_table(path, filesystem=filesystem, columns=["user_id"]).column("user_id")
            return _trimmed(str(user) for user in column.to_pylist() if user is not None)
        text = read_file(uri).decode("utf-8-sig")
    except FileNotFoundError:
        raise SourceError(f"{uri}: no such file", fix="check the path given to --users") from None
    except (pa.ArrowInvalid, KeyError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{uri}: no user_id to be read ({error})", fix="give one user_id per line"
        ) from None
    except OSError as error:
        raise SourceError(f"{uri}: {os_error_reason(error)}", fix="check the path given to --users") from None
    if not name.endswith(".csv"):
        return _trimmed(text.splitlines())
    rows = csv.DictReader(io.StringIO(text))
    if "user_id" not in (rows.fieldnames or ()):
        raise SourceError(f"{uri}: no column user_id", fix="name the column of ids user_id")
    return _trimmed(row["user_id"] or "" for row in rows)


def _trimmed(user_ids: Iterable[str]) -> list[str]:
    """Return ids without the spaces around them, which tables of events do not keep either."""
    return [user_id.strip() for user_id in user_ids if user_id.strip()]


def _read_embeddings(uri: str, modality: Modality) -> pa.Table:
    table = read_embeddings(uri, modality)
    if table is None:
        raise SourceError(
            f"{uri}: no {modality} embeddings there", fix="set fit.modality to one that was embedded"
        )
    return table
