"""Input tables of the commands: events, videos and embeddings, read from paths or URIs."""

import csv
import io
import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vrec.config.events import EventsConfig
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, DataWarning, EventsError, SourceError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.core.schema import CREATOR_PREFIX
from vrec.core.tables import read_embeddings, tables_digest
from vrec.core.types import CatalogContent, Modality
from vrec.core.uris import read_file, resolve, uri_name
from vrec.events.config import Recommended
from vrec.events.consents import CONSENTS, ShopperConsents, ShopperForms, read_consents
from vrec.events.creators import read_follows
from vrec.events.datasets import DATASETS, PublicDataset
from vrec.events.formats import load_columns
from vrec.events.interactions import weigh_events
from vrec.events.links import link_shoppers, other_domains, read_links, without_accounts
from vrec.events.plain_files import FILE_READERS
from vrec.events.read import read_events
from vrec.events.shards.manifest import open_shards
from vrec.events.shards.weigh import recommended_rows
from vrec.events.videos import complete_videos, parse_text_columns
from vrec.pipelines.consent_drops import ConsentDrops, consent_drops
from vrec.pipelines.gates import GateOptions, GateOutcome, gate_events
from vrec.pipelines.quarantine import QuarantineDrops, without_quarantined

_log = logging.getLogger(__name__)

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
    about_creators: pa.Table | None = None
    """EVENTS about creators and no video, which the others lack; None where creators are recommended."""
    consent: ConsentDrops | None = None
    """What was left out for want of consent; None without CONSENTS."""
    test: pa.Table | None = None
    """INTERACTIONS of a published test split, None without one; `interactions` has none of its rows."""
    gates: GateOutcome | None = None
    """Judgement of the events by the data gates; None where the command has none, or they are off."""
    quarantine: QuarantineDrops | None = None
    """What was left out since its shoppers are in quarantine; None without a table of them."""


@dataclass(frozen=True, slots=True)
class _EventLog:
    """Events as they were read."""

    dataset: PublicDataset
    duplicates: int = 0
    future: int = 0
    conflicts: tuple[int, str] = (0, "")


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
    follows: str | None = None
    """A FOLLOWS table: creators that the shoppers follow, and their friends."""
    consent: str | None = None
    """A CONSENTS table: shoppers without `train` are left out, and links of those without `link`."""


def read_inputs(
    paths: InputPaths, config: EventsConfig, modality: Modality, gates: GateOptions | None = None
) -> InputData:
    """Read the input tables of a command, with the embeddings of one modality.

    Args:
        paths: Tables.
        config: Reading and weighing of events, and the data gates.
        modality: Modality of the embeddings.
        gates: Options of the data gates; None for a command without any.

    Raises:
        EventsError, SchemaError, SourceError: A table cannot be read.
        GateError: The data is at fault, and the policy stops.
    """
    log = _read_log(paths, paths.events, config)
    dataset, drops = _without_quarantined(log.dataset, config)
    videos = read_videos(paths.videos) if paths.videos else dataset.videos
    check_recommended(config.of, videos)
    recommended = recommended_rows(config.of, videos)
    consents = consents_of(paths, config)
    content = read_content(paths, config.of, modality, videos, consents)
    linked = without_accounts
    if paths.links is not None:
        links = consents.keep_links(_read_links(paths.links, videos))
        assert content is not None  # links need videos
        if config.of == "video":
            content = replace(content, other_domains=other_domains(links))
        linked = partial(link_shoppers, videos=videos, links=links, at=datetime.now(UTC))

    def weigh(events: pa.Table) -> pa.Table:
        return recommended(weigh_events(consents.keep(linked(events), "train"), config.interest, videos))

    of_shoppers = linked(dataset.events)
    absent = count_absent(consents, consents.forms_of(pc.unique(of_shoppers.column("user_id"))), paths)
    events = consents.keep(of_shoppers, "train")
    # After consent: nothing is counted of those who do not agree.
    outcome = None if gates is None else _judge(log, events, videos, config, gates)
    if outcome is not None and len(outcome.dropped):
        dataset = replace(dataset, events=_without(dataset.events, outcome.dropped))
        of_shoppers, events = (_without(table, outcome.dropped) for table in (of_shoppers, events))
    validation, test = (
        None if path is None else weigh(_read_log(paths, path, config).dataset.events)
        for path in (paths.validation, paths.test)
    )
    return InputData(
        name=_name(dataset, paths),
        events=recommended(events),
        interactions=weigh(dataset.events),
        content=content,
        has_clock=dataset.has_timestamps,
        duplicates=log.duplicates,
        future_events=log.future,
        has_order=dataset.has_order,
        validation=validation,
        test=test,
        about_creators=_about_creators(dataset.events, consents) if config.of == "video" else None,
        consent=None if paths.consent is None else _consent_drops(of_shoppers, events, absent, paths.consent),
        gates=outcome,
        quarantine=drops,
    )


def _without_quarantined(
    dataset: PublicDataset, config: EventsConfig
) -> tuple[PublicDataset, QuarantineDrops | None]:
    events, drops = without_quarantined(dataset.events, config.quarantine)
    return replace(dataset, events=events), drops


