"""Vectors of live streams over the catalog: what each shows now, its pinned products, its streamer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.config.streams import StreamsConfig
from vrec.core.compute import pc
from vrec.core.types import Vectors
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.catalog.updates import change_vector
from vrec.serving.messages import CatalogChange
from vrec.serving.streams.states import StreamBook, StreamState


@dataclass(frozen=True, eq=False, slots=True)
class ShownStream:
    """Stream with its vector."""

    base: CatalogChange
    """The stream as the catalog has it."""
    sources: tuple[object, ...]
    """Whatever the vector depends on; other sources make another vector."""
    vector: Vectors | None
    """(dim,) unit vector; None if nothing is known of the stream."""


@dataclass(frozen=True, eq=False, slots=True)
class StreamOverlay:
    """Vectors of the live streams over a catalog; immutable."""

    config: StreamsConfig
    encoder: str | None
    """Encoder of the catalog's vectors."""
    shown: Mapping[str, ShownStream] = field(default_factory=dict)
    """Live streams by id."""

    def over(self, changes: Sequence[CatalogChange]) -> tuple["StreamOverlay", list[CatalogChange]]:
        """Return the overlay after changes of the catalog, and the changes with the streams' vectors."""
        shown, changed = dict(self.shown), list(changes)
        for place, change in enumerate(changes):
            if (stream := shown.get(change.video_id)) is not None:
                shown[change.video_id] = replace(stream, base=change)
                changed[place] = self._with_vector(change, stream.vector)
        return replace(self, shown=shown), changed

    def refreshed(
        self, book: StreamBook, snapshot: CatalogSnapshot
    ) -> tuple["StreamOverlay", list[CatalogChange]]:
        """Return the overlay for the streams of a book, and the changes of the catalog that it makes.

        The cost is proportional to the streams, and to the catalog's products if any are pinned anew.
        """
        if not snapshot.catalog.vectors.shape[1]:
            return self, []
        shown: dict[str, ShownStream] = {}
        stale: list[tuple[StreamState, CatalogChange, tuple[object, ...]]] = []
        for stream_id, state in book.states.items():
            if state.ended_at is not None or stream_id not in snapshot.catalog.row_by_id:
                continue
            before = self.shown.get(stream_id)
            base = _present(stream_id, snapshot) if before is None else before.base
            version = book.vectors.get(stream_id, (0, None))[0]
            sources = (id(base), state.streamer_id, state.product_ids, state.started_at, version)
            if before is not None and before.sources == sources:
                shown[stream_id] = before
            elif base.row is not None:
                stale.append((state, base, sources))
        pinned = _rows_of_products({name for state, _, _ in stale for name in state.product_ids}, snapshot)
        # A stream that is over has the catalog's own vector again, and so does one that begins anew.
        over = self.shown.keys() - shown.keys() - {state.stream_id for state, _, _ in stale}
        bases = (self.shown[name].base for name in sorted(over) if name in snapshot.catalog.row_by_id)
        changes = [base for base in bases if base.row is not None]
        for state, base, sources in stale:
            vector = self._vector(state, base, book, snapshot, pinned=pinned)
            shown[state.stream_id] = ShownStream(base, sources, vector)
            if vector is not None:
                changes.append(self._with_vector(base, vector))
        return replace(self, shown=shown), changes

    def _vector(
        self,
        state: StreamState,
        base: CatalogChange,
        book: StreamBook,
        snapshot: CatalogSnapshot,
        *,
        pinned: Mapping[str, list[int]],
    ) -> Vectors | None:
        catalog, config = snapshot.catalog, self.config
        row = catalog.row_by_id[state.stream_id]
        own = snapshot.rows_of_creator(int(catalog.creator[row]))
        products = sorted({found for name in state.product_ids for found in pinned.get(name, ())} - {row})
        parts = (
            (config.content_share, self._content(state, base, book, catalog.vectors.shape[1])),
            (config.pinned_share, catalog.vectors[np.array(products, np.int64)].sum(axis=0)),
            (config.streamer_share, catalog.vectors[own[own != row]].sum(axis=0)),
        )
        total = sum(
            (share * _unit(part) for share, part in parts if part is not None),
            np.zeros(catalog.vectors.shape[1]),
        )
        return _unit(total).astype(np.float32) if total.any() else None

    def _content(self, state: StreamState, base: CatalogChange, book: StreamBook, dim: int) -> Vectors | None:
        """Return the vector of a stream's last window since its start, else that of its title and tags."""
        _, followed = book.vectors.get(base.video_id, (0, None))
        if followed is None or followed.at < state.started_at or followed.encoder != self.encoder:
            return change_vector(base, "fused", self.encoder, dim)
        return followed.vector if len(followed.vector) == dim else None

    def _with_vector(self, change: CatalogChange, vector: Vectors | None) -> CatalogChange:
        if vector is None or change.row is None or self.encoder is None:
            return change
        return replace(
            change,
            vectors={**change.vectors, "fused": vector[None]},
            encoders={**change.encoders, "fused": self.encoder},
        )


def _present(stream_id: str, snapshot: CatalogSnapshot) -> CatalogChange:
    """Return a stream as the catalog has it, as a change."""
    change = snapshot.latest.get(stream_id)
    if change is not None:
        return change
    row = snapshot.view.columns.catalog.row_by_id[stream_id]
    return CatalogChange(stream_id, 0, snapshot.view.videos.slice(row, 1))


def _rows_of_products(product_ids: Collection[str], snapshot: CatalogSnapshot) -> dict[str, list[int]]:
    """Return the current rows of the videos that show each of the products; streams do not count."""
    found: dict[str, list[int]] = {name: [] for name in product_ids}
    if not found:
        return found
    streams = set(snapshot.streams.tolist())
    column: Any = snapshot.view.videos.column("product_ids").combine_chunks()
    names, videos = pc.list_flatten(column), pc.list_parent_indices(column)
    wanted = pc.is_in(names, value_set=pa.array(list(found), pa.string()))
    for name, row in zip(names.filter(wanted).to_pylist(), videos.filter(wanted).to_pylist(), strict=True):
        if snapshot.current_rows[row] == row and row not in streams:
            found[name].append(row)
    for video_id, change in snapshot.latest.items():
        row = snapshot.changed_rows.get(video_id, -1)
        if change.row is not None and row >= 0 and row not in streams:
            for name in change.row.column("product_ids")[change.number].as_py():
                if name in found:
                    found[name].append(row)
    return found


def _unit(vector: Vectors) -> Vectors:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector
