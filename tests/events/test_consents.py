"""CONSENTS as they are read, and tables without those who do not consent."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import EventsError
from vrec.core.schema import FOLLOWS, LINKS
from vrec.events.consents import CONSENTS, ShopperConsents, read_consents

USERS = ("ann", "bob", "eve")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(USERS), st.sampled_from(("personalise", "train", "link")), st.booleans(),
        st.integers(0, 3),
    )
)  # fmt: skip


def table(rows):
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, CONSENTS.arrow(), strict=True)],
        schema=CONSENTS.arrow(),
    )


@given(rows=ROWS, default=st.booleans())
def test_the_last_answer_counts_and_of_one_moment_the_refusal(rows, default):
    def consents(user, purpose):
        answers = [(at, not given) for name, about, given, at in rows if (name, about) == (user, purpose)]
        return not max(answers)[1] if answers else default

    kept = ShopperConsents(table(rows), default)
    asked = pa.table({"user_id": [*USERS, "new", "ann"]})
    wanted = [user for user in asked.column("user_id").to_pylist() if consents(user, "train")]
    assert kept.keep(asked, "train").column("user_id").to_pylist() == wanted
    links = pa.Table.from_pylist(
        [{"user_id": user, "other_user_id": "x", "other_domain": "d", "consented_at": 0, "revoked_at": None}
         for user in USERS], LINKS.arrow(),
    )  # fmt: skip
    both = [user for user in USERS if consents(user, "train") and consents(user, "link")]
    assert kept.keep_links(links).column("user_id").to_pylist() == both
    follows = [
        {"user_id": user, "entity": entity, "entity_id": other, "at": 0, "ended_at": None}
        for user in USERS
        for entity in ("creator", "user")
        for other in USERS
    ]
    wanted = [
        row
        for row in follows
        if consents(row["user_id"], "train")
        and (row["entity"] == "creator" or consents(row["entity_id"], "train"))
    ]
    found = kept.keep_follows(pa.Table.from_pylist(follows, FOLLOWS.arrow()))
    assert found.equals(pa.Table.from_pylist(wanted, FOLLOWS.arrow()))


def test_parquet_and_text_are_read_alike(tmp_path):
    rows = table([("ann", "train", False, 1_700_000_000_000_000), ("7", "link", True, 1_700_000_001_000_000)])
    pq.write_table(rows, tmp_path / "consents.parquet")
    (tmp_path / "consents.csv").write_text(
        "user_id,purpose,given,at\nann,train,false,2023-11-14T22:13:20Z\n7,link,TRUE,2023-11-14T22:13:21Z\n"
    )
    (tmp_path / "consents.jsonl").write_text(
        '{"user_id": "ann", "purpose": "train", "given": false, "at": "2023-11-14T22:13:20+00:00"}\n'
        '{"user_id": "7", "purpose": "link", "given": true, "at": "2023-11-14T22:13:21+00:00"}\n'
    )
    for ending in ("parquet", "csv", "jsonl"):
        assert read_consents(str(tmp_path / f"consents.{ending}")).equals(rows), ending


def test_all_problems_are_named(tmp_path):
    path = tmp_path / "consents.csv"
    path.write_text("user_id,purpose,given,at\n,train,maybe,2023-11-14T22:13:20Z\nann,ads,true,\n")
    with pytest.raises(EventsError) as caught:
        read_consents(str(path))
    assert all(name in str(caught.value) for name in ("user_id", "purpose", "given", "at has", "'ads'"))
    path.write_text("user_id,purpose\nann,train\n")
    with pytest.raises(EventsError, match="no column given, at"):
        read_consents(str(path))
