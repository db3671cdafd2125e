"""Serving backend of a small shop in one process: the real store and decoder, simple lists for ranking."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from tests.serving.direct import Direct
from vrec.assistant.assistant import Assistant
from vrec.config.trends import TrendingConfig
from vrec.core.errors import VideoError
from vrec.core.schema import VIDEOS
from vrec.events.config import InterestConfig
from vrec.media.decode import MediaConfig
from vrec.media.decode_process import DecodeProcess
from vrec.profiles.searches import search_subject
from vrec.profiles.stores.codec import table_from_rows
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.profiles.update import ProfilesConfig
from vrec.profiles.user import followed_creators
from vrec.serving.catalog.upserts import choose_upserts
from vrec.serving.catalog.versions import card_version
from vrec.serving.conversation.hand_overs import HandOverTable
from vrec.serving.conversation.messages import AssistantReply, ConverseResult
from vrec.serving.conversation.table import ConversationTable
from vrec.serving.creators.entries import CreatorEntry, CreatorList, CreatorPage, UnknownCreator
from vrec.serving.creators.lists import RankedCreator
from vrec.serving.deployments.audit import AuditLog
from vrec.serving.deployments.batches import BatchContext, BatchOperations
from vrec.serving.deployments.bundles import BundleOperations
from vrec.serving.deployments.consents import ConsentOperations
from vrec.serving.deployments.conversations import ConversationOperations
from vrec.serving.deployments.experiment import ExperimentOperations
from vrec.serving.deployments.learned_searches import LearnedSearches
from vrec.serving.deployments.links import LinkOperations
from vrec.serving.deployments.moments import MomentOperations
from vrec.serving.deployments.protocol import UnknownVideo, VideoChanged, VideoIdTaken
from vrec.serving.deployments.records import RecordOperations
from vrec.serving.deployments.rekeying import rekey_shopper
from vrec.serving.deployments.rules import RuleOperations
from vrec.serving.deployments.searches import SearchOperations
from vrec.serving.deployments.service_state import ServiceReadiness, ServiceState
from vrec.serving.deployments.stored_shoppers import StoredShoppers
from vrec.serving.deployments.streams import StreamOperations
from vrec.serving.experiments import ArmCounts
from vrec.serving.health.hours import ModelHealth
from vrec.serving.messages import (
    CatalogEntry,
    CatalogPage,
    EmbeddedVideo,
    ListItem,
    ListResult,
    ReadPosition,
    unranked_item,
)
from vrec.serving.moments.example import read_picture
from vrec.serving.moments.messages import FoundMoment, MomentExample, MomentResult, MomentsMissing
from vrec.serving.observability.metrics import InMemoryMetricsRecorder
from vrec.serving.rules.follower import RuleFollower
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.streams.states import is_stream
from vrec.serving.trends.follower import TrendFollower
from vrec.serving.trends.trending import TrendingCounts


class ShopStore(StoredShoppers):
    """Calls about shoppers to the shop's store."""

    def __init__(self, config, store):
        super().__init__(config)
        self._opened = store


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
        self.bundle = SimpleNamespace(history_factors={"social": 0.5}, known_elsewhere={"social/1"})
        self.stored = ShopStore(config, self.store)
        self.consents = ConsentOperations(Direct(self.stored), config)
        self.links = LinkOperations(
            Direct(self), lambda: self.bundle, self.cards_now.__contains__, config.apply_timeout_s
        )
        self.audit = AuditLog(Direct(self), config.apply_timeout_s)
        self.rules = RuleOperations(Direct(self), Direct(self), follower, config.apply_timeout_s)
        self.trends = ShopTrends(self)
        self.has_moments = True
        self.creators = ShopCreators(self)
        self.conversation_table = ConversationTable(self.store, 86_400_000_000)
        self.hand_over_table = HandOverTable(self.store, 86_400_000_000)
        self.conversations = ConversationOperations(
            Direct(self), Direct(self), ReadPosition, config, InMemoryMetricsRecorder(), apply=self.apply
        )
        self.moments = MomentOperations(Direct(self), Direct(self), ReadPosition, config)
        self.searches = SearchOperations(Direct(self), config.searches, config.apply_timeout_s)
        self.learned_searches = LearnedSearches(Direct(self), Direct(self), config, apply=self.apply)
        self.records = RecordOperations(
            Direct(self.stored), self.learned_searches.settle, config.apply_timeout_s
        )
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
        self.health = ModelHealth()
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

    def fallback(self, ask, why="ranking"):
        answer = self._answer([(0.0, name, ("popular",)) for name, _ in self.passing(ask.filters)], ask.k)
        return replace(answer, degraded=(why,))

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
        events, _, (refused,) = await self.stored._without_refused(events, [len(rows)])
        applied = replace(await asyncio.wrap_future(self.store.submit(events)), refused=refused)
        if applied.new:
            self.arm_counts.add(events)
        return applied

    async def profile(self, user_id):
        return self.store.get("user", [user_id]).get(user_id)

    async def remove_event(self, event_id):
        return await asyncio.to_thread(self.store.remove, event_id)

    async def join(self, session, user_id):
        await self.learned_searches.settle()
        return await self.stored.join(session, user_id)

    async def rekey(self, pairs):
        tables = self.conversation_table, self.hand_over_table
        return sum(rekey_shopper(self.store, *tables, *pair) for pair in pairs)

    async def events_of(self, user_id, before, limit):
        return await asyncio.to_thread(self.store.events_of, user_id, before, limit)

    async def link(self, link):
        return await self.stored.link(link)

    async def unlink(self, user_id, domain, at):
        return await self.stored.unlink(user_id, domain, at)

    async def links_of(self, user_id):
        return await self.stored.links_of(user_id)

    async def links_after(self, version, limit):
        return await self.stored.links_after(version, limit)

    async def without_consent(self, user_ids, purpose):
        return await self.stored.without_consent(user_ids, purpose)

    async def erase(self, user_id):
        await self.learned_searches.settle()
        return await self.stored.erase(user_id)

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
        return await self.stored.export_consented(after, limit)

    async def append_record(self, log, record, expected, most):
        return self.store.append_record(log, record, expected=expected, most=most)

    async def records_after(self, log, after, limit):
        return self.store.records_after(log, after, limit)

    async def records_before(self, log, before, limit):
        return self.store.records_before(log, before, limit)

    async def search_subject(self, text):
        videos = pa.Table.from_pylist(list(self.cards_now.values()), VIDEOS.arrow())
        return search_subject(Assistant(videos).asked_by(text))

    async def converse(self, query, after):
        await self.fail()
        videos = pa.Table.from_pylist(list(self.cards_now.values()), VIDEOS.arrow())
        message, state = query.message, query.state
        assistant, ranked = Assistant(videos, currency="EUR"), lambda request: request.video_ids
        if message.like and not message.text:
            state, answer = assistant.like(state, message.like, ranked, keep=bool(message.example))
        else:
            state, answer = assistant.answer(state, message.text, ranked, message.language)
        items = tuple(unranked_item(name, 1.0, "assistant") for name in answer.video_ids)
        return ConverseResult(AssistantReply(answer, state, items, "shop-1"))

    async def find_moments(self, query, after):
        await self.fail()
        if not self.has_moments:
            raise MomentsMissing("the bundle in service has no moments")
        named = query.video_ids[:1] if query.like is None else query.like[:1]
        if any(name not in self.cards_now for name in named):
            raise UnknownVideo(named[0])
        names = query.video_ids or [name for name in self.cards_now if name not in named]
        titles = {name: self.cards_now[name]["title"] for name in names if name in self.cards_now}
        found = [
            FoundMoment(
                name, 1.0, 2.5, "words" if query.text else "picture", 0.5, title if query.text else None
            )
            for name, title in titles.items()
            if query.text is None or set(query.text.lower().split()) & set((title or "").lower().split())
        ]
        return MomentResult(tuple(found[: query.k]), "shop-1")

    async def example(self, content):
        await self.fail()
        return MomentExample(
            {"frames": read_picture(content, 1, 10_000_000).reshape(1, 3)}, {"frames": "rgb"}
        )

    async def conversation(self, user_id):
        return await self.stored.conversation(user_id)

    async def add_hand_over(self, hand_over):
        self.hand_over_table.add(hand_over, is_posted=False)

    async def hand_overs(self, after, limit):
        return self.hand_over_table.after(after, limit)

    async def put_conversation(self, user_id, record, expected):
        return self.conversation_table.put(user_id, record, expected)

    async def forget_conversation(self, user_id):
        return self.conversation_table.forget(user_id)

    async def put_states(self, table, puts):
        return self.store.put_states(table, puts)

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

    async def model_health(self):
        return self.health

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

    def possible(self, video_ids):
        cards = self.shop.cards_now
        return [name for name in video_ids if name not in cards or is_stream(cards[name])]

    async def edit(self, video_id, choose):
        for edit in choose(self.card(video_id)):
            await self.shop.change(edit)

    async def embed(self, title, tags):
        return None


