"""Linked accounts in lists: what they add, and that a revoked link leaves nothing."""

from contextlib import closing, suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from tests.serving.recommend.linked import (
    NOW,
    SHOP,
    SOCIAL,
    T0,
    UNLISTED,
    event,
    plain,
    query,
    write_linked_bundle,
)
from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.profiles import linked, links
from vrec.profiles.linked import combine_profiles, read_shopper
from vrec.profiles.links import AccountLink, LinkTable, LinkTaken, UnknownLink, account_key
from vrec.profiles.profile import Profile
from vrec.profiles.stores.factory import open_store
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.messages import CatalogChange, RequestFilters
from vrec.serving.recommend.engine import RecommendEngine

USERS, ACCOUNTS, DOMAINS = ("ann", "bob"), ("a", "b"), ("social", "games")
TENANTS = (0, 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_linked_bundle(str(tmp_path_factory.mktemp("linked") / "bundle"))


@pytest.fixture(scope="module")
def engine(bundle):
    return RecommendEngine(bundle, ServeConfig())


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    found = RedisServer(tmp_path_factory.mktemp("redis"))
    yield found
    found.stop()


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def stores(request, bundle, redis_server, tmp_path_factory):
    """Two tenants' stores, and for each the store of a twin in which nobody is ever linked."""
    folder = tmp_path_factory.mktemp("stores")

    def place():
        return SqlitePlace(folder) if request.param == "sqlite" else RedisPlace(redis_server)

    facts = CurrentVideoFacts(bundle).find
    opened = [open_store(place().config, facts, bundle.profiles) for _ in range(2 * len(TENANTS))]
    yield opened[: len(TENANTS)], opened[len(TENANTS) :]
    for one in opened:
        one.close()


def shopper(store, bundle, user):
    half_life = bundle.profiles.user.interest.half_life_days
    return read_shopper(store, user, bundle.history_factors, half_life)


def answer(engine, user, profile):
    return plain(engine.recommend(query(user), profile or Profile("user", user)))


class LinkedWorld(RuleBasedStateMachine):
    """Events, links, revocations and erasures in any order, beside a twin without links."""

    bundle = engine = stores = None
    numbers = iter(range(1_000_000))

    @initialize()
    def begin(self):
        self.suffix = f"-{next(self.numbers)}"
        self.held: dict[tuple, str] = {}
        self.ended: dict[tuple, str] = {}

    def name(self, short):
        return short + self.suffix

    def both(self, tenant):
        return self.stores[0][tenant], self.stores[1][tenant]

    @rule(
        tenant=st.sampled_from(TENANTS),
        who=st.sampled_from([*USERS, *((d, a) for d in DOMAINS for a in ACCOUNTS)]),
        video=st.sampled_from([*SHOP[:6], *SOCIAL[:6], *sorted(UNLISTED)[:2], "never-seen"]),
        second=st.integers(0, 3),
        kind=st.sampled_from(["like", "click", "purchase", "hide", "unlike"]),
    )
    def act(self, tenant, who, video, second, kind):
        user = self.name(who) if isinstance(who, str) else account_key(who[0], self.name(who[1]))
        events = event(user, video, second, kind)
        for store in self.both(tenant):
            store.apply(events)

    @rule(
        tenant=st.sampled_from(TENANTS), user=st.sampled_from(USERS), domain=st.sampled_from(DOMAINS),
        account=st.sampled_from(ACCOUNTS),
    )  # fmt: skip
    def link(self, tenant, user, domain, account):
        key = (tenant, user, domain)
        owner = next((k for k, a in self.held.items() if (k[0], k[2], a) == (tenant, domain, account)), None)
        table = LinkTable(self.stores[0][tenant])
        given = AccountLink(self.name(user), domain, self.name(account), T0)
        if self.held.get(key) == account:
            assert table.add(given) == (given, False)
        elif key in self.held or owner is not None:
            with pytest.raises(LinkTaken):
                table.add(given)
        else:
            assert table.add(given) == (given, True)
            self.held[key] = account
            self.forget_ended(lambda k, a: k == key or (k[0], k[2], a) == (tenant, domain, account))

    @rule(tenant=st.sampled_from(TENANTS), user=st.sampled_from(USERS), domain=st.sampled_from(DOMAINS))
    def revoke(self, tenant, user, domain):
        key, table = (tenant, user, domain), LinkTable(self.stores[0][tenant])
        if key in self.held or key in self.ended:
            assert table.revoke(self.name(user), domain, NOW).revoked_at == NOW
        else:
            with pytest.raises(UnknownLink):
                table.revoke(self.name(user), domain, NOW)
        if key in self.held:
            self.ended[key] = self.held.pop(key)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), video=st.sampled_from(SOCIAL[:6]), second=st.integers(0, 3))
    def act_as_linked(self, data, video, second):
        (tenant, _, domain), account = data.draw(st.sampled_from(sorted(self.held.items())))
        self.act(tenant, (domain, account), video, second, "like")

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def revoke_held(self, data):
        self.revoke(*data.draw(st.sampled_from(sorted(self.held))))

    @rule(tenant=st.sampled_from(TENANTS), user=st.sampled_from(USERS))
    def erase_shopper(self, tenant, user):
        LinkTable(self.stores[0][tenant]).forget(self.name(user))
        for store in self.both(tenant):
            store.erase(self.name(user))
        self.forget(lambda key, _: key[:2] == (tenant, user))
        assert LinkTable(self.stores[0][tenant]).of(self.name(user)) == []

    @rule(tenant=st.sampled_from(TENANTS), domain=st.sampled_from(DOMAINS), account=st.sampled_from(ACCOUNTS))
    def erase_account(self, tenant, domain, account):
        name = account_key(domain, self.name(account))
        LinkTable(self.stores[0][tenant]).forget(name)
        for store in self.both(tenant):
            store.erase(name)
        self.forget(lambda key, other: (key[0], key[2], other) == (tenant, domain, account))

    def forget(self, gone):
        self.held = {key: account for key, account in self.held.items() if not gone(key, account)}
        self.forget_ended(gone)

    def forget_ended(self, gone):
        self.ended = {key: account for key, account in self.ended.items() if not gone(key, account)}

    @rule()
    def compare(self):
        """Who is not linked has the twin's profile and answers to the bit; who is, those of both."""
        for tenant in TENANTS:
            store, twin = self.both(tenant)
            for user in USERS:
                name = self.name(user)
                found, own = shopper(store, self.bundle, name), twin.get("user", [name]).get(name)
                want, account = own, self.held.get((tenant, user, "social"))
                if account is not None:
                    other = account_key("social", self.name(account))
                    profile = twin.get("user", [other]).get(other)
                    if profile is not None:
                        half_life = self.bundle.profiles.user.interest.half_life_days
                        parts = [(profile, self.bundle.history_factors["social"])]
                        want = combine_profiles(own or Profile("user", name), parts, half_life)
                assert type(found) is type(want)
                assert found == want
                assert answer(self.engine, name, found) == answer(self.engine, name, want)
                assert store.get("user", [name]).get(name) == own

    def teardown(self):
        self.compare()


