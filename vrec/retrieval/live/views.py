"""Views, streams and rates at the moment of a request, by id. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vrec.retrieval.live.rates import StreamerRates


class WatchedView(NamedTuple):
    """View that has ended."""

    stream_id: str
    streamer_id: str
    category: str | None
    start: int
    """µs since 1970."""
    end: int


class OpenStream(NamedTuple):
    """Stream that is live."""

    stream_id: str
    streamer_id: str
    category: str | None
    started: int
    """µs since 1970."""
    viewers: float


@dataclass(frozen=True)
class NamedRates:
    """Rates of streamers by id."""

    row: Mapping[str, int]
    """Row of each streamer."""
    rates: StreamerRates

    def of(self, streamers: Sequence[str]) -> "NamedRates":
        """Return the rates of some streamers; those without views have none."""
        names = list(dict.fromkeys(streamers))
        rows = [self.row.get(name, -1) for name in names]
        return NamedRates({name: row for row, name in enumerate(names)}, self.rates.take(rows))
