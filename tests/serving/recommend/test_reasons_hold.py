"""Every reason in over a thousand random answers is true of the raw events, the catalog and the counts."""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest

from tests.bundles import shop, shop_parts
from tests.serving.recommend.engines import change, engine_of, now, query_of
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.config import BundleConfig
from vrec.bundle.write import count_popularity, popular_videos
from vrec.config.serve import ServeConfig
from vrec.core.schema import EMBEDDINGS, EVENTS, VIDEOS
from vrec.core.types import CatalogContent
from vrec.events.interactions import InterestConfig, aggregate_interactions, weigh_events
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.update import ProfilesConfig, build_profiles
from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.catalog import CatalogArrays, ShopperContext
from vrec.ranking.reranking.popularity import Popularity, PopularVideo
from vrec.ranking.reranking.reasons import REASONS, ReasonFacts, ReasonsConfig
from vrec.ranking.reranking.rerank import RerankConfig
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend.eligibility import shopper_context
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.recommend.response import RankedCandidates, popular_items, reranked_items

DAY_US = 86_400_000_000
NOW = 20_000 * DAY_US
KINDS = ("impression", "click", "watch", "like", "share", "follow", "cart", "purchase")
CODES = {
    "watched": "watch", "opened": "click", "liked": "like", "shared": "share",
    "followed": "follow", "carted": "cart", "bought": "purchase",
}  # fmt: skip
CONFIG = ReasonsConfig()


@dataclass
class Truth:
    """A catalog and raw events, and what is true of them by plain loops."""

    videos: dict[str, dict]
    vectors: dict[str, np.ndarray]
    events: list[dict]
    at: int

    def __post_init__(self):
        self.interests = defaultdict(list)
        for event in self.events:
            if self.shows_interest(event):
                self.interests[event["user_id"]].append(event)

    def shows_interest(self, event):
        """Whether an event shows interest: any but an impression or a short watch."""
        if event["kind"] != "watch" or event["value"] is None:
            return event["kind"] != "impression"
        duration = self.videos.get(event["video_id"], {}).get("duration_s")
        return event["value"] / (min(18.0, duration) if duration else 18.0) >= 0.2

    def users_of(self):
        """Number of shoppers with an interest in each video of the catalog."""
        pairs = {(user, event["video_id"]) for user, own in self.interests.items() for event in own}
        return Counter(video for _, video in pairs if self.videos.get(video, {}).get("available", False))

    def cosine(self, one, other):
        a, b = self.vectors.get(one), self.vectors.get(other)
        if a is None or b is None:
            return -1.0
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def count(self, user, field, name):
        return sum(
            self.videos[event["video_id"]][field] == name
            for event in self.interests[user]
            if event["video_id"] in self.videos
        )

    def holds(self, user, item, reason, users):
        """Whether a reason is true, in plain words."""
        code, _, subject = reason.partition(":")
        row = self.videos[item.video_id]
        if code in CODES:
            did = [e for e in self.interests[user] if (e["video_id"], e["kind"]) == (subject, CODES[code])]
            near = self.cosine(item.video_id, subject) >= CONFIG.watched_cosine - 1e-5
            return bool(did) and subject != item.video_id and near
        if code in ("creator", "category"):
            field = "creator_id" if code == "creator" else "category"
            least = CONFIG.creator_events if code == "creator" else CONFIG.category_events
            return subject == row[field] != "" and self.count(user, field, subject) >= least
        if code == "new":
            return row["published_at"] is not None and 0 <= self.at - row["published_at"] <= 14 * DAY_US
        if code == "popular":
            more = sum(other > users[item.video_id] for other in users.values())
            return users[item.video_id] >= 5 and more < 0.2 * len(users)
        return code == "exploration" and item.propensity < 1

    def facts(self, user, item, reason, users):
        """The same facts as the predicates of REASONS take them."""
        code, _, subject = reason.partition(":")
        row, kinds = self.videos[item.video_id], {}
        for event in self.interests[user]:
            kinds.setdefault(event["video_id"], set()).add(event["kind"])
        more = sum(other > users[item.video_id] for other in users.values())
        counts = {f"{code}:{subject}": 0.0}
        if code in ("creator", "category"):
            counts = {reason: self.count(user, "creator_id" if code == "creator" else code, subject)}
        return ReasonFacts(
            video_id=item.video_id,
            creator=row["creator_id"],
            category=row["category"] or "",
            published_at=np.nan if row["published_at"] is None else row["published_at"],
            at=self.at,
            source=item.source,
            explored=item.propensity < 1,
            likeness={subject: self.cosine(item.video_id, subject) + 1e-5},
            shopper=ShopperContext(kinds={v: frozenset(k) for v, k in kinds.items()}, counts=counts),
            popularity=Popularity({item.video_id: PopularVideo(more, users[item.video_id])}, len(users)),
        )

    def check(self, user, items, users, seen):
        """Assert that all reasons of a list are true, and count their codes."""
        for item in items:
            for reason in item.reasons:
                code, _, subject = reason.partition(":")
                facts = self.facts(user, item, reason, users)
                assert self.holds(user, item, reason, users), (user, item, reason)
                assert REASONS[code].holds(subject, facts, CONFIG), (user, item, reason)
                seen[code] += 1
        seen["answers"] += 1