def run_world(bundle, engine, stores, examples, phases=tuple(Phase)):
    world = type("World", (LinkedWorld,), {"bundle": bundle, "engine": engine, "stores": stores})
    run_state_machine_as_test(
        world,
        settings=settings(
            max_examples=examples, stateful_step_count=20, deadline=None, database=None, derandomize=True,
            phases=phases, report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_unlinked_and_revoked_shoppers_are_to_the_bit_as_never_linked(bundle, engine, stores):
    run_world(bundle, engine, stores, 10)


def _revoke_nothing(monkeypatch):
    def revoke(self, user_id, domain, at):
        claim = self._claim_of(user_id, domain)[1]
        if claim is None:
            raise UnknownLink("none")
        return replace(claim, revoked_at=at)

    monkeypatch.setattr(LinkTable, "revoke", revoke)


def _ignore_revocations(monkeypatch):
    def accounts(reader, user_id, domains):
        return {one.other_domain: one.account for one in links._claims(reader, user_id, domains)}

    monkeypatch.setattr(linked, "linked_accounts", accounts)


def _trust_the_shoppers_state_alone(monkeypatch):
    def claims(reader, user_id, domains=None):
        key = links._SHOPPER + user_id
        named = links._named(reader.states(links.LINKS_TABLE, [key]), key)[1]
        return [AccountLink(user_id, d, o, 0) for d, o in named.items() if domains is None or d in domains]

    monkeypatch.setattr(links, "_claims", claims)


def _keep_links_of_the_erased(monkeypatch):
    monkeypatch.setattr(LinkTable, "forget", lambda self, user_id: None)


def _mix_domains(monkeypatch):
    read = linked.linked_accounts

    def accounts(reader, user_id, domains):
        found = read(reader, user_id, ["games", *domains])
        return {"social": next(iter(found.values()))} if found else {}

    monkeypatch.setattr(linked, "linked_accounts", accounts)


def _let_two_shoppers_have_an_account(monkeypatch):
    def add(self, link):
        named = links._pack({link.other_domain: link.other_user_id})
        self._table.put_state(links.LINKS_TABLE, links._SHOPPER + link.user_id, named)
        self._table.put_state(links.LINKS_TABLE, links._ACCOUNT + link.account, links._pack_claim(link))
        return link, True

    monkeypatch.setattr(LinkTable, "add", add)


def _write_into_the_own_profile(monkeypatch):
    combine = linked.combine_profiles

    def combined(own, others, half_life_days):
        own.counts["interests"] = own.counts.get("interests", 0.0) + 1
        return combine(own, others, half_life_days)

    monkeypatch.setattr(linked, "combine_profiles", combined)


def _move_events_to_the_shopper(monkeypatch):
    add = LinkTable.add

    def added(self, link):
        result = add(self, link)
        with suppress(Exception):
            self._table.join(link.account, link.user_id)
            self._table.apply(event(link.user_id, SOCIAL[0]))
        return result

    monkeypatch.setattr(LinkTable, "add", added)


BUGS = (
    _revoke_nothing, _ignore_revocations, _trust_the_shoppers_state_alone, _keep_links_of_the_erased,
    _mix_domains, _let_two_shoppers_have_an_account, _write_into_the_own_profile, _move_events_to_the_shopper,
)  # fmt: skip


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__.strip("_"))
def test_planted_bugs_are_caught(plant, bundle, engine, tmp_path, monkeypatch):
    facts = CurrentVideoFacts(bundle).find
    opened = [open_store(SqlitePlace(tmp_path).config, facts, bundle.profiles) for _ in range(4)]
    plant(monkeypatch)
    try:
        with pytest.raises((AssertionError, UnknownLink, LinkTaken, pytest.fail.Exception)) as caught:
            run_world(bundle, engine, (opened[:2], opened[2:]), 60, [Phase.generate])
        assert "Unreliable" not in str(caught.value)
    finally:
        for one in opened:
            one.close()


@pytest.mark.parametrize("order", ["own first", "other first", "in turns"])
def test_the_order_in_which_events_of_one_moment_came_in_does_not_matter(bundle, engine, tmp_path, order):
    """Events of the shopper and of the account at equal times, in three orders of arrival."""
    own = [event("ann", video, n // 2) for n, video in enumerate(SHOP[:6])]
    other = [event(account_key("social", "a"), video, n // 2) for n, video in enumerate(SOCIAL[:6])]
    turns = [one for pair in zip(own, other, strict=True) for one in pair]
    found = []
    orders = {"own first": [*own, *other], "other first": [*other, *own], "in turns": turns}
    for events in (turns, orders[order]):
        place = SqlitePlace(tmp_path)
        with closing(open_store(place.config, CurrentVideoFacts(bundle).find, bundle.profiles)) as store:
            LinkTable(store).add(AccountLink("ann", "social", "a", T0))
            for one in events:
                store.apply(one)
            profile = shopper(store, bundle, "ann")
            found.append((profile, answer(engine, "ann", profile)))
    assert found[0] == found[1]


def linked_profile(stores, bundle, user, account, videos):
    store = stores[0][0]
    for n, video in enumerate(videos):
        store.apply(event(account_key("social", account), video, n))
    LinkTable(store).add(AccountLink(user, "social", account, T0))
    return shopper(store, bundle, user)


def test_what_a_newcomer_watched_elsewhere_leads_to_the_taste_also_by_videos_that_only_the_fit_knows(
    bundle, engine, stores
):
    assert bundle.history_factors["social"] > 0
    for name, videos in (("listed", SOCIAL[:20:4]), ("unlisted", sorted(UNLISTED)[::4])):
        profile = linked_profile(stores, bundle, f"new-{name}", f"acc-{name}", videos)
        items = engine.recommend(query("n", 6), profile).items
        tastes = [int(item.video_id[1:]) % 4 for item in items]
        assert tastes.count(0) >= 4, (name, items)
        assert {item.source for item in items} >= {"cf"}
    strangers = engine.recommend(query("n", 6), Profile("user", "n")).items
    assert [int(item.video_id[1:]) % 4 for item in strangers].count(0) < 4


def cf_scores(engine, user, profile):
    """Return the score by neighbors of each of five videos."""
    result = engine.recommend(query(user, 5, candidates=tuple(SHOP[3:8])), profile)
    pairs = zip(result.items, result.scores, strict=True)
    return {item.video_id: scores.get("cf", 0.0) for item, scores in pairs}


def test_own_weights_are_those_of_the_unlinked_and_the_others_are_scaled(bundle, engine, stores):
    store, account = stores[0][0], account_key("social", "acc-both")
    for n, video in enumerate(SHOP[:3]):
        store.apply(event("both", video, n))
    own = cf_scores(engine, "both", shopper(store, bundle, "both"))
    both = cf_scores(engine, "both", linked_profile(stores, bundle, "both", "acc-both", SOCIAL[:3]))
    other = cf_scores(engine, "x", store.get("user", [account])[account])
    assert any(other.values())
    factor = bundle.history_factors["social"]
    for name, score in both.items():
        assert score == pytest.approx(own[name] + factor * other[name], rel=1e-6)


def test_videos_of_other_domains_are_in_no_list_even_after_a_change(bundle, engine, stores):
    profile = linked_profile(stores, bundle, "lists", "acc-lists", SOCIAL[:5])
    row = bundle.videos.filter(pc.equal(bundle.videos["video_id"], SOCIAL[0]))
    new = row.set_column(0, "video_id", [["brand-new"]])
    changed = engine.with_changes([CatalogChange(SOCIAL[0], NOW, row), CatalogChange("brand-new", NOW, new)])
    for one in (engine, changed):
        lists = [
            one.recommend(query("lists", 100), profile),
            one.recommend(query("lists", 100, order="popular"), profile),
            one.recommend(query("lists", 100, candidates=(*SOCIAL[:9], "brand-new", SHOP[0])), profile),
            one.similar(SOCIAL[0], 100, RequestFilters(), NOW),
            one.search("video", None, 100, RequestFilters(), NOW),
        ]
        for result in lists:
            assert {item.video_id for item in result.items} <= set(SHOP)
        assert lists[0].items
        assert lists[3].items


def test_a_domain_of_weight_0_does_nothing(tmp_path, stores):
    bundle = write_linked_bundle(str(tmp_path / "bundle"), weight=0.0)
    assert bundle.history_factors == {"social": 0.0}
    assert bundle.other_videos == ()
    linked_profile(stores, bundle, "zero", "acc-zero", SOCIAL[:5])
    assert shopper(stores[0][0], bundle, "zero") is None
