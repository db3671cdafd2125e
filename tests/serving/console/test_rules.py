"""Rules in forms: what a form says is the rule, and no editor overwrites another one unseen."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.serving.console.conftest import text
from vrec.serving.console.rule_forms import form_of_rule, problems_of_rule, rule_of_form
from vrec.serving.rules.book import ShopRule

PIN = {"id": "summer", "version": "absent", "kind": "pin", "videos": "hats/2", "position": "1"}
MINUTES = st.integers(28_000_000, 60_000_000).map(lambda minute: minute * 60_000_000)
NAMES = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@st.composite
def rules(draw):
    kind = draw(st.sampled_from(["pin", "boost", "ban", "campaign"]))
    start = draw(MINUTES) if kind == "campaign" else draw(st.none() | MINUTES)
    own = {
        "pin": {"position": draw(st.integers(0, 99))},
        "boost": {"factor": float(f"{draw(st.floats(0.01, 100)):.3g}")},
        "ban": {},
        "campaign": {"share": draw(st.integers(1, 100)) / 100},
    }[kind]
    expression = draw(st.none() | st.just('category = "mugs" and price < 10')) if kind != "pin" else None
    ids = draw(st.lists(NAMES, min_size=1, max_size=1 if kind == "pin" else 4, unique=True))
    return ShopRule(
        "r",
        kind,
        () if expression else tuple(ids),
        expression,
        tuple(draw(st.lists(NAMES, max_size=2))),
        tuple(draw(st.lists(NAMES, max_size=2))),
        starts_at=start,
        ends_at=None
        if start is None and kind != "campaign"
        else start + 60_000_000 * draw(st.integers(1, 99)),
        note=draw(st.none() | NAMES),
        **own,
    )


@given(rule=rules())
def test_a_rule_comes_back_from_its_form(rule):
    back = rule_of_form("r", form_of_rule(rule))
    assert back.share == pytest.approx(rule.share)
    assert (back.kind, back.video_ids, back.expression) == (rule.kind, rule.video_ids, rule.expression)
    assert (back.position, back.factor, back.note) == (rule.position, rule.factor, rule.note)
    assert (back.surfaces, back.categories) == (rule.surfaces, rule.categories)
    assert (back.starts_at, back.ends_at) == (rule.starts_at, rule.ends_at)


FIELDS = ("kind", "videos", "expression", "position", "factor", "share", "starts_at", "ends_at", "surfaces")
TEXTS = ("pin", "boost", "campaign", "", "x", "1", "1e400", "nan", "-3", "\x00", "9999-12-31T23:59",
         "2020-01-01",
         "a\nb", "(", "price <")  # fmt: skip


@given(fields=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(TEXTS)))
def test_any_form_is_a_rule_or_has_problems_of_its_own_fields(fields):
    try:
        problems = {} if rule_of_form("r", fields) else None
    except ValidationError as error:
        problems = problems_of_rule(error)
    assert set(problems) <= set(FIELDS)


def version_of(reply):
    return re.search(rb'name="version" value="([^"]*)"', reply.body)[1].decode()


def test_a_rule_is_made_changed_and_removed(reader):
    assert reader.post("/console/rules/rule", PIN, page="/console/rules/rule").status == 303
    page = reader.get("/console/rules/rule?id=summer")
    assert version_of(page) == "1"
    assert "ann" in text(page)
    assert "hats/2" in text(reader.get("/console/rules"))
    changed = PIN | {"version": "1", "position": "3", "note": "<b>sale</b>"}
    assert reader.post("/console/rules/rule", changed, page="/console").status == 303
    listed = reader.get("/console/rules")
    assert b"<b>" not in listed.body
    assert "<b>sale</b>" in text(listed)
    reply = reader.post("/console/rules/remove", {"id": "summer", "version": "2"}, page="/console")
    assert (reply.status, reply.headers["location"]) == (303, "/console/rules?done=rule_removed")
    assert "There are no rules" in text(reader.get("/console/rules"))
    assert reader.get("/console/rules/rule?id=summer").status == 404


def test_of_two_editors_the_second_sees_what_the_first_has_written(reader):
    reader.post("/console/rules/rule", PIN, page="/console")
    reader.post("/console/rules/rule", PIN | {"version": "1", "position": "4"}, page="/console")
    mine = PIN | {"version": "1", "note": "mine"}
    for path, form in (("rule", mine), ("remove", {"id": "summer", "version": "1"})):
        reply = reader.post(f"/console/rules/{path}", form, page="/console")
        assert reply.status == 412
        assert "ann has changed the rule" in text(reply)
        assert version_of(reply) == "2"
    reply = reader.post("/console/rules/rule", mine, page="/console")
    assert "Now: 4" in text(reply)
    assert b'value="mine"' in reply.body
    assert reader.post("/console/rules/rule", mine | {"version": "2"}, page="/console").status == 303
    reader.post("/console/rules/remove", {"id": "summer", "version": "3"}, page="/console")
    reply = reader.post("/console/rules/rule", mine | {"version": "3"}, page="/console")
    assert (reply.status, version_of(reply)) == (412, "absent")
    assert "removed the rule" in text(reply)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [({"id": "Not this"}, "id", "64 small letters"), ({"position": "0"}, "position", "too small"),
     ({"position": "101"}, "position", "too large"), ({"position": "1.5"}, "position", "whole number"),
     ({"kind": "boost", "factor": "much"}, "factor", "12.50"),
     ({"kind": "boost", "factor": "0"}, "factor", "small"),
     ({"kind": "ban", "videos": ""}, "videos", "at least one"),
     ({"kind": "ban", "expression": "price <"}, "expression", "cannot be read"),
     ({"kind": "campaign", "share": "20"}, "starts_at", "a date"),
     ({"starts_at": "2030-01-02T00:00", "ends_at": "2030-01-01T00:00"}, "ends_at", "after the start")],
)  # fmt: skip
def test_wrong_fields_are_named_and_kept(reader, fields, field, words):
    reply = reader.post("/console/rules/rule", PIN | fields, page="/console")
    assert reply.status == 422
    problem = re.search(rf'id="problem-{field}">([^<]*)<', reply.body.decode())
    assert words in problem[1]
    assert "There are no rules" in text(reader.get("/console/rules"))


def test_a_dry_run_says_what_would_change_and_changes_nothing(reader):
    form = PIN | {"kind": "ban", "videos": "mugs/1", "shoppers": "u1\nu2", "surface": "feed"}
    reply = reader.post("/console/rules/preview", form, page="/console")
    assert reply.status == 200
    assert "nothing is saved" in text(reply)
    assert "shoppers would change" in text(reply)
    assert "There are no rules" in text(reader.get("/console/rules"))
    for wrong in (
        {"shoppers": ""},
        {"shoppers": "u\n" * 3 + "\n".join(map(str, range(101)))},
        {"surface": "!"},
    ):
        assert reader.post("/console/rules/preview", form | wrong, page="/console").status == 422
