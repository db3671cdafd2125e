"""Parts of a ranker: what it knows of some videos, and a ranker made of several such parts for a request."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vrec.ranking.base import ProfileRanker, VideoScalars
from vrec.ranking.features.arrays import CatalogFeatureArrays, Floats
from vrec.ranking.features.catalog import CatalogFeatures, KeyNumbers
from vrec.ranking.network_ranker import NetworkRanker

ARRAYS = ("fields", "tags", "dense", "vectors")


@dataclass(frozen=True, eq=False, slots=True)
class NetworkPart:
    """Features and embeddings of n videos for a ranking network."""

    ids: tuple[str, ...]
    arrays: dict[str, npt.NDArray[Any]]
    """(n, …) arrays of `CatalogFeatureArrays` by name."""
    published: npt.NDArray[np.int64]
    """(n,) µs since 1970."""
    interests: tuple[tuple[str | None, ...], ...]
    """Keys of category and creator in the counts of users, (2, n), which each process numbers as it likes."""
    items: Floats
    """(n, d) videos as the network embedded them."""


@dataclass(frozen=True, eq=False, slots=True)
class RankerPart:
    """Ranker's knowledge of some videos, without the network."""

    ids: tuple[str, ...]
    duration_s: Floats
    """(n,) seconds, NaN where unknown."""
    price: Floats
    """(n,) price, NaN where there is none."""
    network: NetworkPart | None
    """What only a ranking network has; None for other rankers."""


def take_part(ranker: ProfileRanker, video_ids: Sequence[str]) -> RankerPart:
    """Return what a ranker knows of videos. Its cost is proportional to their number."""
    ids = tuple(video_ids)
    rows = ranker.scalars.find(ids)
    known = None
    if isinstance(ranker, NetworkRanker):
        known = _network_part(ranker, tuple(name for name in ids if name in ranker.catalog.rows))
    return RankerPart(ids, ranker.scalars.duration_s[rows], ranker.scalars.price[rows], known)


def with_parts(head: ProfileRanker, parts: Sequence[RankerPart]) -> ProfileRanker:
    """Return a copy of a ranker that knows the videos of some parts, each in one of them, and no others.

    Requests for those videos get the same predictions as from the rankers that the parts are of.

    Args:
        head: Ranker of the same bundle; a network needs to know no videos.
        parts: The parts.
    """
    ids = [name for part in parts for name in part.ids]
    nothing = np.full(1, np.nan, np.float32)
    scalars = VideoScalars(
        {name: row for row, name in enumerate(ids)},
        np.concatenate([*(part.duration_s for part in parts), nothing]),
        np.concatenate([*(part.price for part in parts), nothing]),
    )
    other = head.with_scalars(scalars)
    if not isinstance(other, NetworkRanker) or not isinstance(head, NetworkRanker):
        return other
    networks = [part.network for part in parts if part.network is not None]
    other.catalog = _joined_catalog(head.catalog, networks)
    rows = scalars.find(list(other.catalog.rows))
    other.durations = np.append(np.float32(np.nan), scalars.duration_s[rows])
    items = [torch.from_numpy(part.items).to(head.device) for part in networks]
    other.items = torch.cat([head.items[:1], *items])
    return other


def _network_part(ranker: NetworkRanker, ids: tuple[str, ...]) -> NetworkPart:
    catalog, rows = ranker.catalog, ranker.catalog.find(ids)
    wanted = catalog.interests[:, rows]
    names = catalog.keys.names
    return NetworkPart(
        ids,
        {name: getattr(catalog.arrays, name)[rows] for name in ARRAYS},
        catalog.published[rows],
        tuple(tuple(names[number - 1] if number else None for number in line) for line in wanted.tolist()),
        ranker.items[torch.from_numpy(rows).to(ranker.device)].cpu().numpy(),
    )


def _joined_catalog(head: CatalogFeatures, parts: Sequence[NetworkPart]) -> CatalogFeatures:
    """Return the features of the videos of parts behind the unknown video's, which the head has."""
    arrays: dict[str, npt.NDArray[Any]] = {
        name: np.concatenate([getattr(head.arrays, name)[:1], *(part.arrays[name] for part in parts)])
        for name in ARRAYS
    }
    keys = head.keys
    lines = [[name for part in parts for name in part.interests[line]] for line in range(2)]
    numbers = [
        [0, *(0 if name is None else keys.setdefault(name, len(keys) + 1) for name in line)] for line in lines
    ]
    ids = [name for part in parts for name in part.ids]
    return replace(
        head,
        arrays=CatalogFeatureArrays(**arrays),
        rows={name: row for row, name in enumerate(ids, start=1)},
        published=np.concatenate([head.published[:1], *(part.published for part in parts)]),
        interests=np.array(numbers, np.int32),
    )


def without_videos(ranker: ProfileRanker) -> ProfileRanker:
    """Return a ranker for `with_parts` that holds no videos, as far as its kind can do without them."""
    head = copy(ranker).restricted_to([])
    if isinstance(head, NetworkRanker):
        head.catalog = replace(head.catalog, keys=KeyNumbers(head.catalog.keys))
    return head
