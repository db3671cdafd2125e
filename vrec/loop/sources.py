"""Inputs of a loop, and its log: read, judged by the data gates, and cut."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.schema import EVENTS
from vrec.core.tables import StorageFolder, read_embeddings, tables_digest
from vrec.core.uris import join_uri, read_file
from vrec.events.read import read_events
from vrec.loop.errors import LoopError
from vrec.loop.journal import StepResult
from vrec.pipelines.gates import GateOptions, gate_events
from vrec.pipelines.inputs import InputPaths, read_videos

GATES = "gates"
"""Subfolder with the good days of the log."""
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class LoopSources:
    """Paths and addresses of a loop's inputs."""

    videos: str
    """VIDEOS."""
    service: str | None = None
    """Address of the running service, whose log is exported and which is moved; None for none."""
    events: str | None = None
    """A table of events in the place of the service's log."""
    mapping: Mapping[str, str] | None = None
    """Names of that table's columns, by the columns of EVENTS."""
    embeddings: str | None = None
    """An embedding folder; None embeds the videos."""
    links: str | None = None
    """LINKS."""
    follows: str | None = None
    """FOLLOWS."""
    consent: str | None = None
    """CONSENTS."""
    in_service: str | None = None
    """Folder of the bundle in service, if it is not below the loop's folder."""
    address: str | None = None
    """The Ray cluster."""

    def paths(self, events: str, embeddings: str | None) -> InputPaths:
        """Return the inputs of a command that reads a part of the log."""
        return InputPaths(
            events,
            videos=self.videos,
            embeddings=embeddings,
            links=self.links,
            follows=self.follows,
            consent=self.consent,
        )


def without_gates(settings: Settings) -> Settings:
    """Return the settings of the steps after the gates."""
    gates = settings.events.gates.model_copy(update={"policy": "skip"})
    return settings.model_copy(update={"events": settings.events.model_copy(update={"gates": gates})})


def read_table_log(sources: LoopSources, settings: Settings) -> pa.Table:
    """Return EVENTS of the table of events; raises EventsError."""
    assert sources.events is not None
    config = settings.events
    own_kinds = config.interest.own_kinds
    return read_events(sources.events, sources.mapping, config.read, own_kinds=own_kinds).events


def judge_and_cut(
    events: pa.Table, sources: LoopSources, folder: StorageFolder, run: str, settings: Settings
) -> StepResult:
    """Judge a log by the data gates, and write it, and the part that challengers may see by itself.

    Args:
        events: EVENTS.
        sources: The inputs.
        folder: The loop's folder.
        run: Id of the run.
        settings: `loop` and `events` count.

    Raises:
        GateError: The data is at fault.
        LoopError: The log is empty, or shorter than the held-out part.
    """
    if not events.num_rows:
        raise LoopError("the log has no events", fix="give the service some first")
    good_days = join_uri(folder.uri, GATES)
    options = GateOptions(good_days, settings.loop.gates)
    outcome = gate_events(events, read_videos(sources.videos), settings.events.gates, options)
    found: dict[str, Any] = {} if outcome is None else {"gates": outcome.as_json()}
    if outcome is not None and len(outcome.dropped):
        dropped = pc.is_in(events.column("event_id"), value_set=outcome.dropped)
        events = events.filter(pc.invert(dropped))
    at = np.asarray(events.column("at").cast(pa.int64()))
    end = int(at.max())
    cut = end - round(settings.loop.hold_out_hours * HOUR_US)
    train = events.filter(pa.array(at <= cut))
    if not train.num_rows:
        raise LoopError(
            f"the log has no events older than the held-out {settings.loop.hold_out_hours:g} hours",
            fix="wait for more events, or set loop.hold_out_hours lower",
        )
    names = {"log": f"runs/{run}/log.parquet", "train": f"runs/{run}/train.parquet"}
    for name, table in (("log", events), ("train", train)):
        folder.write_parquet(names[name], table.select(EVENTS.arrow().names))
    if outcome is not None:
        outcome.save(good_days)
    sizes = {"events": events.num_rows, "train_events": train.num_rows}
    digests = {"log_digest": tables_digest(events), "train_digest": tables_digest(train)}
    return {**names, **sizes, **digests, **found, "cut": cut, "end": end}


def videos_digest(sources: LoopSources) -> str:
    """Return a digest of VIDEOS; raises SourceError or SchemaError."""
    return tables_digest(read_videos(sources.videos))


def embeddings_digest(uri: str | None) -> str | None:
    """Return a digest of the vectors that a bundle is made of; None without an embedding folder."""
    return None if uri is None else tables_digest(*(read_embeddings(uri, one) for one in ("fused", "text")))


def tables_of(sources: LoopSources) -> dict[str, str | None]:
    """Return digests of the optional tables, by their bytes."""
    named = {"links": sources.links, "follows": sources.follows, "consent": sources.consent}
    return {name: None if uri is None else _file_digest(uri) for name, uri in named.items()}


def _file_digest(uri: str) -> str:
    return hashlib.sha256(read_file(uri)).hexdigest()[:12]
