"""Live streams, as one HTTP replica starts, beats, ends and reads them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote

from vrec.config.streams import StreamsConfig
from vrec.core.errors import VrecError
from vrec.core.schema import VIDEOS
from vrec.encoders.text import clip_text
from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.protocol import BackendUnavailable, Card
from vrec.serving.deployments.replies import await_reply
from vrec.serving.deployments.state_sender import StateSender
from vrec.serving.messages import CatalogEdit, EmbeddedVideo
from vrec.serving.streams.content.messages import (
    CONTENT_TABLE,
    ContentState,
    content_since,
    unpack_content,
)
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.streams.states import (
    STREAM_URI,
    STREAMS_TABLE,
    StreamBeat,
    StreamDetails,
    StreamOver,
    StreamState,
    StreamTaken,
    UnknownStream,
    is_stream,
    pack_state,
    unpack_state,
)

ATTEMPTS = 20
"""Attempts of a change, each of which fails if another process changes the stream meanwhile."""
GATHER_S = 0.25
"""Seconds that a beat may wait for others before it is written; a twentieth of the expiry at most."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StreamCatalog(Protocol):
    """Catalog of the streams' videos."""

    def card(self, video_id: str) -> Card | None:
        """Return a video's row of VIDEOS, or None for an unknown video."""
        ...

    async def edit(self, video_id: str, choose: Callable[[Card | None], Sequence[CatalogEdit]]) -> None:
        """Write the edits of a video that a function chooses by its present card, None without one."""
        ...

    async def embed(self, title: str | None, tags: Sequence[str]) -> EmbeddedVideo | None:
        """Embed a title and tags; None if they cannot be embedded now."""
        ...

    def possible(self, video_ids: Sequence[str]) -> list[str]:
        """Return the ids of streams and of unknown videos."""
        ...


