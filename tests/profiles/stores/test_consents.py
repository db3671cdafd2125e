"""Consents in both kinds of stores: durable, joined by the stricter answer, and gone after an erasure."""

from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import SqlitePlace
from vrec.privacy.consent.table import (
    CONSENTS_TABLE,
    PURPOSES,
    ConsentAnswer,
    ConsentTable,
    read_answers,
    stricter,
)
from vrec.profiles.consented import without_consent
from vrec.profiles.links import AccountLink, LinkTable

NAMES = iter(range(1_000_000))
ANSWERS = st.dictionaries(
    st.sampled_from(PURPOSES), st.builds(ConsentAnswer, st.booleans(), st.integers(0, 10**15), st.none())
)


def given_(answers):
    return {purpose: answer.given for purpose, answer in answers.items()}


@given(puts=st.lists(ANSWERS, min_size=1, max_size=6))
@settings(max_examples=15)
def test_the_last_answer_to_each_purpose_counts_with_the_time_of_the_change(store, puts):
    table, user, expected = ConsentTable(store), f"u{next(NAMES)}", {}
    for answers in puts:
        for purpose, answer in answers.items():
            if purpose not in expected or expected[purpose].given != answer.given:
                expected[purpose] = answer
        assert table.put(user, answers) == expected
        assert table.of(user) == expected


@given(mine=ANSWERS, theirs=ANSWERS, late=ANSWERS)
@settings(max_examples=15)
def test_a_session_that_joins_leaves_the_stricter_answers(store, mine, theirs, late):
    table, number = ConsentTable(store), next(NAMES)
    session, user = f"session:s{number}", f"u{number}"
    table.put(session, mine)
    table.put(user, theirs)
    table.prepare_join(session, user)
    refused = {purpose for one in (mine, theirs) for purpose, a in one.items() if not a.given}
    assert {purpose for purpose, a in table.of(user).items() if not a.given} == refused
    store.join(session, user)
    table.join(session, user)
    assert given_(table.of(user)) == given_(stricter(mine, theirs))
    assert table.of(session) == table.of(user)
    assert not store.states(CONSENTS_TABLE, [session])
    table.put(session, late)
    assert given_(table.of(user)) == given_(stricter(mine, theirs)) | given_(late)


def test_an_answer_to_a_session_that_joins_meanwhile_is_the_accounts(store):
    table, number = ConsentTable(store), next(NAMES)
    session, user = f"session:s{number}", f"u{number}"

    class JoiningStore:
        def __getattr__(self, name):
            return getattr(store, name)

        def put_state(self, *args, **more):
            store.join(session, user)
            return store.put_state(*args, **more)

    ConsentTable(JoiningStore()).put(session, {"train": ConsentAnswer(given=False, at=1)})
    assert given_(table.of(user)) == {"train": False}
    assert not store.states(CONSENTS_TABLE, [session])


@pytest.mark.parametrize("default", [True, False])
def test_accounts_have_the_answer_of_their_shopper(store, default):
    number = next(NAMES)
    ann, bob, eve = (f"{name}{number}" for name in ("ann", "bob", "eve"))
    links = {name: AccountLink(name, "social", f"{name}-acc", 1) for name in (ann, bob)}
    for link in links.values():
        LinkTable(store).add(link)
    accounts = {name: link.account for name, link in links.items()}
    ConsentTable(store).put(ann, {"personalise": ConsentAnswer(given=False, at=1)})
    ConsentTable(store).put(bob, {"personalise": ConsentAnswer(given=True, at=1)})
    asked = [ann, bob, eve, *accounts.values(), "domain:social:nobody"]
    refused = without_consent(store, asked, "personalise", default=default)
    assert refused == {ann, accounts[ann]} | (set() if default else {eve})
    LinkTable(store).revoke(ann, "social", 2)
    assert accounts[ann] not in without_consent(store, asked, "personalise", default=default)


def test_answers_survive_and_leave_no_trace_once_forgotten(tmp_path):
    place, user, key = SqlitePlace(tmp_path), "refuser-of-everything", "key-of-the-shop"
    with closing(place.open()) as store:
        ConsentTable(store).put(user, {"train": ConsentAnswer(given=False, at=7, by=key)})
    with closing(place.open()) as store:
        assert ConsentTable(store).of(user) == {"train": ConsentAnswer(given=False, at=7, by=key)}
        assert ConsentTable(store).forget(user)
        assert not ConsentTable(store).forget(user)
        assert read_answers(store, [user]) == {}
        store.erase(user)
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert user.encode() not in files
        assert key.encode() not in files


@given(users=st.sets(st.text("abc", min_size=1, max_size=3), max_size=12), limit=st.integers(1, 5))
@settings(max_examples=10)
def test_pages_have_every_shopper_who_answered(store, users, limit):
    table, number = ConsentTable(store), next(NAMES)
    names = {f"{number}-{user}" for user in users}
    for name in names:
        table.put(name, {"train": ConsentAnswer(given=False, at=1)})
    found, after = [], 0
    while True:
        page, after = table.after(after, limit)
        found += [name for name, answers in page if answers]
        if not after:
            break
    assert names <= set(found)
