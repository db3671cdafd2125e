"""A/B tests in forms: what a form says is what starts, and no editor overwrites another one unseen."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.ab_test.test_log import experiments
from tests.serving.console.conftest import text
from vrec.serving.console.experiment_forms import experiment_of_form, field_names, form_of_arms
from vrec.serving.console.labels import LABELS
from vrec.serving.experiments import ArmCounts

PAGE = "/console/experiments"
TWO = {"name-0": "ranked", "share-0": "70", "order-0": "ranked", "name-1": "plain", "share-1": "30",
       "order-1": "popular", "salt": "spring"}  # fmt: skip
TEXTS = ("ranked", "", "50", "100", "x", "-3", "nan", "1e400", "A B", "\x00", "popular", "30 %")


def version_of(reader):
    return html.unescape(re.search(rb'name="version" value="([^"]*)"', reader.get(PAGE).body)[1].decode())


@given(config=experiments())
def test_a_test_comes_back_from_its_form(config):
    back, problems = experiment_of_form(form_of_arms(config, "new"))
    assert (problems, back.salt) == ({}, "new")
    arms = [arm.to_config() for arm in back.arms]
    if len(config.arms) > 1:
        assert [(arm.name, arm.order) for arm in arms] == [(arm.name, arm.order) for arm in config.arms]
        assert [arm.share for arm in arms] == pytest.approx([arm.share for arm in config.arms], abs=2e-6)
    else:
        assert (len(arms), arms[0].name, {arm.share for arm in arms}) == (2, config.arms[0].name, {0.5})


def test_shares_that_were_rounded_are_scaled():
    thirds = {f"{field}-{row}": value for row in range(3) for field, value in
              (("name", f"a{row}"), ("share", "33.3 %"), ("order", "ranked"))}  # fmt: skip
    found, problems = experiment_of_form(thirds | {"salt": "s"})
    assert problems == {}
    assert [arm.share for arm in found.arms] == pytest.approx([1 / 3] * 3)
    assert experiment_of_form(thirds | {"salt": "s", "share-0": "33"})[1] == {"arms": "shares"}


@given(form=st.dictionaries(st.sampled_from(field_names()), st.sampled_from(TEXTS)))
def test_any_form_is_a_test_or_has_problems_with_texts(form):
    found, problems = experiment_of_form(form)
    assert (found is None) == bool(problems)
    assert set(problems) <= {*field_names(), "arms"}
    assert all(code in LABELS["problem"] for code in problems.values()), problems


def test_a_test_is_started_and_stopped_with_a_winner(keyed_console, reader):
    _, shop, _ = keyed_console
    form = TWO | {"version": version_of(reader)}
    reply = reader.post(f"{PAGE}/start", form, page=PAGE)
    assert (reply.status, reply.headers["location"]) == (303, f"{PAGE}?done=started")
    arms = shop.experiment.config.arms
    assert [(arm.name, arm.share, arm.order) for arm in arms] == [
        ("ranked", 0.7, "ranked"), ("plain", 0.3, "popular"),
    ]  # fmt: skip
    assert shop.experiment.config.salt == "spring"
    assert "By: ann." in text(reader.get(PAGE))
    reply = reader.post(f"{PAGE}/stop", {"winner": "plain", "version": version_of(reader)}, page=PAGE)
    assert (reply.status, reply.headers["location"]) == (303, f"{PAGE}?done=stopped")
    (arm,) = shop.experiment.config.arms
    assert (arm.name, arm.share, arm.order) == ("plain", 1.0, "popular")
    assert shop.experiment.config.salt == "spring"
    assert "A/B 测试已经结束" in text(reader.get(f"{PAGE}?done=stopped", **{"accept-language": "zh"}))


def test_of_two_editors_the_second_is_told(keyed_console, reader):
    _, shop, _ = keyed_console
    seen = version_of(reader)
    assert reader.post(f"{PAGE}/start", TWO | {"version": seen}, page=PAGE).status == 303
    for path, fields in (("start", TWO | {"salt": "mine"}), ("stop", {"winner": "ranked"})):
        reply = reader.post(f"{PAGE}/{path}", fields | {"version": seen}, page=PAGE)
        assert (reply.status, "somebody else" in text(reply)) == (412, True)
        assert shop.experiment.config.salt == "spring"
        assert len(shop.experiment.config.arms) == 2
    assert (
        b'value="mine"'
        in reader.post(f"{PAGE}/start", TWO | {"salt": "mine", "version": seen}, page=PAGE).body
    )
    # An arm that only the other test has is no reason to hide the test that runs now.
    reply = reader.post(f"{PAGE}/stop", {"winner": "gone", "version": seen}, page=PAGE)
    assert (reply.status, "spring" in text(reply)) == (412, True)
    form = {"winner": "no", "version": version_of(reader)}
    assert reader.post(f"{PAGE}/stop", form, page=PAGE).status == 422


def test_a_test_that_has_just_begun_has_no_figures_of_the_one_before(keyed_console, reader):
    _, shop, _ = keyed_console
    assert "Shoppers are assigned by" in text(reader.get(PAGE))
    form = TWO | {"name-0": "first", "name-1": "second", "version": version_of(reader)}
    assert reader.post(f"{PAGE}/start", form, page=PAGE).status == 303
    page = reader.get(PAGE)
    arms = re.findall(r'<th scope="row">(.*?)</th>', page.body.decode())
    assert (arms, "has just begun" in text(page)) == (["first", "second"], True)
    # Once the counts follow, the page has them.
    shop.arm_counts = ArmCounts(shop.experiment.config)
    assert "Shoppers are assigned by the salt “spring”" in text(reader.get(PAGE))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"share-1": "20"}, "arms"), ({"name-1": "ranked"}, "arms"), ({"name-1": "", "share-1": ""}, "arms"),
        ({"name-0": "A B"}, "name-0"), ({"share-0": "many"}, "share-0"), ({"share-1": "-5"}, "share-1"),
        ({"order-1": "x"}, "order-1"), ({"salt": " "}, "salt"), ({"name-2": "third"}, "share-2"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_marked_and_nothing_is_started(keyed_console, reader, changes, field):
    _, shop, _ = keyed_console
    reply = reader.post(f"{PAGE}/start", TWO | changes | {"version": version_of(reader)}, page=PAGE)
    assert reply.status == 422
    assert f'id="problem-{field}"'.encode() in reply.body
    assert (field == "arms") or f'aria-describedby="problem-{field}"'.encode() in reply.body
    assert len(shop.experiment.config.arms) == 1