class StreamOperations:
    """Streams in the store, whose videos are in the catalog."""

    def __init__(
        self,
        profiles: ProfilesHandle,
        follower: StreamFollower,
        catalog: StreamCatalog,
        config: StreamsConfig,
        *,
        timeout_s: float,
        now: Callable[[], int] = wall_clock_us,
        gather_s: float = GATHER_S,
    ) -> None:
        """Build it.

        Args:
            profiles: Handle of the deployment of the store.
            follower: Streams that this replica follows.
            catalog: Catalog of the streams' videos.
            config: Settings of streams.
            timeout_s: Seconds that a call may take.
            now: Function that returns this machine's time, µs since 1970.
            gather_s: Seconds that a beat waits for others.
        """
        self._states = StateSender(profiles, STREAMS_TABLE, timeout_s, min(gather_s, config.expiry_s / 20))
        self._profiles, self._follower, self._timeout_s, self._now = profiles, follower, timeout_s, now
        self._catalog = catalog
        self._expiry_us = round(config.expiry_s * 1e6)
        self.changed = 0
        """Version of the last start, change or end by this replica, which its answers have to know."""

    async def put(self, stream_id: str, details: StreamDetails) -> tuple[StreamState, bool]:
        """Start a stream, or update it if it is live; the new state, and whether it has started.

        Raises:
            StreamTaken: A video of the catalog, or a live stream of another streamer, has the id.
        """
        embedded = await self._catalog.embed(details.title, details.tags)
        has_started = False

        def change(state: StreamState | None, at: int) -> StreamState:
            nonlocal has_started
            text = clip_text(details.title, details.tags)
            described = {"language": details.language, "uri": details.uri, "text": text}
            has_started = state is None or not state.is_live(at)
            if state is None or has_started:
                state = StreamState(stream_id, details.streamer_id, at, at, at)
            elif state.streamer_id != details.streamer_id:
                raise StreamTaken(f"{stream_id} is live, and the stream of {state.streamer_id}", is_live=True)
            return _with_products(replace(state, **described), details.product_ids, at)

        def choose(card: Card | None) -> Sequence[CatalogEdit]:
            _check_is_stream(stream_id, card)
            return _card_edits(state, details, card, embedded)

        _check_is_stream(stream_id, self._catalog.card(stream_id))
        # The state comes first, since it alone decides whose stream it is. Until its row is in the catalog,
        # no list has the stream; if the row cannot be written, the caller sends the request again.
        state = await self._change(stream_id, change)
        await self._catalog.edit(stream_id, choose)
        return state, has_started

    async def beat(self, stream_id: str, beat: StreamBeat) -> StreamState:
        """Record a sign of life of a live stream, and return its state.

        Raises:
            UnknownStream: There is no such stream.
            StreamOver: It has ended, or had no beat for too long.
        """
        return await self._beat(stream_id, beat, patient=True)

    async def beat_all(self, beats: Mapping[str, StreamBeat]) -> dict[str, StreamState | VrecError]:
        """Record signs of life of many streams with one write, and return the state or error of each."""
        # Those that this replica does not know as live are read together, not one by one.
        unsure = [name for name in beats if not self._is_known_live(name)]
        if unsure:
            call = self._profiles.states.remote(STREAMS_TABLE, unsure)
            for name, (version, record) in (await await_reply(call, self._timeout_s)).items():
                if (state := unpack_state(name, record)) is not None:
                    self._follower.learn(name, version, state)
        found: dict[str, StreamState | VrecError] = {}
        for name in unsure:
            if not self._is_known_live(name):
                known = self._follower.known(name)
                found[name] = _unknown(name) if known is None else _over(name)
        names = [name for name in beats if name not in found]
        calls = (self._beat(name, beats[name], patient=False) for name in names)
        results = await asyncio.gather(*calls, return_exceptions=True)
        for name, result in zip(names, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, UnknownStream | StreamOver):
                raise result
            found[name] = result
        return {name: found[name] for name in beats}

    async def _beat(self, stream_id: str, beat: StreamBeat, *, patient: bool) -> StreamState:
        pinned_before: tuple[str, ...] = ()

        def change(state: StreamState | None, at: int) -> StreamState:
            nonlocal pinned_before
            if state is None:
                raise _unknown(stream_id)
            if not state.is_live(at):
                raise _over(stream_id)
            pinned_before = state.product_ids
            told = {"viewers": beat.viewers, "chats": beat.chats, "gifts": beat.gifts}
            state = replace(state, **{name: value for name, value in told.items() if value is not None})
            return state if beat.product_ids is None else _with_products(state, beat.product_ids, at)

        # A beat is not worth the wait of the next answer, unless it pins other products.
        return await self._change(
            stream_id,
            change,
            is_read=lambda state: state.product_ids != pinned_before,
            fast=True,
            patient=patient,
        )

    async def end(self, stream_id: str) -> StreamState:
        """End a stream, from now on for all answers; one that is over stays so. Raises UnknownStream."""

        def change(state: StreamState | None, at: int) -> StreamState:
            if state is None:
                raise _unknown(stream_id)
            if state.ended_at is not None:
                return state
            return replace(state, ended_at=min(at, state.ends_at))

        return await self._change(stream_id, change, beats=False)

    async def get(self, stream_id: str) -> StreamState:
        """Return a stream, live or over; raises UnknownStream."""
        state = await self._read(stream_id)
        if state is None:
            raise _unknown(stream_id)
        return state

    async def content(self, state: StreamState) -> ContentState | None:
        """See StreamsBackend."""
        call = self._profiles.states.remote(CONTENT_TABLE, [state.stream_id])
        found = await await_reply(call, self._timeout_s)
        if state.stream_id not in found:
            return None
        content = unpack_content(state.stream_id, found[state.stream_id][1])
        return content_since(content, state.started_at)

    async def live(self) -> list[StreamState]:
        """Return all streams that are live now, by id, with every change acknowledged before."""
        book, at = await await_reply(self._follower.follow(), self._timeout_s), self._now()
        live = (state for state in book.states.values() if state.is_live(at))
        return sorted(live, key=lambda state: state.stream_id)

    async def states(self, stream_ids: Sequence[str]) -> Mapping[str, StreamState]:
        """Return the present states of streams, with every change acknowledged before, in one read."""
        call = self._profiles.states.remote(STREAMS_TABLE, list(dict.fromkeys(stream_ids)))
        found = await await_reply(call, self._timeout_s)
        states = {name: unpack_state(name, record) for name, (_, record) in found.items()}
        return {name: state for name, state in states.items() if state is not None}

    def possible(self, video_ids: Sequence[str]) -> list[str]:
        """See StreamsBackend."""
        return self._catalog.possible(video_ids)

    def is_live(self, state: StreamState) -> bool:
        """Return whether a stream is live now."""
        return state.is_live(self._now())

    def ends_at(self, state: StreamState) -> int | None:
        """Return the time (µs) since which a stream is over; None if it is live."""
        return None if self.is_live(state) else state.ends_at

    def _is_known_live(self, stream_id: str) -> bool:
        known = self._follower.known(stream_id)
        return known is not None and self.is_live(known[1])

    async def _read(self, stream_id: str) -> StreamState | None:
        return (await self.states([stream_id])).get(stream_id)

    async def _change(
        self,
        stream_id: str,
        change: Callable[[StreamState | None, int], StreamState],
        *,
        beats: bool = True,
        fast: bool = False,
        patient: bool = False,
        is_read: Callable[[StreamState], bool] = lambda _: True,
    ) -> StreamState:
        """Replace a stream's state by what a function makes of it and the time, and return the new one.

        Args:
            stream_id: The stream.
            change: The function, which raises if the state forbids the change.
            beats: Whether the change is a sign of life.
            fast: Whether to try the state first that this replica knows, which saves a read.
            patient: Whether the new state may wait for others before it is written, unless answers need it.
            is_read: Function that tells whether the answers of this replica have to know the new state.
        """
        for attempt in range(ATTEMPTS):
            version, state = await self._versioned(stream_id, known=fast and attempt == 0)
            at = self._now()
            try:
                new = change(state, at)
            except VrecError:
                if fast and attempt == 0:
                    continue  # what this replica knows may be old
                raise
            # Clocks of replicas differ: a beat never shortens a stream's life.
            if beats:
                beat_at = max(at, new.beat_at)
                new = replace(new, beat_at=beat_at, expires_at=beat_at + self._expiry_us)
            waits = patient and attempt == 0 and not is_read(new)
            number = await self._states.put(stream_id, pack_state(new), version, patient=waits)
            if number is None:
                continue
            self._follower.learn(stream_id, number, new)
            if is_read(new):
                self.changed = max(self.changed, number)
            return new
        raise BackendUnavailable(f"the stream {stream_id} is changed faster than it can be written")

    async def _versioned(self, stream_id: str, *, known: bool) -> tuple[int, StreamState | None]:
        if known and (found := self._follower.known(stream_id)) is not None:
            return found
        call = self._profiles.states.remote(STREAMS_TABLE, [stream_id])
        version, record = (await await_reply(call, self._timeout_s)).get(stream_id, (0, b""))
        return version, unpack_state(stream_id, record) if version else None


