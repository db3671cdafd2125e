"""Cutting of a loaded bundle to the videos of one part."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.neighbors import VideoNeighbors
from vrec.bundle.part import BundlePart, CatalogCut
from vrec.core.compute import pc
from vrec.ranking.ranker_part import without_videos


def cut_bundle(bundle: ServingBundle, count: int, number: int | None) -> ServingBundle:
    """Return a bundle with the videos of one of `count` parts, or with none of them.

    Everything that depends on the whole catalog stays as it is: scores of words, lists of the index, places
    in the order of popularity, and videos as the ranking network embedded them.

    Args:
        bundle: A whole bundle.
        count: Number of parts.
        number: Number of the part, from 0; None for the head: ranker, settings and popularity.
    """
    ids: list[str] = bundle.videos.column("video_id").to_pylist()
    cut = CatalogCut.equal(ids, count)
    first, end = (0, 0) if number is None else cut.edges[number : number + 2]
    mine = ids[first:end]
    chosen = set(mine)
    places = [place for place, name in enumerate(bundle.popular) if name in chosen]
    bundled = bundle.videos.column("video_id").combine_chunks()
    part = BundlePart(cut, number, pa.concat_arrays([bundled]), np.array(places, np.int64))
    others = [name for name in bundle.other_videos if number is not None and cut.part_of(name) == number]
    content = replace(
        bundle.content,
        videos=bundle.videos.take(pa.array(range(first, end), pa.int64())),
        embeddings=_rows_of(bundle.content.embeddings, mine),
    )
    return replace(
        bundle,
        content=content,
        texts=_rows_of(bundle.texts, mine),
        popular=tuple(bundle.popular[place] for place in places),
        other_videos=tuple(others),
        ranker=without_videos(bundle.ranker) if number is None else bundle.ranker.restricted_to(mine),
        neighbors=_neighbors_of(bundle.neighbors, mine, others),
        index=bundle.index.part(mine),
        text_index=bundle.text_index.part(first, end),
        live=bundle.live if number is None else None,
        moments=None,
        part=part,
    )


def _rows_of(embeddings: pa.Table | None, ids: Sequence[str]) -> pa.Table | None:
    """Return the EMBEDDINGS of videos, in memory of their own."""
    if embeddings is None:
        return None
    wanted = pc.is_in(embeddings.column("entity_id"), value_set=pa.array(ids, pa.string()))
    return embeddings.take(pc.indices_nonzero(wanted))


def _neighbors_of(neighbors: VideoNeighbors, mine: Sequence[str], others: Sequence[str]) -> VideoNeighbors:
    """Return the neighbors of some videos, whose numbers stay those of the whole catalog's videos."""
    position = neighbors.position
    rows = np.array([position[name] for name in (*mine, *others)], np.int64)
    return VideoNeighbors((*mine, *others), neighbors.indices[rows], neighbors.scores[rows])
