"""A/B test in force: whichever of the settings and the changes in the store was changed last."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.serving.ab_test.log import (
    ExperimentChange,
    PresentExperiment,
    assignment_digest,
    pack_experiment,
    present_experiment,
    settings_take_over,
    unpack_experiment,
)
from vrec.serving.experiments import assign_arm

NAMES = st.text("abcd-_09", min_size=1, max_size=5)


@st.composite
def experiments(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    parts = [draw(st.integers(1, 9)) for _ in names]
    orders = [draw(st.sampled_from(["ranked", "popular"])) for _ in names]
    arms = tuple(
        ExperimentArmConfig(name=name, share=part / sum(parts), order=order)
        for name, part, order in zip(names, parts, orders, strict=True)
    )
    return ExperimentConfig(salt=draw(st.text(min_size=1, max_size=3)), arms=arms)


def change_to(settings, wanted, at=1):
    return ExperimentChange(assignment_digest(settings), wanted.salt, wanted.arms, "ann", at, "r")


@given(settings=experiments(), wanted=experiments())
def test_a_change_comes_back_from_its_record(settings, wanted):
    change = change_to(settings, wanted)
    assert unpack_experiment(1, pack_experiment(change)) == change
    own = replace(change, salt=None, arms=None, by=None, request_id=None)
    assert unpack_experiment(1, pack_experiment(own)) == own


@given(first=experiments(), steps=st.lists(st.tuples(st.sampled_from(["settings", "change"]), experiments()),
                                           max_size=6))  # fmt: skip
def test_the_one_that_was_changed_last_is_in_force(first, steps):
    settings = latest = first
    log: list[tuple[int, bytes]] = []
    versions = [present_experiment(settings, log[-1:]).version]
    for kind, wanted in steps:
        different = assignment_digest(wanted) != assignment_digest(settings if kind == "settings" else latest)
        if kind == "settings":
            settings = wanted
            # Replicas have it before it is recorded.
            own = assignment_digest(present_experiment(settings, log[-1:]).config)
            assert own == assignment_digest(settings) or not different
            if settings_take_over(settings, log[-1:]):
                own = ExperimentChange(assignment_digest(settings), None, None, None, 1, None)
                log.append((len(log) + 1, pack_experiment(own)))
        else:
            log.append((len(log) + 1, pack_experiment(change_to(settings, wanted))))
        latest = wanted if different or kind == "change" else latest
        present = present_experiment(settings, log[-1:])
        assert assignment_digest(present.config) == assignment_digest(latest)
        assert present.config.window_hours == settings.window_hours
        versions.append(present.version)
        # The next look, as after a restart with the same settings, changes nothing.
        assert not settings_take_over(settings, log[-1:])
        assert present_experiment(settings, log[-1:]) == present


@given(record=st.binary(max_size=40))
def test_a_record_that_cannot_be_read_leaves_the_settings(record):
    settings = ExperimentConfig(salt="s")
    assert present_experiment(settings, [(3, record)]) == PresentExperiment(settings, 3)


def test_a_later_format_is_left_out():
    settings = ExperimentConfig(salt="s")
    packed = pack_experiment(change_to(settings, settings)).replace(b"\x01", b"\x02", 1)
    assert present_experiment(settings, [(1, packed)]) == PresentExperiment(settings, 1)


@pytest.mark.parametrize("winner", [0, 1, 2])
@given(config=experiments(), users=st.lists(st.text(max_size=6), min_size=1, max_size=20))
def test_after_a_stop_everybody_has_the_winner_and_its_shoppers_stay(winner, config, users):
    arm = config.arms[winner % len(config.arms)]
    stopped = config.model_copy(update={"arms": (arm.model_copy(update={"share": 1.0}),)})
    for user in users:
        before, after = assign_arm(user, config), assign_arm(user, stopped)
        assert (after.name, after.order) == (arm.name, arm.order)
        assert (before.name == after.name) == (before == arm)
