"""Work on blocks of rows, by whatever runs it: one after the other here, or as tasks on a cluster."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class MapBlocks(Protocol):
    """Runner of a function for blocks of rows."""

    def __call__(self, function: Callable[[S, range], T], shared: S, blocks: Sequence[range]) -> Iterable[T]:
        """Return the result of `function(shared, block)` for each block, in order."""
        ...


def map_in_turn(function: Callable[[S, range], T], shared: S, blocks: Sequence[range]) -> Iterator[T]:
    """Yield the results in this process, one after the other; see `MapBlocks`."""
    for block in blocks:
        yield function(shared, block)


def equal_blocks(rows: int, size: int) -> list[range]:
    """Return ranges of so many rows that cover all rows; the last may be shorter."""
    return [range(start, min(start + size, rows)) for start in range(0, rows, size)]
