"""State of the catalog journal: the last change of each field of each video, and the bundles' cuts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgpack
import numpy as np
import pyarrow as pa

from vrec.core.errors import SchemaError
from vrec.core.pauses import pause_if_due
from vrec.core.schema import TIMESTAMP, VIDEOS, VectorType
from vrec.core.types import MODALITIES
from vrec.serving.catalog.clock import FIRST_STAMP, Stamp
from vrec.serving.messages import CatalogEdit

FORMAT = 2
"""The first value of every packed state; other formats are refused."""
PRESENT, VECTOR = "present", "vector:"
"""Register of a video's presence, and prefix of those of its vectors; the others are columns of VIDEOS."""
MOST_CUTS = 8
"""Bundles whose cuts a compaction keeps, the last ones recorded."""


class Register(NamedTuple):
    """Value that the last change gave to a field."""

    stamp: Stamp
    at: int
    """Time of the change by the clock of the data folder's storage, µs since 1970; 0 if not known yet."""
    value: Any
    """Value of a column, a time in µs; (encoder, float32 bytes) of a vector or None; presence as bool."""


Registers = dict[str, Register]
"""Registers of one video by name."""


class BundleCut(NamedTuple):
    """Point in the order of changes up to which a bundle supersedes them."""

    cut: Stamp
    """Last change that was made before the bundle."""
    recorded: Stamp
    contains: frozenset[str]
    """Changed videos of that time that the bundle has."""


@dataclass(eq=False)
class JournalState:
    """Join-semilattice of changes: states merge in any order, any number of times, to the same state."""

    videos: dict[str, Registers] = field(default_factory=dict)
    cuts: dict[str, BundleCut] = field(default_factory=dict)
    """Cuts by version of the bundle."""

    def merge(self, other: "JournalState") -> set[str]:
        """Merge another state into this one, and return the ids of the videos that it changed."""
        changed: set[str] = set()
        for video_id, theirs in other.videos.items():
            mine = self.videos.get(video_id)
            if mine is None:
                self.videos[video_id] = dict(theirs)
                if theirs:
                    changed.add(video_id)
                continue
            for name, register in theirs.items():
                if name not in mine or register.stamp > mine[name].stamp:
                    mine[name] = register
                    changed.add(video_id)
            pause_if_due()
        for version, cut in other.cuts.items():
            mine_cut = self.cuts.get(version, cut)
            self.cuts[version] = BundleCut(
                # A change that was acknowledged over one of the cuts stays in force.
                min(cut.cut, mine_cut.cut),
                max(cut.recorded, mine_cut.recorded),
                cut.contains | mine_cut.contains,
            )
        return changed

    def received(self, at: int) -> "JournalState":
        """Return the state with times for the changes that do not have one yet, as `unpack_state` does."""
        videos: dict[str, Registers] = {}
        for video_id, registers in self.videos.items():
            videos[video_id] = {
                name: one if one.at else one._replace(at=at or one.stamp.time)
                for name, one in registers.items()
            }
            pause_if_due()
        return JournalState(videos, dict(self.cuts))

    def stamps(self) -> Iterator[Stamp]:
        """Yield all stamps."""
        yield from (register.stamp for registers in self.videos.values() for register in registers.values())
        yield from (stamp for cut in self.cuts.values() for stamp in (cut.cut, cut.recorded))

    def cut_before(self, made_at: int) -> Stamp:
        """Return the last change that was made before a time (µs), in the order of stamps."""
        registers = (one for video in self.videos.values() for one in video.values())
        return max((one.stamp for one in registers if one.at < made_at), default=FIRST_STAMP)

    def pruned(self, versions: Iterable[str]) -> "JournalState":
        """Return the state without what none of these bundles needs.

        A change up to the cuts of all of them is dropped. A video that was added stays as long as one of them
        lacks it.
        """
        wanted = set(versions)
        recent = sorted(self.cuts, key=lambda version: self.cuts[version].recorded)[-MOST_CUTS:]
        cuts = {version: cut for version, cut in self.cuts.items() if version in wanted | set(recent)}
        if not wanted or not wanted <= self.cuts.keys():
            return JournalState(dict(self.videos), cuts)
        floor = min(self.cuts[version].cut for version in wanted)
        everywhere = frozenset.intersection(*(self.cuts[version].contains for version in wanted))
        videos: dict[str, Registers] = {}
        for video_id, registers in self.videos.items():
            added = PRESENT in registers and registers[PRESENT].value
            kept = {name: one for name, one in registers.items() if one.stamp > floor}
            if added and video_id not in everywhere:
                kept = registers
            if kept:
                videos[video_id] = kept
        known = videos.keys()
        cuts = {
            version: cut._replace(contains=frozenset(cut.contains & known)) for version, cut in cuts.items()
        }
        return JournalState(videos, cuts)


