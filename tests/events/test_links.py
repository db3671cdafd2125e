"""Links of accounts: what they join, and that a revoked one leaves nothing."""

from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.rows import START, day, events, videos
from vrec.core.errors import EventsError
from vrec.core.schema import LINKS
from vrec.events.links import link_shoppers, read_links, without_accounts

PEOPLE = ["ann", "bo", "cy"]
ACCOUNTS = ["ann", "x", "y"]
NOW = day(50)


def catalog() -> pa.Table:
    """Three videos of the shop and three of the social network."""
    table = videos(**dict.fromkeys(("s0", "s1", "s2", "n0", "n1", "n2"), 9.0))
    place = table.schema.get_field_index("domain")
    return table.set_column(place, table.schema.field(place), pa.array(["shop"] * 3 + ["social"] * 3))


def links(*rows: tuple[str, str, float, float | None]) -> pa.Table:
    """LINKS of (shopper, account in the social network, day of consent, day of revocation)."""
    made = [
        {"user_id": user, "other_user_id": other, "other_domain": "social", "consented_at": day(since)}
        | {"revoked_at": None if until is None else day(until)}
        for user, other, since, until in rows
    ]
    return pa.Table.from_pylist(made, schema=LINKS.arrow())


def some_events() -> st.SearchStrategy[pa.Table]:
    shop = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["s0", "s1", "s2", "unknown"]))
    social = st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(["n0", "n1", "n2"]))
    rows = st.lists(st.one_of(shop, social), min_size=1, max_size=20)
    return rows.map(lambda rows: events(*({"user_id": u, "video_id": v, "kind": "like"} for u, v in rows)))


LINK = st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(ACCOUNTS), st.integers(0, 60), st.none() | st.integers(0, 60)
)


def reference(table: pa.Table, rows: list[tuple[str, str, float, float | None]]) -> list[tuple[str, str]]:
    owners = {}
    for user, other, since, until in sorted(rows, key=lambda row: (row[2], row[0])):
        if since <= 50 and (until is None or until > 50):
            owners[other] = user
    found = []
    for row in table.to_pylist():
        if row["video_id"].startswith("n") and rows:
            if row["user_id"] in owners:
                found.append((owners[row["user_id"]], row["video_id"]))
        else:
            found.append((row["user_id"], row["video_id"]))
    return found


@given(some_events(), st.lists(LINK, max_size=6, unique_by=lambda row: row[:3]))
@settings(deadline=None, max_examples=80)
def test_accounts_are_joined_as_one_by_one_and_in_the_order_of_the_log(table, rows):
    found = link_shoppers(table, catalog(), links(*rows), NOW)
    pairs = list(zip(found["user_id"].to_pylist(), found["video_id"].to_pylist(), strict=True))
    assert pairs == reference(table, rows)
    assert found.schema.equals(table.schema)


@given(some_events(), st.lists(LINK, min_size=1, max_size=6, unique_by=lambda row: row[:3]), st.data())
@settings(deadline=None, max_examples=50)
def test_what_is_revoked_is_to_the_bit_as_if_it_had_never_been_linked(table, rows, data):
    kept = [(user, other, since, None) for user, other, since, _ in rows]
    place = data.draw(st.integers(0, len(kept) - 1))
    revoked = [(*row[:3], 40) if n == place else row for n, row in enumerate(kept)]
    without = [row for n, row in enumerate(kept) if n != place]
    # One link that joins nothing keeps the social network another domain when no other is left.
    keep = ("cy", "nobody", 0, None)
    ours = link_shoppers(table, catalog(), links(keep, *revoked), NOW)
    assert ours.equals(link_shoppers(table, catalog(), links(keep, *without), NOW))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,other_user_id\na,b\n", "no column other_domain, consented_at"),
        (
            "user_id,other_user_id,other_domain,consented_at\na,,social,2026-01-01T00:00:00Z\n",
            "other_user_id has 1",
        ),
        ("user_id,other_user_id,other_domain,consented_at\na,b,social,soon\n", "consented_at has 1"),
        ("user_id,other_user_id,other_domain,consented_at\na,b,social,\n", "consented_at has 1 missing"),
    ],
)
def test_what_is_no_link_is_named(tmp_path, text, message):
    path = tmp_path / "links.csv"
    path.write_text(text)
    with pytest.raises(EventsError, match=message) as caught:
        read_links(str(path))
    assert "LINKS" in caught.value.fix


def test_links_are_read_from_any_usual_format(tmp_path):
    table = links(("ann", "x", 0, None), ("bo", "007", 1, 2.5))
    (tmp_path / "l.csv").write_text(
        "user_id,other_user_id,other_domain,consented_at,revoked_at\n"
        f"ann,x,social,{START.isoformat()},\n"
        f"bo,007,social,{day(1).isoformat()},{(START + timedelta(days=2.5)).isoformat()}\n"
    )
    assert read_links(str(tmp_path / "l.csv")).equals(table)
    (tmp_path / "n.csv").write_text(
        f"user_id,other_user_id,other_domain,consented_at\nann,x,social,{START.isoformat()}\n"
    )
    assert read_links(str(tmp_path / "n.csv")).equals(table.slice(0, 1))


@given(some_events(), st.lists(LINK, max_size=5))
@settings(deadline=None, max_examples=60)
def test_events_that_a_service_stored_say_of_which_domain_the_account_is(table, rows):
    """Under the ids of a service the events of accounts are joined as under their own, and never without."""
    named = [
        f"domain:social:{row['user_id']}" if row["video_id"].startswith("n") else row["user_id"]
        for row in table.to_pylist()
    ]
    user_id = table.schema.field("user_id")
    stored = table.set_column(table.column_names.index("user_id"), user_id, pa.array(named))
    found, plain = (link_shoppers(one, catalog(), links(*rows), NOW) for one in (stored, table))
    if rows:
        assert found.equals(plain)
    assert not any(name.startswith("domain:") for name in found["user_id"].to_pylist())
    own = [not name.startswith("domain:") for name in named]
    assert without_accounts(stored).equals(table.filter(pa.array(own)))
    # Of an account is also what the catalog knows of the shop, or not at all.
    of_shop = stored.set_column(
        table.column_names.index("video_id"), "video_id", pa.array(["s0"] * table.num_rows)
    )
    kept = link_shoppers(of_shop, catalog(), links(), NOW)
    assert kept.num_rows == sum(own)
