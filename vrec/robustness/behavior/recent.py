"""Bounded memory of what was used of late."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentItems(Generic[K, V]):
    """Mapping of at most a number of items, those used last, in O(1) without a list in their order.

    Items are in two generations. One that is used moves to the younger, and when that is half of all, the
    elder is dropped: what is forgotten has not been used while at least half as many others were.
    """

    def __init__(self, most: int) -> None:
        """Build an empty mapping of at most `most` items."""
        self._half = max(1, most // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """Return an item, which counts as used; None if it is not there."""
        found = self._young.get(key)
        if found is None and key in self._old:
            found = self._old.pop(key)
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Set an item that is not among the elder, or any one that `get` has just returned."""
        self._young[key] = value
        if len(self._young) > self._half:
            self._old, self._young = self._young, {}