def _name(dataset: PublicDataset, paths: InputPaths) -> str:
    return dataset.name if paths.dataset in (None, *DATASETS) else mask_credentials(paths.events)


def _judge(
    log: _EventLog, events: pa.Table, videos: pa.Table | None, config: EventsConfig, gates: GateOptions
) -> GateOutcome | None:
    clock = log.dataset.has_timestamps
    return gate_events(events, videos, config.gates, gates, has_clock=clock, conflicts=log.conflicts)


def _without(events: pa.Table, ids: pa.Array) -> pa.Table:
    """Return EVENTS without those of these ids."""
    return events.filter(pc.invert(pc.is_in(events.column("event_id"), value_set=ids)))


def _about_creators(events: pa.Table, consents: ShopperConsents) -> pa.Table:
    about = pc.starts_with(events.column("video_id"), CREATOR_PREFIX)
    return consents.keep(events.filter(about), "train")


def consents_of(paths: InputPaths, config: EventsConfig) -> ShopperConsents:
    """Return the consents of shoppers; without a table of them everybody consents."""
    if paths.consent is None:
        return ShopperConsents(CONSENTS.arrow().empty_table(), default=True)
    return ShopperConsents(read_consents(paths.consent), default=config.consent_default == "given")


def read_content(
    paths: InputPaths,
    of: Recommended,
    modality: Modality,
    videos: pa.Table | None,
    consents: ShopperConsents,
) -> CatalogContent | None:
    """Return the content of the catalog with VIDEOS, and FOLLOWS of shoppers who consent to fits.

    Raises:
        SourceError, EventsError: A table cannot be read.
    """
    embeddings = _read_embeddings(paths.embeddings, modality) if paths.embeddings else None
    content = None if videos is None and embeddings is None else CatalogContent(videos, embeddings)
    if of == "creator":
        content = CatalogContent()
    if paths.follows is None:
        return content
    follows = consents.keep_follows(read_follows(paths.follows))
    return replace(content or CatalogContent(), follows=follows)


def count_absent(consents: ShopperConsents, forms: ShopperForms, paths: InputPaths) -> int:
    """Return how many shoppers with answers that count are not in EVENTS; see ShopperConsents."""
    if paths.consent is None:
        return 0
    return consents.count_absent(forms, mask_credentials(paths.consent), mask_credentials(paths.events))


def _consent_drops(events: pa.Table, kept: pa.Table, absent: int, uri: str) -> ConsentDrops:
    """Return what the consents at `uri` left out; raises EventsError if nothing is left."""
    users = [len(table.column("user_id").unique()) for table in (events, kept)]
    return consent_drops((users[0], users[1]), (events.num_rows, kept.num_rows), absent, uri)


def check_recommended(of: Recommended, videos: pa.Table | None) -> None:
    """Raise ConfigError where creators are to be recommended and no table has those of the videos."""
    if of == "creator" and videos is None:
        raise ConfigError(
            "events.of creator needs the creator of each video",
            fix="give --videos a VIDEOS table with `creator_id`",
        )


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


def _read_log(paths: InputPaths, uri: str, config: EventsConfig) -> _EventLog:
    """Read the events at `uri` in the layout of `paths`."""
    if paths.dataset is None:
        log = read_events(uri, paths.mapping, config.read, own_kinds=config.interest.own_kinds)
        if (shards := open_shards(uri)) is not None:
            # Of the files that the shards were made from.
            counts = shards.duplicates + log.duplicates, shards.future + log.future
            log = replace(log, duplicates=counts[0], future=counts[1], conflicts=shards.conflicts)
        dataset = PublicDataset(mask_credentials(uri), log.events, None, has_timestamps=True, note="")
        return _EventLog(dataset, log.duplicates, log.future, log.conflicts)
    readers = {**DATASETS, **FILE_READERS}
    if paths.dataset not in readers:
        raise ConfigError(
            f"--dataset {paths.dataset}: there is no reader of that name",
            fix=f"give one of {', '.join(readers)}",
        )
    return _EventLog(readers[paths.dataset](uri))


def consent_report(inputs: InputData) -> dict[str, Any]:
    """Return the entry `consent` of a report: what was left out; empty without CONSENTS."""
    return report_of(inputs.consent, None)


def report_of(consent: ConsentDrops | None, gates: GateOutcome | None) -> dict[str, Any]:
    """Return the entries `consent` and `gates` of a report, of what there is."""
    left_out = {} if consent is None else {"consent": asdict(consent)}
    if gates is None or not gates.report.findings:
        return left_out
    return left_out | {"gates": gates.as_json()}


def log_end(events: pa.Table) -> int | None:
    """Return the time of the last of EVENTS, µs since 1970; None without events."""
    return pc.max(events.column("at").cast(pa.int64())).as_py()


def inputs_report(inputs: InputData) -> dict[str, Any]:
    """Return the entries `consent`, `quarantine` and `gates`, if there is any."""
    held = {} if inputs.quarantine is None else {"quarantine": asdict(inputs.quarantine)}
    return consent_report(inputs) | held | report_of(None, inputs.gates)


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