def random_truth(rng):
    """A shop of 30 videos, a third of which nobody has ever seen, with shoppers of few kinds of events."""
    names = [f"v{n}" for n in range(30)]
    videos = {
        name: {
            "video_id": name, "creator_id": "" if rng.random() < 0.1 else f"c{rng.integers(4)}",
            "category": None if rng.random() < 0.2 else f"k{rng.integers(3)}",
            "published_at": None if rng.random() < 0.2 else NOW - int(rng.integers(60)) * DAY_US,
            "duration_s": None if rng.random() < 0.2 else float(rng.integers(4, 60)),
            "available": rng.random() < 0.9,
        }
        for name in names
    }  # fmt: skip
    vectors = {name: rng.normal(size=3).astype(np.float32) for name in names if rng.random() < 0.9}
    events, seen = [], [*names[:20], "gone"]
    favorites = rng.permutation(seen)[:4]
    for user in range(12):
        # Some only like, or click, or fill their cart, and never watch.
        kinds = rng.choice(KINDS, size=rng.integers(1, 4), replace=False)
        for _ in range(rng.integers(0, 30)):
            kind = rng.choice(kinds)
            value = float(rng.choice([1.0, 5.0, 40.0])) if kind == "watch" and rng.random() < 0.8 else None
            video = rng.choice(favorites) if rng.random() < 0.4 else rng.choice(seen)
            at = NOW - int(rng.integers(1, 20 * DAY_US))
            events.append({
                "event_id": f"e{len(events)}", "user_id": f"u{user}", "video_id": str(video),
                "kind": str(kind), "value": value, "domain": "d", "at": at,
            })  # fmt: skip
    return Truth(videos, vectors, events, NOW)


def content_of(truth):
    base = shop().videos.to_pylist()[0] | {"tags": [], "kind": "clip"}
    videos = pa.Table.from_pylist([base | row for row in truth.videos.values()], schema=VIDEOS.arrow())
    flat = np.concatenate([*truth.vectors.values(), np.zeros(0, np.float32)])
    names = list(truth.vectors)
    columns = {
        "entity_id": names, "modality": ["fused"] * len(names), "encoder": ["e"] * len(names),
        "content_hash": names, "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), 3),
    }  # fmt: skip
    table = pa.table(columns).select([column.name for column in EMBEDDINGS.columns])
    return CatalogContent(videos, table)


def popularity_of(content, events):
    interest = InterestConfig()
    rows = aggregate_interactions(weigh_events(events, interest, content.videos), interest)
    return count_popularity(popular_videos(content.videos, rows, BundleConfig()), content.videos, rows)


