"""Deployment that has the content of live streams followed, by a Ray actor for every few streams."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray.exceptions import RayError

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.encoders.config import EmbedConfig
from vrec.serving.bundle_swap import BundleCheck, ServedBundle, fixes_in_tracebacks
from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.deployments.content_cleaner import ContentCleaner
from vrec.serving.deployments.following import check_running
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.deployments.store_ends import ReadEnds
from vrec.serving.observability import metrics
from vrec.serving.streams.content.follower import ContentFollower
from vrec.serving.streams.content.messages import (
    CONTENT_TABLE,
    ContentReport,
    ContentState,
    FollowedStream,
    pack_content,
    unpack_content,
)
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.streams.states import VECTORS_TABLE, StreamState, pack_vector

logger = logging.getLogger("ray.serve")

STEP_WAIT_S = 1.0
"""Seconds after which an actor answers although nothing has come: how soon it hears of other streams."""
RESTART_S = 1.0
"""Seconds before an actor takes the place of one that died."""


class Follower(Protocol):
    """Follower in a process of its own."""

    def step(self, streams: Sequence[FollowedStream], wait_s: float) -> Awaitable[list[ContentReport]]:
        """See ContentFollower; raises RayError if the process has died."""
        ...

    def kill(self) -> None:
        """End the process."""
        ...


StartFollower = Callable[[EmbedConfig, ServeConfig], Follower]


class ActorFollower:
    """Follower in a Ray actor."""

    def __init__(self, embed: EmbedConfig, config: ServeConfig) -> None:
        """Start the actor."""
        kind: Any = ray.remote(num_cpus=config.replicas.follower_cpus, max_restarts=0)(ContentFollower)
        self.actor = kind.remote(embed, config.live, config.security.media_roots)

    def step(self, streams: Sequence[FollowedStream], wait_s: float) -> Awaitable[list[ContentReport]]:
        """See Follower."""
        return self.actor.step.remote(streams, wait_s)

    def kill(self) -> None:
        """See Follower."""
        ray.kill(self.actor)


@dataclass(slots=True)
class _Group:
    """Streams of one actor."""

    streams: dict[str, FollowedStream] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class StreamContentDeployment:
    """Deployment that gives each live stream with a playlist to an actor, and stores what the actors find.

    Everything that matters is in the store: a new process of it finds the live streams there, and gives them
    to new actors. A stream stays with its actor as long as that has others.
    """

    def __init__(
        self,
        config: ServeConfig,
        profiles: ProfilesHandle,
        check: BundleCheck | None = None,
        *,
        ends: ReadEnds | None = None,
        start: StartFollower = ActorFollower,
        recorder: metrics.MetricsRecorder | None = None,
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            profiles: Handle of the profiles deployment.
            check: Function that raises for bundles that it must not accept.
            ends: Function that returns the ends of the store's logs; None reads the states in each round.
            start: Function that starts a follower.
            recorder: Recorder of metrics; None takes that of the process.
        """
        self._config, self._profiles, self._ends, self._start = config, profiles, ends, start
        self._recorder = recorder or metrics.metrics_recorder()
        self._served: ServedBundle[EmbedConfig | None] = ServedBundle(config.data, self._load, check=check)
        self._states = StreamFollower(profiles.states_after.remote)
        self._cleaner = ContentCleaner(profiles, config.live.keep_content_s, config.apply_timeout_s)
        self._embed: EmbedConfig | None = None
        self._groups: list[_Group] = []
        self._content: dict[str, ContentState | None] = {}
        """Last outcome of each followed stream."""
        self._task: asyncio.Task[None] | None = None

    @property
    def served(self) -> ServedBundle[Any]:
        """Bundle in service, and why another one was refused."""
        return self._served

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the encoders of the named bundle if it is sound."""
        with fixes_in_tracebacks():
            await self._served.swap_to(user_config["bundle"])
        if self._served.loaded != self._embed:
            await self._end_all()
            self._embed = self._served.loaded
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    async def check_health(self) -> None:
        """Raise if changes are not followed any more."""
        check_running(self._task)

    async def close(self) -> None:
        """Stop following, and end the actors."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        await self._end_all()

    async def ready(self) -> str:
        """Return the version in service."""
        return self._served.version

    def _load(self, uri: str) -> tuple[BundleCatalog, EmbedConfig | None]:
        bundle = BundleCatalog.load(uri)
        return bundle, None if bundle.encoder is None else bundle.embed

    async def _refresh_loop(self) -> None:
        while True:
            try:
                await self.assign()
            except Exception as error:  # the next round tries again
                logger.warning("cannot read the live streams", extra={"why": str(error)[:300]})
            try:
                await self._cleaner.clean()
            except Exception as error:  # the next round tries again
                logger.warning("cannot remove the content of old streams", extra={"why": str(error)[:300]})
            await asyncio.sleep(self._config.refresh_s)

    async def assign(self) -> None:
        """Give the streams that are live now to actors, and take those that are over from them."""
        ends = None if self._ends is None else await self._ends()
        await self._states.catch_up(ends and (ends.streams, ends.vectors))
        now = wall_clock_us()
        live = {
            name: state
            for name, state in self._states.book.states.items()
            if state.uri is not None and state.is_live(now) and self._embed is not None
        }
        await self._learn_content([name for name in live if name not in self._content])
        self._content = {name: self._content[name] for name in live}
        for group in self._groups:
            group.streams = {name: self._followed(live[name]) for name in group.streams if name in live}
        taken = {name for group in self._groups for name in group.streams}
        for name in sorted(live.keys() - taken):
            self._group_with_room().streams[name] = self._followed(live[name])
        # An actor whose streams are over ends by itself.
        self._groups = [group for group in self._groups if group.streams]
        for group in self._groups:
            if group.task is None or group.task.done():
                group.task = asyncio.get_running_loop().create_task(self._drive(group))

    def _group_with_room(self) -> _Group:
        most = self._config.live.streams_per_follower
        group = next((one for one in self._groups if len(one.streams) < most), None)
        if group is None:
            group = _Group()
            self._groups.append(group)
        return group

    def _followed(self, state: StreamState) -> FollowedStream:
        assert state.uri is not None
        before = self._content.get(state.stream_id)
        failures = 0 if before is None or before.at < state.started_at else before.failures
        return FollowedStream(state.stream_id, state.uri, state.started_at, state.text, failures)

    async def _learn_content(self, names: Sequence[str]) -> None:
        if not names:
            return
        call = self._profiles.states.remote(CONTENT_TABLE, list(names))
        found = await await_reply(call, self._config.apply_timeout_s)
        self._content |= dict.fromkeys(names)
        self._content |= {name: unpack_content(name, record) for name, (_, record) in found.items()}

    async def _drive(self, group: _Group) -> None:
        """Have a group's streams followed until none is left, by another actor if one dies."""
        follower: Follower | None = None
        assert self._embed is not None
        try:
            while group.streams:
                try:
                    if follower is None:
                        follower = self._start(self._embed, self._config)
                    reports = await follower.step(list(group.streams.values()), STEP_WAIT_S)
                except RayError as error:
                    streams = len(group.streams)
                    logger.error("a follower died", extra={"why": str(error)[:300], "streams": streams})
                    self._recorder.record(metrics.STREAM_WINDOWS, outcome="follower died")
                    _kill(follower)
                    follower = None
                    await asyncio.sleep(RESTART_S)
                    continue
                await self._store(reports)
        finally:
            _kill(follower)

    async def _store(self, reports: Sequence[ContentReport]) -> None:
        vectors: dict[str, bytes] = {}
        states: dict[str, bytes] = {}
        for report in reports:
            self._recorder.record(metrics.STREAM_WINDOWS, outcome=report.outcome)
            name = report.stream_id
            if name not in self._content:
                continue  # it is over meanwhile
            self._content[name] = state = report.state(self._content[name])
            states[name] = pack_content(state)
            if report.vector is not None:
                vectors[name] = pack_vector(report.vector)
        try:
            await self._put(VECTORS_TABLE, vectors)
            await self._put(CONTENT_TABLE, states)
        except Exception as error:  # the next vectors come soon
            extra = {"streams": len(states), "why": str(error)[:300]}
            logger.warning("the content of streams could not be stored", extra=extra)

    async def _put(self, table: str, records: Mapping[str, bytes]) -> None:
        if records:
            puts = [(name, record, None) for name, record in records.items()]
            await await_reply(self._profiles.put_states.remote(table, puts), self._config.apply_timeout_s)

    async def _end_all(self) -> None:
        groups, self._groups = self._groups, []
        tasks = [group.task for group in groups if group.task is not None]
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            await asyncio.gather(*tasks, return_exceptions=True)


def _kill(follower: Follower | None) -> None:
    if follower is not None:
        with suppress(Exception):  # it has died already
            follower.kill()
