"""Pseudonyms of whole tables: joins that stay, joins that end, and a change of keys."""

import warnings

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vrec.core.errors import DataWarning, PrivacyError
from vrec.core.table_batches import open_table
from vrec.events.columns import as_text
from vrec.privacy.door.ids import DoorIds
from vrec.privacy.id_columns import TablePseudonyms
from vrec.privacy.pseudonyms import Pseudonymizer
from vrec.serving.door.job import raw_ids

KEY, NEW, LINK, OTHER = (bytes([n]) * 32 for n in (1, 2, 3, 4))
IDS = st.sampled_from(["", "1", "2", "u3", "session:4", None])
DOMAINS = st.sampled_from(["shop", "social", None])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def stored(folder, table):
    pq.write_table(table, folder / "t.parquet", row_group_size=3)
    return open_table(str(folder / "t.parquet"))


def whole(schema, batches):
    return pa.Table.from_batches(list(batches), schema)


@given(rows=st.lists(st.tuples(IDS, DOMAINS, IDS), min_size=1, max_size=12))
def test_rows_are_equal_where_ids_and_domains_were(folder, rows):
    users, domains, events = (pa.array(part, pa.string()) for part in zip(*rows, strict=True))
    table = pa.table({"event_id": events, "n": range(len(rows)), "user_id": users, "domain": domains})
    found = whole(*TablePseudonyms(KEY, "t").apply(stored(folder, table)))
    assert found.drop_columns(["user_id", "event_id"]) == table.drop_columns(["user_id", "event_id"])
    for (user, domain, event), row in zip(rows, found.to_pylist(), strict=True):
        for text, column, kind in ((user, "user_id", "user"), (event, "event_id", "event")):
            expected = None if text is None else Pseudonymizer(KEY, "t", domain or "shop", kind)(text)
            assert row[column] == expected
    rotated = TablePseudonyms(NEW, "t")
    old = TablePseudonyms(KEY, "t")
    ids = {user for user, _, _ in rows if user}
    again = whole(*rotated.rotate(stored(folder, found), old, ids))
    direct = whole(*TablePseudonyms(NEW, "t").apply(stored(folder, table)))
    assert again.drop_columns(["event_id"]) == direct.drop_columns(["event_id"])


def links(folder):
    return stored(
        folder,
        pa.table({"user_id": ["u1", "u2"], "other_user_id": ["a1", "a2"], "other_domain": ["social"] * 2}),
    )


def test_links_join_other_domains_with_the_link_key_alone(folder):
    keys = TablePseudonyms(KEY, link_key=LINK)
    table = pa.table({"user_id": ["a1", "u1"], "domain": ["social", "shop"]})
    account, shopper = whole(*keys.apply(stored(folder, table)))["user_id"].to_pylist()
    sealed = whole(*keys.apply(links(folder)))
    assert sealed["user_id"][0].as_py() == shopper
    assert account not in sealed["other_user_id"].to_pylist()
    opened = whole(*keys.open_links(stored(folder, sealed)))
    assert opened["other_user_id"][0].as_py() == account
    with pytest.raises(PrivacyError, match="another link key"):
        whole(*TablePseudonyms(KEY, link_key=OTHER).open_links(stored(folder, sealed)))
    new = TablePseudonyms(NEW, link_key=LINK)
    rotated = whole(*new.rotate(stored(folder, sealed), keys, {"u1", "u2", "a1", "a2"}))
    assert rotated == whole(*new.apply(links(folder)))


def test_links_without_a_link_key_are_refused(folder):
    with pytest.raises(PrivacyError, match="no link key"):
        TablePseudonyms(KEY).apply(links(folder))


def test_friends_get_pseudonyms_and_creators_keep_their_ids(folder):
    table = pa.table({"user_id": ["u1", "u2"], "entity": ["user", "creator"], "entity_id": ["u2", "c1"]})
    friend, creator = whole(*TablePseudonyms(KEY).apply(stored(folder, table)))["entity_id"].to_pylist()
    assert (friend, creator) == (Pseudonymizer(KEY, "default", "shop")("u2"), "c1")


def test_what_cannot_be_done_is_refused(folder):
    keys, table = TablePseudonyms(KEY), pa.table({"user_id": ["u1"]})
    done = whole(*keys.apply(stored(folder, table)))
    with pytest.raises(PrivacyError, match="has pseudonyms already"):
        whole(*keys.apply(stored(folder, done)))
    for old, ids in ((keys, {"u2"}), (TablePseudonyms(OTHER), {"u1"}), (TablePseudonyms(KEY, "t2"), {"u1"})):
        with pytest.raises(PrivacyError, match="of none of the ids"):
            whole(*TablePseudonyms(NEW).rotate(stored(folder, done), old, ids))
    with pytest.raises(PrivacyError, match="no column of users or sessions"):
        keys.apply(stored(folder, pa.table({"event_id": ["1"], "x": [1]})))
    with pytest.raises(PrivacyError, match="no column uid"):
        TablePseudonyms(KEY, columns=["uid"]).apply(stored(folder, table))
    with pytest.raises(PrivacyError, match="bool, which holds no ids"):
        keys.apply(stored(folder, pa.table({"user_id": [True]})))
    for number in (1.5, float("inf"), 2.0**53):
        for read in (lambda table: whole(*keys.apply(table)), lambda table: raw_ids([table.uri])):
            with pytest.raises(PrivacyError, match="user_id is double, with numbers that are not whole"):
                read(stored(folder, pa.table({"user_id": [7.0, number]})))


@settings(max_examples=25)
@given(numbers=st.lists(st.integers(1 - 2**53, 2**53 - 1) | st.none(), min_size=1, max_size=9))
@example(numbers=[7, None, 2000, -0])
def test_one_number_is_one_shopper_whatever_the_type_of_its_column(folder, numbers):
    texts = pa.array([None if one is None else str(one) for one in numbers], pa.string())
    floats = [float("nan") if one is None else float(one) for one in numbers]
    columns = {"user_id": floats, "nulls": pa.array(floats, from_pandas=True), "integers": numbers}
    columns |= {"text": texts, "categories": texts.dictionary_encode()}
    if all(one is None or abs(one) <= 2048 for one in numbers):
        columns |= {kind: np.array(floats, kind) for kind in ("float16", "float32")}
    table = stored(folder, pa.table(columns))
    found = whole(*TablePseudonyms(KEY, "t", columns=tuple(columns)).apply(table))
    asked = [None if text is None else DoorIds(KEY, "t").shopper(text) for text in texts.to_pylist()]
    assert found.to_pydict() == dict.fromkeys(columns, asked)
    assert raw_ids([table.uri]) == set(texts.to_pylist()) - {None}
    for name, column in zip(columns, whole(table.schema, table).columns, strict=True):
        as_fits, problem = as_text(pl.Series(name, column))
        assert (as_fits.to_list(), problem) == (texts.to_pylist(), None)


def test_texts_that_end_in_0_stay_texts_with_a_warning_unless_there_are_others(folder):
    keys = TablePseudonyms(KEY)
    with pytest.warns(DataWarning, match="all 2 ids in user_id are texts that end in .0") as caught:
        found = whole(*keys.apply(stored(folder, pa.table({"user_id": ["7.0", None, "8.0"]}))))
    assert "7" not in str(caught[0].message).replace(str(folder), "")
    assert found["user_id"][0].as_py() == keys.pseudonym("shop", "user", "7.0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole(*keys.apply(stored(folder, pa.table({"user_id": ["7.0", "x"]}))))
