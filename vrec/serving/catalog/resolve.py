"""Videos as a catalog has them: a bundle's rows with the edits that the bundle does not supersede."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.core.schema import VIDEOS
from vrec.core.types import MODALITIES, Modality, Vectors
from vrec.serving.catalog.clock import Stamp
from vrec.serving.catalog.registers import PRESENT, VECTOR, Register
from vrec.serving.messages import CatalogChange

_COLUMNS = frozenset(column.name for column in VIDEOS.columns)
_NO_ROWS = VIDEOS.arrow().empty_table()


def bundle_row(bundle: BundleCatalog, video_id: str) -> int | None:
    """Return the row of a video in the bundle's VIDEOS, which are sorted by id; None if it has none."""
    ids = bundle.videos.column("video_id")
    row = bisect_left(ids, video_id, key=lambda value: value.as_py())
    return row if row < len(ids) and ids[row].as_py() == video_id else None


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
    rows = {video_id: bundle_row(bundle, video_id) for video_id in changed}
    bundled = [row for row in rows.values() if row is not None]
    # All rows at once, since each access to a table costs more than a row.
    known = dict(zip(bundled, bundle.videos.take(bundled).to_pylist() if bundled else [], strict=True))
    changes: list[CatalogChange] = []
    present: list[dict[str, Any]] = []
    for video_id, registers in changed.items():
        row = rows[video_id]
        live = registers if row is None else {name: one for name, one in registers.items() if one.stamp > cut}
        presence = live.get(PRESENT)
        times = [presence] if presence is not None else list(live.values())
        at = max((one.at for one in times), default=bundle.made_at)
        if not (row is not None if presence is None else bool(presence.value)):
            changes.append(CatalogChange(video_id, at, None))
            continue
        values = {} if row is None else known[row]
        present.append(
            {**values, **{name: one.value for name, one in live.items() if name in _COLUMNS}}
            | {"video_id": video_id}
        )
        # The row is set below, when all rows are one table.
        changes.append(CatalogChange(video_id, at, _NO_ROWS, *_vectors(live)))
    if not present:
        return changes
    table = pa.table(
        {
            field.name: pa.array([values.get(field.name) for values in present], field.type)
            for field in VIDEOS.arrow()
        },
        schema=VIDEOS.arrow(),
    )
    place = count()
    return [
        change if change.row is None else replace(change, row=table.slice(next(place), 1))
        for change in changes
    ]


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