def edit_registers(edit: CatalogEdit, stamp: Stamp) -> Registers:
    """Return the registers that an edit sets: of an added video all, else the fields that it names.

    Raises:
        SchemaError: A field is not a column of VIDEOS, or its value is of another type.
    """
    values: dict[str, Any] = {name: _plain(name, value) for name, value in edit.fields.items()}
    if edit.kind == "add":
        absent = [column.name for column in VIDEOS.columns[1:] if column.name not in values]
        values |= {name: _plain(name, None) for name in absent}
        values |= {f"{VECTOR}{modality}": None for modality in MODALITIES}
    for modality, vector in edit.vectors.items():
        packed = np.asarray(vector, "<f4").tobytes()
        values[f"{VECTOR}{modality}"] = (edit.encoders.get(modality, ""), packed)
    if edit.kind != "update":
        values[PRESENT] = edit.kind == "add"
    return {name: Register(stamp, 0, value) for name, value in values.items()}


def pack_state(state: JournalState) -> bytes:
    """Encode a state as bytes."""
    videos: dict[str, list[tuple[Stamp, int, dict[str, Any]]]] = {}
    for video_id, registers in state.videos.items():
        # Those of one change are together: most have their stamp and time in common.
        changes: dict[tuple[Stamp, int], dict[str, Any]] = {}
        for name, one in registers.items():
            changes.setdefault((one.stamp, one.at), {})[name] = one.value
        videos[video_id] = [(stamp, at, values) for (stamp, at), values in changes.items()]
        pause_if_due()
    cuts = {
        version: (cut.cut, cut.recorded, sorted(cut.contains)) for version, cut in sorted(state.cuts.items())
    }
    packed = msgpack.packb((FORMAT, videos, cuts))
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_state(data: bytes, at: int) -> JournalState:
    """Decode a state.

    Args:
        data: Bytes of `pack_state`.
        at: Time of the changes that do not have one yet, µs since 1970; 0 takes that of their stamps.

    Raises:
        ValueError: The bytes are not a state of this version.
    """
    try:
        form, videos, cuts = msgpack.unpackb(data, use_list=False)
        if form != FORMAT:
            raise ValueError(f"its format is {form}, want {FORMAT}")
        state = JournalState(
            {str(video_id): _registers(changes, at) for video_id, changes in videos.items()},
            {
                str(version): BundleCut(_stamp(cut), _stamp(recorded), frozenset(map(str, contains)))
                for version, (cut, recorded, contains) in cuts.items()
            },
        )
    except (TypeError, AttributeError, KeyError, IndexError, msgpack.UnpackException) as error:
        raise ValueError(f"it cannot be decoded: {type(error).__name__}: {error}") from None
    return state


def _registers(changes: Sequence[Any], at: int) -> Registers:
    registers: Registers = {}
    for raw_stamp, known_at, values in changes:
        stamp = _stamp(raw_stamp)
        time = int(known_at) or at or stamp.time
        for name, value in values.items():
            registers[str(name)] = Register(stamp, time, value)
    pause_if_due()
    return registers


def _stamp(values: Sequence[Any]) -> Stamp:
    time, ticks, node = values
    return Stamp(int(time), int(ticks), str(node))


_COLUMNS: Mapping[str, tuple[pa.DataType | VectorType, bool]] = {
    column.name: (column.type, column.nullable) for column in VIDEOS.columns[1:]
}
_TEXTS = frozenset(name for name, (kind, _) in _COLUMNS.items() if kind == pa.string())


def _plain(name: str, value: Any) -> Any:
    """Return a column's value as plain data, times as µs.

    Raises:
        SchemaError: There is no such column, or it does not take the value.
    """
    if name not in _COLUMNS:
        raise SchemaError(f"a catalog change names {name}, which is no column of VIDEOS that can change")
    kind, nullable = _COLUMNS[name]
    if name in _TEXTS and isinstance(value, str) and value.isascii():
        return value  # as what Arrow would make of it
    wrong = SchemaError(f"a catalog change sets {name} to {value!r:.100}, want {kind}")
    if value is None:
        if not nullable:
            raise wrong
        return None
    if isinstance(value, str) and isinstance(kind, pa.ListType):
        raise wrong  # Arrow would take its letters
    try:
        scalar = pa.scalar(value, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise wrong from None
    if kind == TIMESTAMP:
        return scalar.value if isinstance(value, datetime) else int(value)
    plain = scalar.as_py()
    if not isinstance(plain, list):
        return plain
    if None in plain:
        raise wrong
    return tuple(plain)  # as it comes back from its bytes
