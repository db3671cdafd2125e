"""Ranking over a catalog in shards: lists are gathered from them, and no video stays here."""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.serving.budgets.cpu import measures_cpu
from vrec.serving.bundle_swap import ServedBundle, fixes_in_tracebacks
from vrec.serving.conversation.messages import ConverseQuery
from vrec.serving.deployments.following import check_running
from vrec.serving.deployments.handles import EncoderHandle, ProfilesHandle
from vrec.serving.deployments.live_scores import LiveScores
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.shards.part import Draft, free_memory, load_whole
from vrec.serving.deployments.shards.remote import RemotePart, WrongVersion
from vrec.serving.deployments.store_ends import ReadEnds
from vrec.serving.messages import ListResult, ReadPosition, RecommendQuery, RequestFilters
from vrec.serving.moments.messages import MomentQuery, MomentsMissing
from vrec.serving.rules.book import RULES_LOG, ShopRule
from vrec.serving.rules.follower import RuleFollower
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.streams.states import STREAMS_TABLE

if TYPE_CHECKING:
    from vrec.serving.scatter.gather import ScatterGather

logger = logging.getLogger("ray.serve")

READY_TIMEOUT_S = 2.0
"""Seconds that a shard has to say that it is ready."""
T = TypeVar("T")


class GatheringDeployment:
    """Ranking deployment over shards; its calls are those of `RankingDeployment`.

    Replicas of shards move to another bundle one after the other, so that lists are made from the one before
    until all of them have the new one.
    """

    def __init__(
        self,
        config: ServeConfig,
        profiles: ProfilesHandle,
        encoder: EncoderHandle | None,
        shards: Sequence[Any],
        *,
        ends: ReadEnds | None = None,
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            profiles: Handle of the profiles deployment.
            encoder: Handle of the encoder deployment; without one, search is by words alone.
            shards: Handles of the shards, in the order of their parts.
            ends: Function that returns the ends of the store's logs; None reads the logs in each round.
        """
        self._config, self._profiles, self._encoder, self._ends = config, profiles, encoder, ends
        self._shards = tuple(shards)
        self._served: ServedBundle[ScatterGather] = ServedBundle(config.data, self._load, remembers=True)
        self._before: ScatterGather | None = None
        self._rules = RuleFollower(profiles.records_after.remote)
        self._streams = StreamFollower(profiles.states_after.remote)
        self._scores = LiveScores(profiles, lambda _: {}, config.profile_timeout_s)
        self._task: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the named bundle if it is sound, while requests go on being answered."""
        before = self._served.loaded
        with fixes_in_tracebacks():
            moved = await self._served.swap_to(user_config["bundle"])
        if moved:
            self._before = before
            with suppress(Exception):  # the refresh loop tries again, and answers say so until then
                await self._follow()
            gc.collect()
            gc.freeze()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    @measures_cpu
    async def recommend(self, query: RecommendQuery, after: ReadPosition | None = None) -> ListResult:
        """Recommend videos to a shopper, with all catalog edits up to a position."""
        await self._reach(after)
        begun, missing, profile = time.perf_counter(), self._missing(), None
        try:
            profile = await self._profile(query.user_id)
        except Exception as error:  # whatever it is, an answer without it is better than none
            logger.warning("no profile", extra={"request_id": query.request_id, "why": _error_text(error)})
            missing = [*missing, "profiles"]
        waited = (time.perf_counter() - begun) * 1e3
        shopper, score = profile or Profile("user", query.user_id), None
        if query.filters.streams == "only" and self._streams.book.states:
            known = None if profile is None else query.user_id
            score = await self._scores.scorer(self._gather.live_model, known, query.at)
        book, streams = self._rules.book, self._streams.book
        answer = await self._over(
            lambda gather, parts: gather.recommend(
                parts, query, shopper, book, streams=streams, score_streams=score
            ),
            after,
        )
        spent = {"profile": waited, **answer.spent_ms}
        return replace(answer, degraded=(*missing, *answer.degraded), spent_ms=spent)

    @measures_cpu
    async def similar(
        self, video_id: str, k: int, filters: RequestFilters, at: int, after: ReadPosition | None = None
    ) -> ListResult:
        """Return at most `k` videos similar to one, with all catalog edits up to a position.

        Raises UnknownVideo.
        """
        await self._reach(after)
        moment = {"at": at, "book": self._rules.book, "streams": self._streams.book}
        answer = await self._over(
            lambda gather, parts: gather.similar(parts, video_id, k, filters, **moment), after
        )
        return replace(answer, degraded=(*self._missing(), *answer.degraded))

    @measures_cpu
    async def search(
        self, text: str, k: int, filters: RequestFilters, at: int, after: ReadPosition | None = None
    ) -> ListResult:
        """Return at most `k` videos for a text; by its words alone if it cannot be embedded."""
        await self._reach(after)
        vector, missing, bundle = None, self._missing(), self._served.bundle
        # Vectors of a shared encoder say nothing in a bundle without one.
        if self._encoder is not None and (bundle is None or bundle.encoder is not None):
            try:
                async with asyncio.timeout(self._config.ranking_timeout_s / 2):
                    vector = await self._encoder.text.remote(text)
            except Exception as error:  # whatever it is, a search by words is better than none
                logger.warning("no text vector", extra={"why": _error_text(error)})
                missing = [*missing, "encoder"]
        moment = {"at": at, "book": self._rules.book, "streams": self._streams.book}
        answer = await self._over(
            lambda gather, parts: gather.search(parts, text, vector, k, filters, **moment), after
        )
        return replace(answer, degraded=(*missing, *answer.degraded))

    async def preview(
        self,
        queries: Sequence[RecommendQuery],
        rule_id: str,
        rule: ShopRule | None,
        after: ReadPosition | None = None,
    ) -> list[tuple[ListResult, ListResult]]:
        """Return the lists of requests as they are, and as they would be with a rule put or removed."""
        await self._reach(after)
        draft, lists = self._rules.book.with_draft(rule_id, rule), list[tuple[ListResult, ListResult]]()
        for query in queries:
            shopper = await self._profile(query.user_id) or Profile("user", query.user_id)
            pair: list[ListResult] = []
            for book, changed in ((self._rules.book, None), (draft, (rule_id, rule))):
                call = self._list_of(query, shopper, book)
                pair.append(await self._over(call, after, changed))
            lists.append((pair[0], pair[1]))
        return lists

    async def find_moments(self, query: MomentQuery, after: ReadPosition | None = None) -> NoReturn:
        """Raise MomentsMissing: shards have no moments."""
        raise MomentsMissing("moments are not searched while the catalog is in shards")

    async def converse(self, query: ConverseQuery, after: ReadPosition | None = None) -> NoReturn:
        """Raise BackendUnavailable: the assistant reads the whole catalog in its process."""
        raise BackendUnavailable(
            "the assistant does not answer while the catalog is in shards",
            fix="unset serve.shard_above and serve.replicas.shards to use it",
        )

    async def search_subject(self, text: str) -> str | None:
        """Return None: what a search asks for is the assistant's to say."""
        return None

    @property
    def served(self) -> ServedBundle[Any]:
        """Bundle in service, and why another one was refused."""
        return self._served

    async def close(self) -> None:
        """Stop following changes."""
        if self._task is not None:
            self._task.cancel()

    async def ready(self) -> str:
        """Return the version in service; raises BackendUnavailable if a shard does not answer."""

        async def answers(shard: Any) -> bool:
            try:
                async with asyncio.timeout(READY_TIMEOUT_S):
                    return bool(await shard.ready.remote())
            except Exception:  # whatever it is, it does not answer
                return False

        found = await asyncio.gather(*(answers(shard) for shard in self._shards))
        if not all(found):
            gone = ", ".join(str(number) for number, one in enumerate(found) if not one)
            raise BackendUnavailable(f"shards without an answer, of {len(found)}: {gone}")
        return self._served.version

    async def refused(self) -> str | None:
        """Return why the bundle requested last was refused; None if it is in service."""
        return self._served.refused

    async def refusal(self) -> tuple[str, str] | None:
        """Return why the bundle requested last was refused, and the fix; None if it is in service."""
        return self._served.refusal

    async def check_health(self) -> None:
        """Raise if changes are not followed any more."""
        check_running(self._task)

    @property
    def _gather(self) -> "ScatterGather":
        if self._served.loaded is None:
            raise RuntimeError("a request came before the first bundle")
        return self._served.loaded

    def _list_of(
        self, query: RecommendQuery, shopper: Profile, book: Any
    ) -> "Callable[[ScatterGather, Sequence[RemotePart]], Awaitable[ListResult]]":
        streams = self._streams.book
        return lambda gather, parts: gather.recommend(parts, query, shopper, book, streams=streams)

    async def _over(
        self,
        call: "Callable[[ScatterGather, Sequence[RemotePart]], Awaitable[T]]",
        after: ReadPosition | None,
        draft: Draft | None = None,
    ) -> T:
        """Return the answer over the bundle in service, or the one before while shards still move."""
        from vrec.serving.scatter.gather import NoPartAnswers

        gathers = [one for one in (self._gather, self._before) if one is not None]
        timeout_s = self._config.ranking_timeout_s / 4
        for number, gather in enumerate(gathers, start=1):
            parts = [
                RemotePart(shard, gather.version, after, draft, timeout_s=timeout_s) for shard in self._shards
            ]
            try:
                return await call(gather, parts)
            except WrongVersion as error:
                if number == len(gathers):
                    raise BackendUnavailable(str(error)) from None
            except NoPartAnswers as error:
                raise BackendUnavailable(str(error)) from None
        raise AssertionError("unreachable")

    def _load(self, uri: str) -> "tuple[BundleCatalog, ScatterGather]":
        # Imported here, so that a process that only names this class to Serve does not load torch.
        from vrec.bundle.cutting import cut_bundle
        from vrec.serving.scatter.gather import ScatterGather

        head = cut_bundle(load_whole(uri), len(self._shards), None)
        free_memory()
        return head, ScatterGather(head, self._config)

    async def _reach(self, position: ReadPosition | None) -> None:
        """Read rules and streams up to a position; the shards read the catalog."""
        try:
            await self._rules.reach(0 if position is None else position.rules)
            await self._streams.reach(0 if position is None else position.streams)
        except Exception as error:  # whatever it is, a list without the latest rules is none
            raise BackendUnavailable(
                f"ranking cannot read the latest rules and streams: {_error_text(error)}"
            ) from None

    def _missing(self) -> list[str]:
        parts = {RULES_LOG: self._rules.is_read, STREAMS_TABLE: self._streams.is_read}
        return [name for name, is_read in parts.items() if not is_read]

    async def _profile(self, user_id: str) -> Profile | None:
        async with asyncio.timeout(self._config.profile_timeout_s):
            return await self._profiles.shopper.remote(user_id)

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                await self._follow()
            except Exception as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": _error_text(error)})

    async def _follow(self) -> None:
        ends = None if self._ends is None else await self._ends()
        await self._rules.catch_up(ends and ends.rules)
        await self._streams.catch_up(ends and (ends.streams, ends.vectors))
        if self._served.loaded is not None:
            await self._scores.follow(self._gather.live_model, self._streams.book)


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
