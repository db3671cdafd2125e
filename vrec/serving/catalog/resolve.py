"""Videos as a catalog has them: a bundle's rows with the edits that the bundle does not supersede."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.core.schema import VIDEOS
from vrec.core.types import MODALITIES, Modality, Vectors
from vrec.serving.catalog.clock import Stamp
from vrec.serving.catalog.registers import PRESENT, VECTOR, Register
from vrec.serving.messages import CatalogChange


def bundle_row(bundle: BundleCatalog, video_id: str) -> int | None:
    """Return the row of a video in the bundle's VIDEOS, which are sorted by id; None if it has none."""
    ids = bundle.videos.column("video_id")
    row = bisect_left(ids, video_id, key=lambda value: value.as_py())
    return row if row < len(ids) and ids[row].as_py() == video_id else None


def resolve_video(
    video_id: str, registers: Mapping[str, Register], bundle: BundleCatalog, cut: Stamp
) -> CatalogChange:
    """Return a video as it is with its edits over a bundle.

    Of a video that the bundle has, only what was set after the cut counts: a field, a vector, its removal. A
    video that the bundle lacks is there if its last addition is later than its last removal.

    Raises:
        ArrowInvalid: A value does not fit its column.
        ArrowTypeError: Likewise.
    """
    row = bundle_row(bundle, video_id)
    live = registers if row is None else {name: one for name, one in registers.items() if one.stamp > cut}
    presence = live.get(PRESENT)
    present = row is not None if presence is None else bool(presence.value)
    times = [presence] if presence is not None else list(live.values())
    at = max((one.at for one in times), default=bundle.made_at)
    if not present:
        return CatalogChange(video_id, at, None)
    values: dict[str, Any] = {} if row is None else bundle.videos.slice(row, 1).to_pylist()[0]
    columns = [column.name for column in VIDEOS.columns]
    values |= {name: one.value for name, one in live.items() if name in columns} | {"video_id": video_id}
    table = pa.table(
        {field.name: pa.array([values.get(field.name)], field.type) for field in VIDEOS.arrow()},
        schema=VIDEOS.arrow(),
    )
    vectors: dict[Modality, Vectors] = {}
    encoders: dict[Modality, str] = {}
    for modality in MODALITIES:
        register = live.get(f"{VECTOR}{modality}")
        if register is not None and register.value is not None:
            encoders[modality], packed = register.value
            vectors[modality] = np.frombuffer(packed, "<f4").astype(np.float32).reshape(1, -1)
    return CatalogChange(video_id, at, table, vectors, encoders)
