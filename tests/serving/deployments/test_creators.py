"""Creators of the service over both stores: who is in a list, as events arrive, and what they add up to."""

import asyncio
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.direct import UnrankedService
from vrec.config.serve import ServeConfig
from vrec.serving.creators.entries import UnknownCreator
from vrec.serving.messages import RecommendQuery, RequestFilters
from vrec.serving.rules.book import RuleChange, ShopRule

NOW = time.time_ns() // 1000


def asynchronous(body):
    """Return the test that runs a coroutine function of these fixtures."""

    def test(config, shop_bundle):
        asyncio.run(body(config, shop_bundle))

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


@pytest.fixture
def config(store, tmp_path):
    values = {"data": str(tmp_path / "data"), "store": store, "refresh_s": 0.05}
    return ServeConfig.model_validate(values)


class Service(UnrankedService):
    """Takes events by their kind and target."""

    def __init__(self, config):
        super().__init__(config)
        self.sent = 0

    async def send(self, kind, target, user="u", at=None, value=None):
        self.sent += 1
        name = f"{user}-{self.sent}"
        row = (name, user, target, kind, value, None, None, None, "feed", at or NOW + self.sent)
        await self.api.apply([row])
        return name

    async def listed(self, user="u", kind="creator", k=100, **filters):
        query = RecommendQuery(
            f"r{self.sent}", user, "feed", k, time.time_ns() // 1000, RequestFilters(**filters)
        )
        return await self.api.creators.recommend(query, kind)

    async def ids(self, user="u", **more):
        found = await self.listed(user, **more)
        assert not found.degraded
        assert len({one.creator_id for one in found.creators}) == len(found.creators)
        return {one.creator_id for one in found.creators}


def creators_of(bundle):
    """Return the ids of a creator's videos by creator, those with an available one."""
    found = {}
    for row in bundle.parts.videos.to_pylist():
        if row["available"] and row["creator_id"]:
            found.setdefault(row["creator_id"], []).append(row["video_id"])
    return found


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["follow", "unfollow", "hide", "unhide", "click", "remove"]),
        st.integers(0, 3),
        st.booleans(),
        st.integers(-3, 3),
    ),
    max_size=14,
)


@asynchronous
async def test_no_list_has_who_is_followed_or_hidden_whatever_happened_before(config, shop_bundle):
    """Follows and hides of creators or from videos, in any order of time, removed events too."""
    service = await Service(config).start(shop_bundle)
    catalog = creators_of(shop_bundle)
    names = sorted(catalog)[:4]
    shoppers = iter(range(10_000))

    async def check(actions):
        user, log = f"shopper{next(shoppers)}", {}
        for kind, who, by_video, shift in actions:
            creator = names[who]
            if kind == "remove":
                if log:
                    gone = sorted(log)[who % len(log)]
                    await service.api.remove_event(gone)
                    del log[gone]
            else:
                # A shopper hides creators; hiding one video leaves the creator in lists.
                is_video = by_video and kind in ("follow", "click")
                target = catalog[creator][0] if is_video else f"creator:{creator}"
                at = NOW + 10 * service.sent + 40 * shift
                log[await service.send(kind, target, user, at)] = (at, kind, creator, target)
            out = {name for name in names if is_out(log.values(), name)}
            assert await service.ids(user) == set(catalog) - out

    loop = asyncio.get_running_loop()

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ACTIONS)
    def run(actions):
        asyncio.run_coroutine_threadsafe(check(actions), loop).result(60)

    try:
        await asyncio.to_thread(run)
    finally:
        await service.stop()


def is_out(log, creator):
    """Whether a shopper follows or has hidden a creator by a log; of one moment, what undoes is later."""
    last = {}
    for at, kind, name, _ in log:
        if name == creator:
            last[kind] = max(at, last.get(kind, 0))
    return last.get("follow", 0) > last.get("unfollow", 0) or last.get("hide", 0) > last.get("unhide", 0)


@asynchronous
async def test_bans_filters_blocks_and_excluded_ids_hold(config, shop_bundle):
    service = await Service(config).start(shop_bundle)
    catalog = creators_of(shop_bundle)
    first, second, *_ = sorted(catalog)
    try:
        everyone = await service.ids()
        assert everyone == set(catalog)
        assert first not in await service.ids(exclude=frozenset([first]))
        assert first not in await service.ids(blocked_creators=frozenset([first]))
        assert await service.ids(creators=frozenset([second])) == {second}
        rule = ShopRule("r", "ban", video_ids=tuple(catalog[first]))
        await service.api.rules.change(RuleChange("r", rule, "me", NOW, "q"), "any")
        assert await service.ids() == everyone - {first}
    finally:
        await service.stop()


@asynchronous
async def test_without_profiles_the_list_says_so(config, shop_bundle):
    service = await Service(config).start(shop_bundle)
    try:
        service.profiles.broken = TimeoutError()
        found = await service.listed(k=3)
        assert found.degraded == ("profiles",)
        assert len(found.creators) == 3
    finally:
        service.profiles.broken = None
        await service.stop()


@asynchronous
async def test_figures_follow_events_at_once(config, shop_bundle):
    service = await Service(config).start(shop_bundle)
    catalog = creators_of(shop_bundle)
    name = sorted(catalog)[0]
    try:
        await service.send("follow", f"creator:{name}", "u")
        await service.send("follow", catalog[name][0], "v")
        await service.send("gift", f"creator:{name}", "u", value=2.5)
        await service.send("gift", catalog[name][0], "u", value=1.0)
        entry, counts = await service.api.creators.get(name)
        assert counts == {"event:follow": 2, "event:gift": 2, "gifted": 3.5}
        assert entry.figures["creator_id"] == name
        assert entry.videos == sum(row["creator_id"] == name for row in shop_bundle.parts.videos.to_pylist())
        await service.send("unfollow", f"creator:{name}", "u")
        assert (await service.api.creators.get(name))[1]["event:follow"] == 1
        with pytest.raises(UnknownCreator, match="nobody"):
            await service.api.creators.get("nobody")
    finally:
        await service.stop()


@asynchronous
async def test_pages_have_each_creator_once(config, shop_bundle):
    service = await Service(config).start(shop_bundle)
    try:
        wanted = sorted({row["creator_id"] for row in shop_bundle.parts.videos.to_pylist()} - {""})
        after, found = "", []
        while True:
            page = await service.api.creators.page(after, 5, "creator")
            assert page.matching == len(wanted)
            found += [entry.creator_id for entry in page.entries]
            if not page.has_more:
                break
            after = found[-1]
        assert found == wanted
        live = {row["creator_id"] for row in shop_bundle.parts.videos.to_pylist() if row["kind"] == "live"}
        assert {one.creator_id for one in (await service.api.creators.page("", 500, "streamer")).entries} == (
            live - {""}
        )
        assert await service.ids(kind="streamer") <= live
    finally:
        await service.stop()
