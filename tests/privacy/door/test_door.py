"""The door: the pseudonyms of `vrec pseudonymise`, coarser fields alike in requests and tables, texts."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vrec.core.errors import PrivacyError
from vrec.core.schema import EVENTS
from vrec.core.table_batches import open_table
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.door.door import Door
from vrec.privacy.door.fields import DoorFields
from vrec.privacy.door.ids import MAX_DOMAINS, KnownId
from vrec.privacy.id_columns import TablePseudonyms
from vrec.privacy.pseudonyms import Pseudonymizer

KEY, OLD = "k" * 32, "o" * 32
ENVIRONMENT = {"NEW": KEY, "OLD": OLD, "SHORT": "x" * 31}
EDGES = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=6, unique=True).map(sorted)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "value": st.one_of(
            st.just({"kind": "drop"}),
            st.builds(lambda edges: {"kind": "bands", "edges": edges}, EDGES),
            st.just({"kind": "bands", "edges": [5, 10], "kinds": ["purchase"]}),
        ),
        "request_id": st.sampled_from(
            [{"kind": "hash"}, {"kind": "drop"}, {"kind": "drop", "kinds": ["click"]}]
        ),
        "at": st.sampled_from(
            [
                {"kind": "round"},
                {"kind": "round", "to": "day", "kinds": ["watch"]},
                {"kind": "round", "to": "minute"},
            ]
        ),
        "position": st.just({"kind": "bands", "edges": [1, 10]}),
    },
)


def door(**chosen):
    return Door(DoorConfig.model_validate({"key": "NEW", **chosen}), "shop-a", ENVIRONMENT)


@st.composite
def rows(draw):
    kind = draw(st.sampled_from(["click", "watch", "purchase"]))
    value = draw(st.none() | st.floats(0, 1e4, width=32))
    at = draw(st.integers(0, 2 * 10**15))
    request = draw(st.none() | st.text(max_size=5))
    position = draw(st.none() | st.integers(0, 99))
    user = draw(st.sampled_from(["u1", "session:s1", "张三"]))
    return (f"e{at}", user, "v1", kind, value, position, request, None, "shop", at)


@settings(max_examples=40)
@given(st.lists(rows(), min_size=1, max_size=8), RULES)
def test_requests_and_tables_become_the_same(tmp_path_factory, sent, rules):
    path = tmp_path_factory.mktemp("t") / "events.parquet"
    columns = [
        pa.array(column, pa.int64()).cast(field.type) if field.name == "at" else pa.array(column, field.type)
        for column, field in zip(zip(*sent, strict=True), EVENTS.arrow(), strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=EVENTS.arrow()), path)
    schema, batches = TablePseudonyms(KEY.encode(), "shop-a").apply(open_table(str(path)))
    fields = DoorFields(DoorConfig(key="NEW", fields=rules).fields, KEY.encode(), "shop-a")
    table = pa.Table.from_batches(list((found := fields.apply(schema, batches))[1]), found[0])
    entered = door(fields=rules).rows(sent)
    for place, column in enumerate(EVENTS.columns):
        kept = [row[place] for row in entered]
        if column.name not in table.column_names:
            assert kept == [None] * len(kept)
            continue
        values = table.column(column.name)
        found_values = values.cast(pa.int64()).to_pylist() if column.name == "at" else values.to_pylist()
        assert found_values == kept


def test_ids_are_those_of_the_tables_by_domain_and_prefix():
    at_door = door()
    for user_id in ("u1", "张三", "session:s1", "7"):
        assert at_door.shopper(user_id) == Pseudonymizer(KEY.encode(), "shop-a", "shop")(user_id)
    account = Pseudonymizer(KEY.encode(), "shop-a", "social")("a:1")
    assert at_door.shopper("domain:social:a:1") == f"domain:social:{account}"
    assert at_door.account("social", "a:1") == account
    assert at_door.event("e1") == Pseudonymizer(KEY.encode(), "shop-a", "shop", "event")("e1")
    kept = KnownId("domain:social:p1-x")
    assert at_door.shopper(kept) == kept
    assert type(at_door.shopper(kept)) is str
    for number in range(2 * MAX_DOMAINS):
        at_door.account(f"d{number}", "a")
    assert at_door.account("social", "a:1") == account


@given(
    st.lists(
        st.sampled_from(["u1", "session:s1", "domain:social:a", "domain:x", "张三", "", KnownId("p1-x")])
    )
)
def test_many_ids_are_those_of_one_by_one(ids):
    at_door = door()
    assert at_door.shoppers(ids) == [at_door.shopper(one) for one in ids]
    rows = [(one, one, "v", "click", None, None, None, None, "shop", 7) for one in ids if one]
    assert [row[:2] for row in at_door.rows(rows)] == [
        (at_door.event(one), at_door.shopper(one)) for one in ids if one
    ]


def test_an_id_that_looks_like_a_pseudonym_is_an_id():
    at_door = door()
    assert at_door.shopper(at_door.shopper("u1")) != at_door.shopper("u1")


def test_nothing_changes_without_settings():
    assert not DoorConfig().is_on
    row = ("e1", "u1", "v1", "click", 1.5, 0, "r1", 0.5, "shop", 7)
    plain = Door(DoorConfig(), "t", {})
    assert plain.rows([row]) == [row]
    assert plain.text("mail a@b.com") == "mail a@b.com"
    assert plain.age(17) == 17


def test_an_age_is_never_made_older():
    at_door = door(fields={"age": {"kind": "bands", "edges": [13, 18, 25]}})
    assert [at_door.age(age) for age in (None, 0, 12, 13, 17, 18, 24, 25, 130)] == [
        None, 0, 0, 13, 13, 18, 18, 25, 25,
    ]  # fmt: skip


def test_texts_lose_what_names_a_person():
    at_door = door()
    assert at_door.text("red mugs under 20") == "red mugs under 20"
    assert at_door.text("mail ann@shop.example or 13812345678") == "mail [email] or [phone]"
    assert at_door.text("13812345678") == "[phone]"
    assert at_door.text("order 13812345678") == "order 13812345678"


def test_an_event_keeps_its_id_while_keys_change():
    rotating = Door(DoorConfig(key="NEW", old_key="OLD"), "t", ENVIRONMENT)
    assert rotating.event("e1") == Pseudonymizer(OLD.encode(), "t", "shop", "event")("e1")
    assert rotating.before_key("u1") == Pseudonymizer(OLD.encode(), "t", "shop")("u1")
    assert rotating.shopper("u1") == Pseudonymizer(KEY.encode(), "t", "shop")("u1")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"key": "MISSING"}, "MISSING is not set"),
        ({"key": "SHORT"}, "SHORT has 31 bytes"),
        ({"key": "NEW", "old_key": "SHORT"}, "SHORT has 31 bytes"),
        ({"key": "NEW", "old_key": "MISSING"}, "MISSING is not set"),
        ({"key": "NEW", "old_key": "SAME"}, "SAME holds the same key as NEW"),
    ],
)
def test_a_key_that_is_missing_short_or_the_same_is_refused(chosen, words):
    with pytest.raises(PrivacyError, match=words):
        Door(DoorConfig(**chosen), "t", {**ENVIRONMENT, "SAME": KEY})


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"old_key": "OLD"}, "old_key without key"),
        ({"key": "NEW", "old_key": "NEW"}, "old_key is key"),
        ({"key": "0123456789abcdef-"}, "pattern"),
        ({"key": "NEW", "fields": {"user_id": {"kind": "drop"}}}, "user_id cannot be changed"),
        ({"key": "NEW", "fields": {"at": {"kind": "drop"}}}, "at can be rounded only"),
        ({"fields": {"value": {"kind": "hash"}}}, "a hash needs a key"),
        ({"fields": {"value": {"kind": "bands", "edges": [2, 1]}}}, "do not ascend"),
        ({"fields": {"value": {"kind": "bands", "edges": [-1]}}}, "below 0"),
        ({"regions": ["XX"]}, "no region"),
    ],
)
def test_settings_that_make_no_sense_are_refused(chosen, words):
    with pytest.raises(ValidationError, match=words):
        DoorConfig.model_validate(chosen)


def test_a_rule_of_another_type_than_its_column_is_named():
    table = pa.table({"user_id": ["u1"], "joined": ["2026"], "age": ["x"]})
    for name, rule in (("joined", {"kind": "round"}), ("age", {"kind": "bands", "edges": [18]})):
        rules = DoorConfig(fields={name: rule}).fields
        with pytest.raises(PrivacyError, match=f"{name} is string"):
            DoorFields(rules, None, "t").apply(table.schema, iter(table.to_batches()))


def test_other_columns_of_tables_follow_the_rules_too():
    table = pa.table(
        {
            "user_id": ["u1", "u2"],
            "age": [17, 40],
            "city": ["Bern", None],
            "at": [datetime(2026, 1, 2, 3, 4, tzinfo=UTC)] * 2,
        }
    )
    rules = {"age": {"kind": "bands", "edges": [18, 30]}, "city": {"kind": "drop"}, "at": {"kind": "round"}}
    fields = DoorFields(DoorConfig(fields=rules).fields, None, "t")
    schema, batches = fields.apply(table.schema, iter(table.to_batches()))
    found = pa.Table.from_batches(list(batches), schema).to_pylist()
    hour = datetime(2026, 1, 2, 3, tzinfo=UTC)
    assert found == [{"user_id": "u1", "age": 0, "at": hour}, {"user_id": "u2", "age": 30, "at": hour}]
