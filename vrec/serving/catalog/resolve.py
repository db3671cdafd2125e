"""Videos as a catalog has them: a bundle's rows with the edits that the bundle does not supersede."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.core.pauses import pause_if_due
from vrec.core.schema import VIDEOS
from vrec.core.types import MODALITIES, Modality, Vectors
from vrec.serving.catalog.clock import Stamp
from vrec.serving.catalog.registers import PRESENT, VECTOR, Register
from vrec.serving.messages import CatalogChange

_COLUMNS = frozenset(column.name for column in VIDEOS.columns)
_NO_ROWS = VIDEOS.arrow().empty_table()


def resolve_videos(
    changed: Mapping[str, Mapping[str, Register]], bundle: BundleCatalog, cut: Stamp
) -> list[CatalogChange]:
    """Return videos as they are with their edits over a bundle.

    Of a video that the bundle has, only what was set after the cut counts: a field, a vector, its removal. A
    video that the bundle lacks is there if its last addition is later than its last removal.

    Args:
        changed: Registers of each video by id.
        bundle: The bundle.
        cut: Edit up to which the bundle supersedes edits.

    Raises:
        ArrowInvalid: A value does not fit its column.
        ArrowTypeError: Likewise.
    """
    rows, changes = bundle.rows, list[CatalogChange]()
    present: list[int] = []
    set_values: dict[str, dict[int, Any]] = {name: {} for name in _COLUMNS}
    for video_id, registers in changed.items():
        row = rows.get(video_id, -1)
        live = registers if row < 0 else {name: one for name, one in registers.items() if one.stamp > cut}
        presence = live.get(PRESENT)
        times = (presence,) if presence is not None else live.values()
        at = max((one.at for one in times), default=bundle.made_at)
        if not (row >= 0 if presence is None else presence.value):
            changes.append(CatalogChange(video_id, at, None))
            continue
        number = len(present)
        present.append(row)
        for name, one in live.items():
            if name in _COLUMNS:
                set_values[name][number] = one.value
        set_values["video_id"][number] = video_id
        # Its row is set below, when all rows are one table.
        changes.append(CatalogChange(video_id, at, _NO_ROWS, *_vectors(live), number))
        pause_if_due()
    if not present:
        return changes
    table = _rows_of(bundle, present, set_values)
    return [change if change.row is None else replace(change, row=table) for change in changes]


def _rows_of(
    bundle: BundleCatalog, rows: Sequence[int], set_values: Mapping[str, Mapping[int, Any]]
) -> pa.Table:
    """Return VIDEOS of a bundle's rows, −1 for videos that it lacks, with other values in some places.

    Args:
        bundle: The bundle.
        rows: Rows of the videos.
        set_values: Values by place in the result, by column.
    """
    places = pa.array([None if row < 0 else row for row in rows], pa.int64())
    columns: list[pa.Array] = []
    for field in VIDEOS.arrow():
        known, own = bundle.videos.column(field.name), set_values[field.name]
        if len(own) == len(rows):
            values: list[Any] = [own[place] for place in range(len(rows))]
        else:
            values = known.take(places).to_pylist()
            for place, value in own.items():
                values[place] = value
        columns.append(pa.array(values, field.type))
        pause_if_due()
    return pa.Table.from_arrays(columns, schema=VIDEOS.arrow())


def _vectors(live: Mapping[str, Register]) -> tuple[dict[Modality, Vectors], dict[Modality, str]]:
    """Return the vectors that were set, and their encoders."""
    vectors: dict[Modality, Vectors] = {}
    encoders: dict[Modality, str] = {}
    for modality in MODALITIES:
        register = live.get(f"{VECTOR}{modality}")
        if register is not None and register.value is not None:
            encoders[modality], packed = register.value
            vectors[modality] = np.frombuffer(packed, "<f4").astype(np.float32).reshape(1, -1)
    return vectors, encoders