class ShopCreators:
    """Creators of a shop by id, those without one that the shopper follows."""

    def __init__(self, shop):
        self.shop = shop

    def entries(self):
        found = {}
        for card in self.shop.cards_now.values():
            found.setdefault(card["creator_id"], []).append(card["kind"])
        found.pop("", None)
        return {
            name: CreatorEntry(name, len(kinds), kinds.count("live"), None, True)
            for name, kinds in sorted(found.items())
        }

    async def recommend(self, query, kind):
        await self.shop.fail()
        user = await self.shop.profile(query.user_id)
        out = query.filters.exclude | (frozenset() if user is None else followed_creators(user))
        wanted = [one for name, one in self.entries().items() if name not in out]
        wanted = [one for one in wanted if one.streams or kind == "creator"][: query.k]
        ranked = tuple(RankedCreator(one.creator_id, 0.0, 1.0, "quality", True) for one in wanted)
        return CreatorList(ranked, tuple(wanted), "shop-1")

    async def get(self, creator_id):
        if creator_id not in self.entries():
            raise UnknownCreator(f"no video is of the creator {creator_id}")
        found = self.shop.store.get("video", [f"creator:{creator_id}"]).values()
        keys = ("event:follow", "event:gift", "gifted")
        return self.entries()[creator_id], {
            key: sum(one.counts.get(key, 0.0) for one in found) for key in keys
        }

    async def page(self, after, limit, kind):
        entries = [one for one in self.entries().values() if one.streams or kind == "creator"]
        rest = [one for one in entries if one.creator_id > after]
        return CreatorPage(tuple(rest[:limit]), len(entries), len(rest) > limit)


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
