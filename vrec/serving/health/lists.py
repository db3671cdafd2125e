"""Sample of the lists that were served, with their predictions, which the store keeps for a few hours."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import msgpack

from vrec.serving.messages import ListResult

LISTS_LOG = "served-lists"
"""Log of the store with the sampled lists. They have ids of requests and videos, and none of shoppers."""
MAX_LISTS_RECORDS = 2_000
"""Records that the store keeps, the last ones: four hours of eight HTTP replicas that write every minute."""
FORMAT = 1
"""First value of each record; others are left out."""


@dataclass(frozen=True, slots=True)
class ServedList:
    """List that was served."""

    request_id: str
    at: int
    """µs since 1970."""
    bundle: str
    p_click: Mapping[str, float]
    """Predicted click probability by video, for those that the ranker scored."""


def served_list(request_id: str, at: int, result: ListResult) -> ServedList | None:
    """Return a list with its predictions; None for one that the ranker did not make, or not alone."""
    if result.degraded:
        return None
    predicted = {item.video_id: item.p_click for item in result.items if 0 < item.p_click <= 1}
    return ServedList(request_id, at, result.bundle, predicted) if predicted else None


class ListSample:
    """Lists of a while, drawn at random: those whose ids have the smallest hashes."""

    def __init__(self, most: int) -> None:
        """Take the maximum number of lists."""
        self._most, self._heap, self._lists = most, list[tuple[int, str]](), dict[str, ServedList]()

    def wants(self, request_id: str) -> bool:
        """Return whether a list of this id would become part of the sample."""
        if not self._most or request_id in self._lists:
            return False
        return len(self._heap) < self._most or -_hash(request_id) > self._heap[0][0]

    def add(self, one: ServedList) -> None:
        """Add a list, unless the sample does not want it; the one with the largest hash makes room."""
        if not self.wants(one.request_id):
            return
        if len(self._heap) == self._most:
            del self._lists[heapq.heappop(self._heap)[1]]
        # Negative, since the heap's first entry is the one to go.
        heapq.heappush(self._heap, (-_hash(one.request_id), one.request_id))
        self._lists[one.request_id] = one

    def take(self) -> list[ServedList]:
        """Return the sample, and begin another one."""
        taken, self._heap, self._lists = list(self._lists.values()), [], {}
        return taken


def pack_lists(lists: Iterable[ServedList]) -> bytes:
    """Return lists as a record."""
    rows = [(one.request_id, one.at, one.bundle, dict(one.p_click)) for one in lists]
    packed = msgpack.packb((FORMAT, rows), use_single_float=True)
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_lists(record: bytes) -> list[ServedList]:
    """Return the lists of a record; none of a record in another format."""
    version, rows = msgpack.unpackb(record)
    return [ServedList(*row) for row in rows] if version == FORMAT else []


def _hash(request_id: str) -> int:
    return int.from_bytes(blake2b(request_id.encode(), digest_size=7).digest(), "big")
