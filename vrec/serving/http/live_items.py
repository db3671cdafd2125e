"""Last look at the streams of a list, before the list is sent."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServingBackend
from vrec.serving.messages import ListResult
from vrec.serving.streams.states import STREAMS_TABLE, StreamState, is_stream

logger = logging.getLogger("vrec.http")


@dataclass(frozen=True, slots=True)
class CheckedStreams:
    """Streams of some lists, as the store has them."""

    live: Mapping[str, StreamState] = field(default_factory=dict)
    over: frozenset[str] = frozenset()
    """Streams that the lists may not have."""
    failed: bool = False
    """Whether the store could not be read; then no list may have a stream."""

    def cut(self, result: ListResult) -> ListResult:
        """Return a list without the streams that are over; it is degraded if the store could not be read."""
        degraded = (*result.degraded, STREAMS_TABLE) if self.failed else result.degraded
        keep = [place for place, item in enumerate(result.items) if item.video_id not in self.over]
        if len(keep) == len(result.items) and not self.failed:
            return result
        items = tuple(result.items[place] for place in keep)
        scores = tuple(result.scores[place] for place in keep) if result.scores else ()
        return replace(result, items=items, scores=scores, degraded=degraded)


NO_STREAM = CheckedStreams()
"""Lists without streams."""


async def live_stream_ids(backend: ServingBackend, video_ids: Sequence[str]) -> frozenset[str]:
    """Return those of the videos that are live streams now; raises what reading the store raises."""
    asked = backend.streams.possible(video_ids)
    states = await backend.streams.states(asked) if asked else {}
    return frozenset(name for name, state in states.items() if backend.streams.ends_at(state) is None)


async def check_streams(backend: ServingBackend, results: Sequence[ListResult]) -> CheckedStreams:
    """Look at the streams of lists: with one read of the store if there are any, else with none.

    A list was chosen by what a process knew of the streams a moment ago. The read comes after, so that no
    list has a stream whose end was acknowledged before it.
    """
    ids = list(dict.fromkeys(item.video_id for result in results for item in result.items))
    cards: Mapping[str, Card] = {}
    with suppress(BackendUnavailable, TimeoutError):
        cards = await backend.cards(ids) if ids else {}
    streams = [name for name in ids if name in cards and is_stream(cards[name])]
    # A stream that another replica has just started may not be in this one's catalog yet.
    unknown = [name for name in ids if name not in cards]
    if not streams and not unknown:
        return NO_STREAM
    try:
        states = await backend.streams.states([*streams, *unknown])
    except Exception as error:  # whatever it is, no stream is better than one that is over
        logger.error("no states of streams", extra={"why": f"{type(error).__name__}: {error}"[:300]})
        return CheckedStreams(over=frozenset([*streams, *unknown]), failed=True)
    live = {name: state for name, state in states.items() if backend.streams.ends_at(state) is None}
    over = {*streams, *(name for name in unknown if name in states)} - live.keys()
    return CheckedStreams({name: live[name] for name in live if name in ids}, frozenset(over))