@pytest.mark.parametrize("part", range(2))
def test_reasons_are_true_in_random_shops(part):
    seen = Counter()
    for seed in range(40):
        rng = np.random.default_rng([part, seed])
        truth = random_truth(rng)
        content, users = content_of(truth), truth.users_of()
        events = pa.Table.from_pylist(truth.events, schema=EVENTS.arrow())
        popularity = popularity_of(content, events)
        catalog = CatalogArrays.from_content(content)
        profiles = {
            profile.entity_id: profile
            for profile in profiles_from_table(build_profiles(events, content, ProfilesConfig()))
            if profile.entity == "user"
        }
        config = RerankConfig.model_validate({"default": {"exploration": {"scale": float(rng.integers(2))}}})
        for user in [*(f"u{n}" for n in range(7)), "nobody"]:
            shopper = shopper_context(profiles.get(user), RequestFilters())
            rows = np.sort(rng.permutation(len(truth.videos))[:20])
            rows = rows[np.argsort([catalog.video_ids[row] for row in rows])]
            draws = rng.random((4, len(rows))).astype(np.float32)
            predictions = RankerPredictions(draws[0], 9 * draws[1], draws[2] * draws[0], draws[3])
            sources = rng.choice(["cf", "content", "new", "popular"], len(rows)).tolist()
            query = query_of(10, user, at=NOW, request_id=f"r{seed}")
            candidates = RankedCandidates(query, shopper, catalog, rows, predictions, sources, popularity)
            truth.check(user, reranked_items(candidates, config), users, seen)
            popular = replace(candidates, sources=["popular"] * len(rows))
            truth.check(user, popular_items(popular, config), users, seen)
    assert seen["answers"] == 640
    assert set(seen) == {*REASONS, "answers"} - {"featured"}  # no shop here has rules


def shop_truth():
    """The small shop of the tests, as raw rows."""
    parts = shop_parts()
    at = shop().events.column("at").cast("int64").to_pylist()
    events = [row | {"at": moment} for row, moment in zip(shop().events.to_pylist(), at, strict=True)]
    videos = {}
    for row in parts.videos.to_pylist():
        published = row["published_at"]
        videos[row["video_id"]] = row | {
            "published_at": None if published is None else round(published.timestamp() * 1e6)
        }
    names, rows = (parts.fused.column(name).to_pylist() for name in ("entity_id", "vector"))
    vectors = {name: np.array(row) for name, row in zip(names, rows, strict=True)}
    return Truth(videos, vectors, events, now())


@pytest.mark.parametrize("interactions", [True, False], ids=["bundle", "bundle without interactions"])
def test_reasons_of_the_engine_and_of_the_fallback_are_true(bundle, interactions):
    """Shoppers of the shop, ones with other histories, and cold ones, beside videos nobody has seen."""
    truth, seen = shop_truth(), Counter()
    users = truth.users_of()
    if not interactions:
        newest = popular_videos(bundle.videos, None, BundleConfig())
        fields = {"popular": tuple(newest), "popularity": count_popularity(newest, bundle.videos, None)}
        bundle = ServingBundle(**{**bundle.__dict__, **fields})
    config = ServeConfig.model_validate(
        {"candidates": {"most": 40, "popular": 25, "content": 5, "new": 4},
         "rerank": {"default": {"exploration": {"scale": 1.0}}}}
    )  # fmt: skip
    unseen = [change(f"unseen-{n}", vector=np.eye(16)[n], published_at=None) for n in range(5)]
    for n in range(5):
        row = truth.videos["video-00"] | {"video_id": f"unseen-{n}", "published_at": None}
        truth.videos[f"unseen-{n}"], truth.vectors[f"unseen-{n}"] = row, np.eye(16)[n]
    engine = engine_of(bundle, config).with_changes(unseen)
    fallback = PopularFallback(bundle, config).with_changes(unseen)
    rng, content = np.random.default_rng(4), CatalogContent(shop_parts().videos, shop_parts().fused)
    for number in range(60):
        user, kinds = f"r{number}", rng.choice(KINDS, size=rng.integers(1, 3), replace=False)
        own = [
            {"event_id": f"{user}-{n}", "user_id": user, "kind": str(rng.choice(kinds)), "value": 30.0,
             "video_id": f"video-{rng.integers(100):02}", "domain": "d",
             "at": now() - int(rng.integers(DAY_US))}
            for n in range(rng.integers(0, 25))
        ]  # fmt: skip
        table = build_profiles(pa.Table.from_pylist(own, schema=EVENTS.arrow()), content, ProfilesConfig())
        profiles = {profile.entity_id: profile for profile in profiles_from_table(table)}
        for order in ("ranked", "popular"):
            query = query_of(40, user, order=order, request_id=f"{number}")
            found = engine.recommend(query, profiles.get(user, Profile("user", user)))
            Truth(truth.videos, truth.vectors, own, now()).check(user, found.items, users, seen)
        truth.check("nobody", fallback.answer(query_of(40, "nobody"), ("ranking",)).items, users, seen)
    assert seen["answers"] == 180
    assert (seen["popular"] > 0) == interactions