def _unknown(stream_id: str) -> UnknownStream:
    return UnknownStream(f"there is no stream {stream_id}")


def _over(stream_id: str) -> StreamOver:
    return StreamOver(f"the stream {stream_id} is over")


def _with_products(state: StreamState, product_ids: tuple[str, ...], at: int) -> StreamState:
    if product_ids == state.product_ids:
        return state
    return replace(state, product_ids=product_ids, pinned_at=at)


def _check_is_stream(stream_id: str, card: Card | None) -> None:
    if card is not None and not is_stream(card):
        raise StreamTaken(f"{stream_id} is the id of a video that is no stream")


def _card_edits(
    state: StreamState, details: StreamDetails, card: Card | None, embedded: EmbeddedVideo | None
) -> list[CatalogEdit]:
    """Return the edit that makes a stream's row of VIDEOS as it is described; none if it is so already."""
    stream_id = state.stream_id
    fields: dict[str, Any] = {
        "creator_id": details.streamer_id,
        "title": details.title,
        "tags": list(details.tags),
        "category": details.category,
        "language": details.language,
        "product_ids": list(details.product_ids),
        "published_at": _EPOCH + timedelta(microseconds=state.started_at),
    }
    vectors, encoders = ({}, {}) if embedded is None else (embedded.vectors, embedded.encoders)
    uri = STREAM_URI + quote(stream_id, safe="")
    # What was changed by PATCH while the stream was over is as for a new one again.
    fields |= {"uri": uri, "kind": "live", "available": True, "expires_at": None}
    if card is not None:
        if all(card[name] == value for name, value in fields.items()):
            return []
        return [CatalogEdit(stream_id, "update", fields, vectors, encoders)]
    fields |= {"domain": "shop"}
    whole = {column.name: fields.get(column.name) for column in VIDEOS.columns[1:]}
    return [CatalogEdit(stream_id, "add", whole, vectors, encoders)]
