"""Rules of the shop in the lists of an engine and of the fallback."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.recommend.engines import change, engine_of, ids, now, query_of, shoppers
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.rules.book import NO_BOOK, RuleBook, RuleChange, ShopRule, pack_change

HOUR_US = 3_600_000_000
PATIENT = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def book_of(*rules):
    records = [
        (number, pack_change(RuleChange(rule.rule_id, rule, "ann", now(), "r")))
        for number, rule in enumerate(rules, start=1)
    ]
    return NO_BOOK.after(records)


@pytest.fixture(scope="module")
def engine(bundle):
    return engine_with(bundle)


def engine_with(bundle, scale=1.0, **more):
    values = {"rerank": {"default": {"exploration": {"scale": scale}}}} | more
    return engine_of(bundle, ServeConfig.model_validate(values))


@cache
def user():
    return shoppers()[4]


def categories(engine):
    return {name: engine.card(name)["category"] for name in engine.video_ids}


NAMES = st.sampled_from([f"video-{number:02d}" for number in range(100)])
TIMES = st.sampled_from([None, now() - HOUR_US, now() + HOUR_US])


@st.composite
def any_rules(draw):
    rules = []
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["pin", "boost", "ban", "campaign"]))
        by_expression = kind != "pin" and draw(st.booleans())
        rules.append(
            ShopRule(
                f"{kind}-{number}",
                kind,
                ()
                if by_expression
                else tuple(draw(st.lists(NAMES, min_size=1, max_size=8 if kind != "pin" else 1))),
                draw(st.sampled_from(["price < 20", 'not category = "mugs"', 'kind = "clip"']))
                if by_expression
                else None,
                surfaces=draw(st.sampled_from([(), ("shop",), ("feed",)])),
                position=draw(st.integers(0, 12)),
                factor=draw(st.sampled_from([0.1, 3.0])),
                share=draw(st.sampled_from([0.1, 0.25, 0.5])),
                starts_at=draw(TIMES),
                ends_at=draw(TIMES),
            )
        )
    return rules


def videos_of(engine, rule):
    if rule.expression is None:
        return set(rule.video_ids)
    everything = engine.recommend(query_of(100, filters=RequestFilters()), user())
    cards = {name: engine.card(name) for name in engine.video_ids}
    tests = {
        "price < 20": lambda card: (card["price"] or 0) < 20,
        'not category = "mugs"': lambda card: card["category"] != "mugs",
        'kind = "clip"': lambda card: card["kind"] == "clip",
    }
    assert everything.items
    return {name for name, card in cards.items() if tests[rule.expression](card)}


def in_force(rule, surface):
    started = rule.starts_at is None or rule.starts_at <= now()
    return (
        started
        and (rule.ends_at is None or now() < rule.ends_at)
        and surface in (rule.surfaces or (surface,))
    )


@given(rules=any_rules(), k=st.integers(1, 100), order=st.sampled_from(["ranked", "popular"]))
@PATIENT
def test_what_rules_promise_holds_in_every_list(engine, bundle, rules, k, order):
    book, fallback = book_of(*rules), PopularFallback(bundle, ServeConfig())
    query = query_of(k, user().entity_id, order=order, explain=True)
    answers = [engine.recommend(query, user(), book), fallback.answer(query, ("ranking",), book)]
    answers.append(engine.similar("video-01", k, RequestFilters(), now(), book))
    answers.append(engine.search("video", None, k, RequestFilters(), now(), book=book))
    for answer, surface in zip(answers, ("shop", "shop", "similar", "search"), strict=True):
        held = [rule for rule in rules if in_force(rule, surface)]
        banned = set().union(*(videos_of(engine, rule) for rule in held if rule.kind == "ban"))
        assert not banned & set(ids(answer))
        assert len(set(ids(answer))) == len(answer.items)
    for answer in answers[:2]:
        check_placed(engine, answer, [rule for rule in rules if in_force(rule, "shop")], k)
    without = engine.recommend(query, user(), book_of(*(rule for rule in rules if in_force(rule, "shop"))))
    assert ids(answers[0]) == ids(without), "rules that are not in force change nothing"


def check_placed(engine, answer, rules, k):
    everything = {name for name in engine.video_ids if engine.card(name)["available"]}
    names, placed = ids(answer), {item.video_id: item for item in answer.items}
    pins = [rule for rule in rules if rule.kind == "pin"]
    taken, seen = set(), set()
    for rule in sorted(pins, key=lambda rule: (rule.position, rule.rule_id)):
        (video,) = rule.video_ids
        if video in seen:
            continue
        seen.add(video)
        position = next(at for at in range(rule.position, 99) if at not in taken)
        if video in names and names.index(video) != position:
            # The list is too short to reach its position, and ends with it.
            assert names.index(video) < position
            assert len(names) < min(k, len(everything))
        if video in names:
            taken.add(position)
            assert f"pin:{rule.rule_id}" in placed[video].rules
            assert f"featured:{rule.rule_id}" in placed[video].reasons
            assert placed[video].propensity == 1.0
    pinned = len(taken)
    campaigns = [(rule, videos_of(engine, rule)) for rule in rules if rule.kind == "campaign"]
    if len(campaigns) == 1 and not pinned:
        rule, videos = campaigns[0]
        for end in range(1, len(names) + 1):
            owed = math.floor(rule.share * end + 1e-9)
            # All that it could have are in the list already, or it has its share.
            assert len(videos & set(names[:end])) >= min(owed, len(videos & set(names)))
    for item in answer.items:
        assert all(name.partition(":")[2] in {rule.rule_id for rule in rules} for name in item.rules)
        if "campaign" in {name.partition(":")[0] for name in item.rules}:
            assert any(item.video_id in videos for _, videos in campaigns)


def test_pins_and_bans_name_themselves(engine):
    usual = ids(engine.recommend(query_of(10, user().entity_id), user()))
    last = ids(engine.recommend(query_of(100, user().entity_id), user()))[-1]
    book = book_of(
        ShopRule("hello", "pin", (last,), position=2),
        ShopRule("no", "ban", (usual[0],)),
        ShopRule("more", "boost", (usual[5],), factor=50.0),
    )
    answer = engine.recommend(query_of(10, user().entity_id, explain=True), user(), book)
    assert ids(answer)[2] == last
    assert answer.items[2].rules == ("pin:hello",)
    assert answer.items[2].reasons[-1] == "featured:hello"
    assert (usual[0], "ban:no") in answer.barred
    assert answer.excluded_by_rule["ban"] == 1
    boosted = next(item for item in answer.items if item.video_id == usual[5])
    assert boosted.rules == ("boost:more",)
    assert ids(answer).index(usual[5]) == 0
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("bar", ["filter", "hidden", "unavailable", "ban"])
def test_a_pin_does_not_override_what_bars_a_video(bundle, engine, bar):
    name = ids(engine.recommend(query_of(100, user().entity_id), user()))[-1]
    rules, query, own = [ShopRule("p", "pin", (name,), position=0)], query_of(10, user().entity_id), engine
    if bar == "filter":
        query = query_of(10, filters=RequestFilters(exclude=frozenset({name})))
    if bar == "hidden":
        query = query_of(
            10, filters=RequestFilters(blocked_creators=frozenset({engine.card(name)["creator_id"]}))
        )
    if bar == "unavailable":
        own = engine.with_changes([change(name, available=False)])
    if bar == "ban":
        rules.append(ShopRule("b", "ban", (name,)))
    answer = own.recommend(query, user(), book_of(*rules))
    assert len(answer.items) == 10
    assert name not in ids(answer)
    assert ids(engine.recommend(query_of(10, user().entity_id), user(), book_of(rules[0])))[0] == name


def test_a_pin_of_a_category_page_is_on_no_other(engine):
    by_category = categories(engine)
    one, other = sorted(set(by_category.values()))[:2]
    name = sorted(
        video
        for video, category in by_category.items()
        if category == one and engine.card(video)["available"]
    )[0]
    book = book_of(ShopRule("p", "pin", (name,), position=3, categories=(one,)))

    def page(*names):
        filters = RequestFilters(categories=frozenset(names) or None)
        return engine.recommend(query_of(10, user().entity_id, filters=filters), user(), book)

    assert ids(page(one))[3] == name
    for answer in (page(), page(other), page(one, other)):
        assert not any(item.rules for item in answer.items)


@pytest.mark.parametrize("order", ["ranked", "popular"])
def test_the_share_of_a_campaign_is_kept_over_pages(engine, order):
    videos = tuple(sorted(engine.video_ids))[:40]
    book = book_of(ShopRule("c", "campaign", videos, share=0.3, starts_at=now() - 1, ends_at=now() + 1))
    shown = []
    for _ in range(6):
        query = query_of(
            7,
            user().entity_id,
            order=order,
            shown=tuple(shown),
            filters=RequestFilters(exclude=frozenset(shown)),
        )
        shown += ids(engine.recommend(query, user(), book))
        for end in range(1, len(shown) + 1):
            assert len(set(videos) & set(shown[:end])) >= min(math.floor(0.3 * end), 12)
    assert len(shown) == len(set(shown)) == 42


def test_rules_of_the_caller_s_own_candidates_add_none(engine):
    named = tuple(sorted(engine.video_ids))[:12]
    other = tuple(sorted(engine.video_ids))[-1]
    book = book_of(
        ShopRule("p", "pin", (other,)),
        ShopRule("q", "pin", (named[7],)),
        ShopRule("c", "campaign", (other,), share=1.0),
    )
    answer = engine.recommend(query_of(12, candidates=named), user(), book)
    assert set(ids(answer)) <= set(named)
    assert ids(answer)[0] == named[7] or not engine.card(named[7])["available"]


def test_rules_follow_the_catalog(engine):
    book = book_of(ShopRule("b", "ban", expression='tag = "zanzibar"'))
    name = ids(engine.recommend(query_of(10), user(), book))[0]
    tagged = engine.with_changes([change(name, tags=["zanzibar"])])
    assert name not in ids(tagged.recommend(query_of(100), user(), book))
    assert name in ids(engine.recommend(query_of(100), user(), book))
    back = tagged.with_changes([change(name)])
    assert name in ids(back.recommend(query_of(100), user(), book))


def test_propensities_with_rules_are_the_frequencies(bundle):
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
    from propensities import compare

    engine, nobody = (
        engine_with(bundle, scale=3.0, candidates={"most": 24, "content": 6, "popular": 6, "new": 6}),
        Profile("user", "nobody"),
    )
    names = sorted(engine.video_ids)
    book = book_of(
        ShopRule("p", "pin", (names[5],), position=1),
        ShopRule("c", "campaign", tuple(names[20:60]), share=0.5),
        ShopRule("f", "boost", tuple(names[::3]), factor=2.0),
        ShopRule("b", "ban", tuple(names[1::7])),
    )
    answers = []
    for number in range(800):
        answer = engine.recommend(query_of(3, "nobody", request_id=f"r{number}"), nobody, book)
        answers.append([(item.video_id, item.propensity) for item in answer.items])
    assert compare(answers).holds
    assert len({tuple(name for name, _ in items) for items in answers}) > 1
    assert {items[1] for items in answers} == {(names[5], 1.0)}


@given(any_rules(), st.lists(NAMES, min_size=1, max_size=5, unique=True))
@PATIENT
def test_a_banned_video_says_so_itself(bundle, rules, names):
    book, fallback, at = book_of(*rules), PopularFallback(bundle, ServeConfig()), now()
    for name in names:
        query = query_of(at=at, candidates=(name,), surface="feed")
        excluded = fallback.answer(query, (), book).excluded_by_rule
        entry = fallback.entry(name, at, book)
        without = fallback.entry(name, at).barred_by
        assert set(entry.barred_by) - {"ban"} == set(without)
        # A list counts a video once, by the first of its reasons.
        assert without or ("ban" in entry.barred_by) == ("ban" in excluded)
    assert "ban" in fallback.entry(names[0], at, book_of(ShopRule("b", "ban", (names[0],)))).barred_by


def test_a_book_of_many_rules_is_as_good_as_its_records():
    rules = [ShopRule(f"r{n}", "ban", (f"v{n}",), note="é") for n in range(9)]
    book = book_of(*rules)
    assert book.rules == rules
    assert book.after([(10, pack_change(RuleChange("r3", None, None, 1, "q")))]).rules == [
        *rules[:3],
        *rules[4:],
    ]
    assert book.after([(10, b"\xc1"), (11, pack_change(RuleChange("r0", None, None, 1, "q")))]).number == 11
    assert RuleBook() == NO_BOOK
    assert np.isclose(book.with_draft("r1", None).number, -1)
