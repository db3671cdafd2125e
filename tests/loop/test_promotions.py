"""History of promotions, what a roll back leads to, and what is removed."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bundles import write_shop_bundle
from vrec.bundle.write import BundleConfig
from vrec.config.loop import LoopConfig
from vrec.core.errors import OutputError
from vrec.core.tables import StorageFolder
from vrec.loop.commands import bundle_difference, bundle_table, promote, roll_back
from vrec.loop.errors import LoopError
from vrec.loop.journal import LoopJournal
from vrec.loop.promotions import (
    PROMOTIONS,
    PromotionEntry,
    PromotionHistory,
    rollback_target,
    rolled_back,
)
from vrec.loop.retention import kept_bundles, remove_old


def entry(kind, bundle, previous=None, by="run") -> PromotionEntry:
    return PromotionEntry(kind, bundle, "v", previous, 0, by, "")


def test_a_roll_back_leads_to_what_was_replaced_and_further():
    history = [entry("promotion", "a"), entry("promotion", "b", "a"), entry("promotion", "c", "b")]
    assert rollback_target(history) == "b"
    history.append(entry("rollback", "b", "c"))
    assert rollback_target(history) == "a"
    assert rolled_back(history) == {"c"}
    history.append(entry("promotion", "d", "b"))
    assert rollback_target(history) == "b"
    history.append(entry("promotion", "c", "d"))
    assert rolled_back(history) == frozenset(), "promoted by hand after all"
    with pytest.raises(LoopError):
        rollback_target(history[:1])
    assert rollback_target([entry("promotion", "a", "old")]) == "old"


@given(st.lists(st.sampled_from(["p1", "p2", "p3", "p4", "back"]), max_size=12))
def test_a_roll_back_never_leads_to_the_bundle_in_service(actions):
    history: list[PromotionEntry] = []
    for action in actions:
        current = history[-1].bundle if history else None
        if action == "back":
            try:
                target = rollback_target(history)
            except LoopError:
                continue
            assert target != current
            history.append(entry("rollback", target, current))
            assert current in rolled_back(history)
        elif action != current:
            history.append(entry("promotion", action, current))


NAMES = st.integers(0, 99).map(lambda n: f"202601{1 + n % 28:02d}T0000{n % 60:02d}Z-00000{n % 10}")


@given(st.sets(NAMES, max_size=12), st.integers(1, 4), st.data())
def test_what_is_in_service_before_it_waiting_or_not_made_here_always_stays(names, keep, data):
    pick = st.sampled_from(sorted(names)) if names else st.just("none")
    entries = [
        entry("promotion", data.draw(pick), data.draw(pick)) for _ in range(data.draw(st.integers(0, 3)))
    ]
    waits, serves = (data.draw(st.one_of(st.none(), pick)) for _ in range(2))
    stay = kept_bundles({*names, "by-hand"}, entries, (serves, waits), keep)
    assert "by-hand" in stay
    assert set(sorted(names)[-keep:]) <= stay
    needed = {waits, serves, *((entries[-1].bundle, entries[-1].previous) if entries else ())}
    assert needed & names <= stay
    assert stay <= {*names, "by-hand"}


@pytest.fixture
def bundles(shop_bundle, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(shop_bundle.uri, tmp_path / name)
    return str(tmp_path)


def test_commands_promote_roll_back_and_list(bundles):
    config = LoopConfig()
    assert promote(bundles, "one", None, config)["previous"] is None
    assert promote(bundles, "two", None, config)["previous"] == "one"
    assert roll_back(bundles, None, config)["bundle"] == "one"
    found = bundle_table(bundles, None)
    assert {row["name"]: row["rolled_back"] for row in found["bundles"]} == {"one": False, "two": True}
    kinds = [(row["kind"], row["bundle"], row["previous"]) for row in found["history"]]
    assert kinds == [("promotion", "one", None), ("promotion", "two", "one"), ("rollback", "one", "two")]
    with pytest.raises(LoopError, match="no readable bundle"):
        promote(bundles, "three", None, config)


def test_the_same_change_by_the_same_run_is_one_entry(bundles):
    history = PromotionHistory(bundles)
    for _ in range(2):
        history.add("promotion", "one", None, by="run 1", why="better")
    history.add("promotion", "one", None, by="run 2", why="better")
    assert [one.by for one in history.entries()] == ["run 1", "run 2"]


def test_a_damaged_history_is_an_error_and_stays(bundles):
    StorageFolder(bundles).write(PROMOTIONS, b"{}")
    with pytest.raises(OutputError, match="history of promotions"):
        PromotionHistory(bundles).add("promotion", "one", None, by="x", why="")
    assert StorageFolder(bundles).read(PROMOTIONS) == b"{}"


def test_copies_of_a_bundle_do_not_differ_and_others_do(bundles, tmp_path):
    same = bundle_difference(bundles, "one", "two")
    assert same["videos"] == {"added": 0, "removed": 0, "changed": 0}
    assert (same["parts"], same["settings"], same["figures"]) == ([], {}, {})
    write_shop_bundle(tmp_path / "three", BundleConfig(neighbours=7, popular=10))
    other = bundle_difference(bundles, "one", "three")
    assert other["settings"] == {"neighbours": [20, 7], "popular": [30, 10]}


def test_old_bundles_and_runs_are_removed_and_files_of_steps_stay(shop_bundle, tmp_path):
    folder = StorageFolder(str(tmp_path))
    made = [f"2026010{n}T000000Z-00000{n}" for n in range(1, 6)]
    for name in made:
        shutil.copytree(shop_bundle.uri, tmp_path / "bundles" / name)
        folder.write(f"runs/{name[:16]}/train.parquet", b"x")
    journal = LoopJournal(folder, now=lambda: 1_800_000_000.0)
    journal.begin()
    journal.step("gates", {}, lambda: {"file": f"runs/{made[0][:16]}/train.parquet"}, lambda r: [r["file"]])
    entries = [entry("promotion", made[1], made[0]), entry("promotion", made[2], made[1])]
    assert remove_old(folder, journal, entries, None, keep=1) == [made[0], made[3]]
    left = {path.name for path in (tmp_path / "bundles").iterdir()}
    assert left == {made[1], made[2], made[4]}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {made[0][:16], made[4][:16]}
