"""Parts of a catalog: contiguous ranges of video ids, one after the other, that take new videos too."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CatalogCut:
    """Cut of a bundle's M videos, sorted by id, into parts of equal length."""

    edges: tuple[int, ...]
    """First row of each part, and M."""
    firsts: tuple[str, ...]
    """First id of each part but part 0, which takes all ids before."""

    @classmethod
    def equal(cls, video_ids: Sequence[str], count: int) -> Self:
        """Cut videos, ascending by id, into `count` parts, of which some are empty if there are fewer."""
        edges = [round(number * len(video_ids) / count) for number in range(count + 1)]
        return cls(tuple(edges), tuple(video_ids[edge] for edge in edges[1:-1] if edge < len(video_ids)))

    def __len__(self) -> int:
        return len(self.edges) - 1

    def part_of(self, video_id: str) -> int:
        """Return the part that a video belongs to, whether the bundle has it or not."""
        return bisect_right(self.firsts, video_id)

    def split_rows(self, rows: Numbers) -> list[Numbers]:
        """Return the rows of each part within it, in their order."""
        return [
            rows[(rows >= first) & (rows < end)] - first
            for first, end in zip(self.edges, self.edges[1:], strict=False)
        ]


@dataclass(frozen=True, eq=False)
class BundlePart:
    """Place of a bundle's part among the others."""

    cut: CatalogCut
    number: int | None
    """Number of the part, from 0; None for what is left of a bundle without any video."""
    bundled: pa.StringArray
    """(M,) ids of the whole bundle, ascending."""
    popular_places: Numbers
    """Places of the part's popular videos among the whole bundle's."""

    @cached_property
    def first(self) -> int:
        """First row of the part in the whole bundle."""
        return 0 if self.number is None else self.cut.edges[self.number]

    def owns(self, video_id: str) -> bool:
        """Return whether a video belongs to this part."""
        return self.cut.part_of(video_id) == self.number

    def is_bundled(self, video_id: str) -> bool:
        """Return whether the whole bundle has a video."""
        place = bisect_left(range(len(self.bundled)), video_id, key=self._id)
        return place < len(self.bundled) and self._id(place) == video_id

    def _id(self, place: int) -> str:
        return self.bundled[place].as_py()
