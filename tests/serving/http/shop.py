"""Serving backend of a small shop in one process: the real store and decoder, simple lists for ranking."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from tests.serving.direct import Direct
from vrec.config.trends import TrendingConfig
from vrec.core.errors import VideoError
from vrec.events.config import InterestConfig
from vrec.media.decode import MediaConfig
from vrec.media.decode_process import DecodeProcess
from vrec.profiles.stores.codec import table_from_rows
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.profiles.update import ProfilesConfig
from vrec.serving.catalog.upserts import choose_upserts
from vrec.serving.catalog.versions import card_version
from vrec.serving.deployments.audit import AuditLog
from vrec.serving.deployments.batches import BatchContext, BatchOperations
from vrec.serving.deployments.bundles import BundleOperations
from vrec.serving.deployments.experiment import ExperimentOperations
from vrec.serving.deployments.protocol import UnknownVideo, VideoChanged, VideoIdTaken
from vrec.serving.deployments.rules import RuleOperations
from vrec.serving.deployments.searches import SearchOperations
from vrec.serving.deployments.service_state import ServiceReadiness, ServiceState
from vrec.serving.deployments.streams import StreamOperations
from vrec.serving.experiments import ArmCounts
from vrec.serving.messages import (
    CatalogEntry,
    CatalogPage,
    EmbeddedVideo,
    ListItem,
    ListResult,
    ReadPosition,
    unranked_item,
)
from vrec.serving.rules.follower import RuleFollower
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.streams.states import is_stream
from vrec.serving.trends.follower import TrendFollower, announce_erasure
from vrec.serving.trends.searches import end_search_period
from vrec.serving.trends.trending import TrendingCounts


class Shop:
    """Serving backend that ranks videos by shared words or similar color.

    Lists raise `away` if it is set, and take `slow_s` seconds.
    """

    def __init__(self, folder, videos, config):
        self.cards_now = {row["video_id"]: row for row in videos}
        self.vectors = {}
        self.away = self.slow_s = None
        self.timeout_s = config.ranking_timeout_s
        self.arm_counts = ArmCounts(config.arms)
        self.store = open_store(SqliteConfig(path=str(folder / "store.db")), lambda _: {}, ProfilesConfig())
        self.decoder = DecodeProcess(MediaConfig())
        follower = RuleFollower(self.records_after)
        self.audit = AuditLog(Direct(self), config.apply_timeout_s)
        self.rules = RuleOperations(Direct(self), Direct(self), follower, config.apply_timeout_s)
        self.trends = ShopTrends(self)
        self.searches = SearchOperations(Direct(self), config.searches, config.apply_timeout_s)
        self.streams = StreamOperations(
            Direct(self),
            StreamFollower(self.states_after),
            ShopStreamCatalog(self),
            config.live,
            timeout_s=config.apply_timeout_s,
        )
        # Without a bundle each batch fails, which is enough here.
        missing = SimpleNamespace(uri=str(folder / "no bundle"))
        self.batches = BatchOperations(
            config, Direct(self), lambda: BatchContext(missing, ReadPosition(), config.arms)
        )
        self.bundles = BundleOperations(config, "")
        self.experiment = ExperimentOperations(Direct(self), config.arms, config.apply_timeout_s)
        self.state = ServiceState("/srv/shop", "shop-1", 1, 2, 0, None, {"ranker": {"auc": 0.7}})
        self.asks = []

    def close(self):
        self.store.close()
        self.decoder.close()

    async def recommend(self, ask):
        self.asks.append(ask)
        await self.fail()
        profile = await self.profile(ask.user_id)
        weights = {} if profile is None else {one.video_id: one.weight for one in profile.history}
        liked = {self.cards_now[name]["category"] for name in weights if name in self.cards_now}
        reason = {True: (f"watched:{next(iter(weights), '')}", "popular"), False: ("new",)}
        items = [
            (float(card["category"] in liked), name, reason[bool(liked) and card["category"] in liked])
            for name, card in self.passing(ask.filters)
        ]
        return self._answer(items, ask.k)

    def fallback(self, ask):
        answer = self._answer([(0.0, name, ("popular",)) for name, _ in self.passing(ask.filters)], ask.k)
        return replace(answer, degraded=("ranking",))

    async def similar(self, video_id, k, filters, at):
        await self.fail()
        if video_id not in self.cards_now:
            raise UnknownVideo(f"{video_id} is not in the catalogue")
        own = self.vectors.get(video_id)
        items = [
            (float(own @ self.vectors[name]) if own is not None and name in self.vectors else 0.0, name, ())
            for name, _ in self.passing(filters)
            if name != video_id
        ]
        return self._answer(items, k)

    async def search(self, text, k, filters, at):
        await self.fail()
        words = set(text.lower().split())
        found = [
            (float(len(words & set((card["title"] or "").lower().split()))), name, ())
            for name, card in self.passing(filters)
        ]
        matching = [one for one in found if one[0]]
        answer = self._answer(matching or [(0.0, name, ()) for _, name, _ in found], k)
        source = "search:words" if matching else "popular"
        return replace(answer, items=tuple(replace(item, source=source) for item in answer.items))

    async def cards(self, video_ids):
        return {name: self.cards_now[name] for name in video_ids if name in self.cards_now}

    async def videos(self, query, at):
        words = (query.text or "").lower().split()
        found = [
            name
            for name, card in self.passing(query.filters, also_unavailable=True)
            if query.available in (None, card["available"])
            and all(word in f"{name} {card['title']} {card['category']}".lower() for word in words)
        ]
        rest = [name for name in found if name > query.after]
        entries = [await self.video(name, at) for name in rest[: query.limit]]
        return CatalogPage(tuple(entries), len(found), len(rest) > query.limit)

    async def video(self, video_id, at):
        if video_id not in self.cards_now:
            raise UnknownVideo(f"{video_id} is not in the catalog")
        card = self.cards_now[video_id]
        return CatalogEntry(card, () if card["available"] else ("unavailable",), None, False)

    async def apply(self, rows):
        events = table_from_rows(rows)
        applied = await asyncio.wrap_future(self.store.submit(events))
        if applied.new:
            self.arm_counts.add(events)
        return applied

    async def profile(self, user_id):
        return self.store.get("user", [user_id]).get(user_id)

    async def remove_event(self, event_id):
        return await asyncio.to_thread(self.store.remove, event_id)

    async def join(self, session, user_id):
        return await asyncio.to_thread(self.store.join, session, user_id)

    async def events_of(self, user_id, before, limit):
        return await asyncio.to_thread(self.store.events_of, user_id, before, limit)

    async def erase(self, user_id):
        end_search_period(self.store)
        erased = await asyncio.to_thread(self.store.erase, user_id)
        announce_erasure(self.store)
        return erased

    async def embed(self, path, title, tags):
        (decoded,) = await asyncio.to_thread(lambda: list(self.decoder.decode_many([path])))
        if isinstance(decoded, VideoError):
            raise decoded
        colour = decoded.frames.reshape(-1, 3).mean(0, dtype=np.float64) + 1
        vector = (colour / np.linalg.norm(colour)).astype(np.float32)[None]
        return EmbeddedVideo({"frames": vector}, {"frames": "colour@1"}, decoded.duration_s, 0.1, 0.1)

    async def change(self, edit, expected=None):
        if (edit.kind == "add") == (edit.video_id in self.cards_now):
            raise (VideoIdTaken if edit.kind == "add" else UnknownVideo)(edit.video_id)
        if edit.kind == "remove":
            del self.cards_now[edit.video_id]
            return None
        before = self.cards_now.get(edit.video_id, {"video_id": edit.video_id})
        if expected not in (None, card_version(before)):
            raise VideoChanged(edit.video_id)
        self.cards_now[edit.video_id] = dict(before) | dict(edit.fields)
        if "frames" in edit.vectors:
            self.vectors[edit.video_id] = edit.vectors["frames"][0]
        return self.cards_now[edit.video_id]

    async def upsert(self, upserts, *, more=False):
        results, edits = choose_upserts(upserts, self.cards_now.__contains__)
        if self.away is not None:
            raise self.away
        for edit in edits:
            await self.change(edit)
        return results

    async def export(self, after, limit):
        return await asyncio.to_thread(self.store.export, after, limit)

    async def append_record(self, log, record, expected, most):
        return self.store.append_record(log, record, expected=expected, most=most)

    async def records_after(self, log, after, limit):
        return self.store.records_after(log, after, limit)

    async def records_before(self, log, before, limit):
        return self.store.records_before(log, before, limit)

    async def put_state(self, table, key, state, expected):
        return self.store.put_state(table, key, state, expected=expected)

    async def states(self, table, keys):
        return self.store.states(table, keys)

    async def states_after(self, table, after, limit):
        return self.store.states_after(table, after, limit)

    async def preview(self, queries, rule_id, rule, after):
        banned = frozenset(rule.video_ids) if rule is not None and rule.kind == "ban" else frozenset()
        return [
            (
                await self.recommend(query),
                await self.recommend(
                    replace(query, filters=replace(query.filters, exclude=query.filters.exclude | banned))
                ),
            )
            for query in queries
        ]

    async def arms(self):
        return self.arm_counts.snapshot()

    async def arm_days(self, days):
        found = self.arm_counts.days
        return [one for day in found.days(days) for one in found.figures(day)]

    async def service_state(self):
        return replace(self.state, videos=len(self.cards_now))

    async def ready(self):
        return ServiceReadiness("shop-1", {"ranking": None if self.away is None else f"{self.away} in /srv"})

    async def fail(self):
        if self.slow_s:
            await asyncio.wait_for(asyncio.sleep(self.slow_s), self.timeout_s)
        if self.away is not None:
            raise self.away

    def passing(self, filters, also_unavailable=False):
        for name, card in sorted(self.cards_now.items()):
            wrong = (
                not (card["available"] or also_unavailable)
                or name in filters.exclude
                or (filters.streams == "only" and not is_stream(card))
                or (filters.kinds and card["kind"] not in filters.kinds)
                or (filters.categories and card["category"] not in filters.categories)
                or card["creator_id"] in filters.blocked_creators
                or (filters.most_price is not None and (card["price"] or 0) > filters.most_price)
            )
            if not wrong:
                yield name, card

    def _answer(self, items, k):
        best = sorted(items, key=lambda one: (-one[0], one[1]))[:k]
        found = tuple(
            ListItem(name, score, 0.1, 3.0, 0.01, 0.5, reasons, "popular", 1.0)
            for score, name, reasons in best
        )
        return ListResult(found, "shop-1", spent_ms={"ranker": 1.0})


class ShopStreamCatalog:
    """Catalog of a shop's streams."""

    def __init__(self, shop):
        self.shop = shop

    def card(self, video_id):
        return self.shop.cards_now.get(video_id)

    async def edit(self, video_id, choose):
        for edit in choose(self.card(video_id)):
            await self.shop.change(edit)

    async def embed(self, title, tags):
        return None


class ShopTrends:
    """Trends of a shop, counted when they are asked for."""

    def __init__(self, shop):
        self.shop = shop

        def make():
            return TrendingCounts(TrendingConfig(), InterestConfig(), lambda _: {}, 1 << 12)

        self.follower = TrendFollower(shop.store, make)

    async def videos(self, window, k, filters, at):
        await self.shop.fail()
        while await self.follower.follow(self.shop.store.latest_cursor()):
            pass
        allowed = dict(self.shop.passing(filters))
        found = [one for one in self.follower.videos(window) if one.video_id in allowed][:k]
        items = tuple(unranked_item(one.video_id, one.score, "trending") for one in found)
        scores = tuple({"shoppers": float(one.shoppers), "expected": one.expected} for one in found)
        return ListResult(items, "shop-1", scores=scores), True
