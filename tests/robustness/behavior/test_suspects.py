from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tests.robustness.behavior.logs import events_of, honest_log, ring
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, SourceError
from vrec.retrieval.shopper_weights import check_shopper_weights
from vrec.robustness.behavior.config import SuspectsConfig
from vrec.robustness.behavior.log import BehaviorLog
from vrec.robustness.behavior.suspects import find_suspects, shopper_weights
from vrec.robustness.behavior.table import (
    SUSPECTS,
    carry_over,
    quarantined,
    read_suspects,
    release,
    write_suspects,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def suspects(log, config=None, **more):
    return find_suspects(BehaviorLog.from_events(log, **more), config or SuspectsConfig(), NOW)


@pytest.fixture(scope="module")
def attacked():
    honest = honest_log()
    return suspects(pa.concat_tables([honest, ring(honest)]))


def test_a_ring_is_found_with_reasons_that_name_it(attacked):
    held = attacked.filter(pc.less(attacked["weight"], 1.0))
    fakes = {f"u{900 + account}" for account in range(12)}
    found = set(held["user_id"].to_pylist())
    assert len(found & fakes) >= 11
    assert len(found - fakes) <= 3
    assert attacked["user_id"].to_pylist()[:10] == [
        name for name in attacked["user_id"].to_pylist()[:10] if name in fakes
    ]
    assert all(len(text) > 10 for text in held["reasons"].to_pylist())
    assert any("choose the same" in text for text in held["reasons"].to_pylist())
    assert all(
        text == "" for text in attacked.filter(pc.equal(attacked["weight"], 1.0))["reasons"].to_pylist()
    )


@pytest.fixture(scope="module")
def honest():
    return suspects(honest_log())


def test_hardly_anybody_is_a_suspect_in_a_log_without_attacks(honest):
    assert np.mean(np.asarray(honest["weight"]) < 1) <= 0.02


def test_the_table_has_every_shopper_once_and_fits_take_it(attacked):
    assert attacked.schema == SUSPECTS.arrow()
    assert attacked.num_rows == len(pc.unique(attacked["user_id"])) == 252
    assert check_shopper_weights(attacked, fractions=False, kind="ease").num_rows == 252


def test_grades_are_between_0_and_1_and_fall_with_the_score():
    scores = np.array([9.0, 8.0, 6.0, 4.0, 3.9, 0.0])
    weights = shopper_weights(scores, np.full(6, 5.0), SuspectsConfig(score=4, graded=True, most_share=1))
    assert weights.tolist() == [0, 0, 0.5, 1, 1, 1]
    assert (
        shopper_weights(scores, np.full(6, 5.0), SuspectsConfig(score=4, most_share=1)).tolist()
        == [0] * 4 + [1] * 2
    )


def test_limits_of_share_and_of_events_hold():
    scores, events = np.array([9.0, 8.0, 7.0, 6.0]), np.array([1.0, 9.0, 9.0, 9.0])
    config = SuspectsConfig(score=1, most_share=0.5, least_events=2)
    assert shopper_weights(scores, events, config).tolist() == [1, 0, 1, 1]


def test_shared_devices_are_a_reason():
    honest = honest_log()
    users = pc.unique(honest["user_id"]).to_pylist()
    devices = [*users[30:], *["farm"] * 30]
    table = pa.table({"user_id": [*users[30:], *users[:30]], "device": devices})
    found = find_suspects(BehaviorLog.from_events(honest), SuspectsConfig(), NOW, table)
    named = found.filter(pc.match_substring(found["reasons"], "shares a device"))["user_id"].to_pylist()
    assert set(named) == set(users[:30])
    with pytest.raises(SourceError, match="device"):
        find_suspects(BehaviorLog.from_events(honest), SuspectsConfig(), NOW, table.select(["user_id"]))


def test_the_order_of_the_rows_does_not_matter(honest):
    log = honest_log()
    shuffled = log.take(pa.array(np.random.default_rng(0).permutation(log.num_rows)))
    assert suspects(shuffled).equals(honest)


@pytest.mark.parametrize(
    "rows", [[], [("u", "v", "click", None, 0)], [("u", "v", "impression", None, 0)] * 2]
)
def test_tiny_logs_have_no_suspects(rows):
    log = events_of(rows) if rows else honest_log().slice(0, 0)
    table = suspects(log)
    assert np.all(np.asarray(table["weight"]) == 1)


def test_a_release_holds_in_the_tables_that_follow(attacked, tmp_path):
    path = str(tmp_path / "suspects.parquet")
    write_suspects(path, attacked)
    innocent = attacked["user_id"][0].as_py()
    released = release(read_suspects(path), [innocent], NOW)
    assert innocent in quarantined(attacked).to_pylist()
    assert innocent not in quarantined(released).to_pylist()
    again = carry_over(attacked, released)
    assert innocent not in quarantined(again).to_pylist()
    assert len(quarantined(again)) == len(quarantined(attacked)) - 1
    gone = carry_over(attacked.filter(pc.not_equal(attacked["user_id"], innocent)), released)
    assert gone.filter(pc.equal(gone["user_id"], innocent))["weight"].to_pylist() == [1.0]
    with pytest.raises(ConfigError, match="nobody"):
        release(attacked, ["nobody"], NOW)


def test_the_time_since_which_somebody_is_a_suspect_stays(attacked):
    later = datetime(2026, 6, 1, tzinfo=UTC)
    rows = attacked.num_rows
    new = attacked.set_column(
        4, SUSPECTS.arrow().field("since"), pa.array([later] * rows, attacked["since"].type)
    )
    carried = carry_over(new, attacked)
    held = pc.less(carried["weight"], 1.0)
    assert set(carried.filter(held)["since"].to_pylist()) == {NOW}
    assert set(carried.filter(pc.invert(held))["since"].to_pylist()) == {later}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id\na\n", "no column weight"),
        ("user_id,weight\na,2\n", "such as that of a"),
        ("user_id,weight\na,0\na,1\n", "twice"),
        ("user_id,weight\na,much\n", "weight cannot be read"),
    ],
)
def test_tables_that_cannot_be_read_say_why(tmp_path, text, said):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SourceError, match=said):
        read_suspects(str(tmp_path / "s.csv"))


def test_a_table_of_ids_and_weights_alone_is_enough(tmp_path):
    (tmp_path / "s.csv").write_text("user_id,weight\nb,0\na,0.5\nc,0\n")
    assert quarantined(read_suspects(str(tmp_path / "s.csv"))).to_pylist() == ["b", "c"]
