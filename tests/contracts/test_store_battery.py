"""The battery under test: bugs planted in a real store, each of which must be caught."""

import contextlib

import pytest

from tests.contracts import store_bugs as bugs
from tests.contracts import store_log_bugs as log_bugs
from tests.contracts.store_places import SqlitePlace
from vrec.core.errors import VrecError
from vrec.testing.stores import CHECKS

BUGS = {
    bugs.NoCheck: "check_identity",
    bugs.LastWriteWins: "check_profiles_are_the_fold",
    bugs.CoarseVectors: "check_profiles_are_the_fold",
    bugs.StaleProfiles: "check_profiles_are_the_fold",
    log_bugs.NotOnDisk: "check_profiles_are_the_fold",
    bugs.LateAreLost: "check_any_batching_and_order",
    bugs.CountsTwice: "check_repeated_count_once",
    bugs.RemembersUntilClosed: "check_repeated_count_once",
    bugs.KnowsOtherCallsOnly: "check_repeated_count_once",
    bugs.SaysAllIsNew: "check_repeated_count_once",
    bugs.SameIdOtherEvent: "check_first_of_an_id_stays",
    bugs.LastComeIsNewest: "check_older_never_overwrites_newer",
    bugs.SeenAsTheyCome: "check_older_never_overwrites_newer",
    bugs.BlankForMisses: "check_misses_are_absent",
    bugs.KindsMixed: "check_misses_are_absent",
    bugs.FailsOnMisses: "check_misses_are_absent",
    bugs.AcknowledgedBeforehand: "check_acknowledged_is_seen_at_once",
    bugs.KeepsTheSoundRows: "check_bad_rows_change_nothing",
    bugs.TakesAnything: "check_bad_rows_change_nothing",
    bugs.BadRowsInTheFuture: "check_bad_rows_change_nothing",
    log_bugs.ExportSkips: "check_export_gives_the_log_as_it_came",
    log_bugs.ExportRepeats: "check_export_gives_the_log_as_it_came",
    log_bugs.ExportByTime: "check_export_gives_the_log_as_it_came",
    log_bugs.ExportForgetsNulls: "check_export_gives_the_log_as_it_came",
    log_bugs.CursorStartsAnew: "check_export_gives_the_log_as_it_came",
    log_bugs.EndIsOneShort: "check_cursor_separates_later_events",
    log_bugs.ExportsWhatItHasSeen: "check_export_under_writers",
    log_bugs.NotesIdsAfterwards: "check_same_events_from_many_threads",
    log_bugs.EraseLeavesEvents: "check_erased_is_gone_and_stays_away",
    log_bugs.EraseLeavesTheProfile: "check_erased_is_gone_and_stays_away",
    log_bugs.EraseTakesCounts: "check_erased_is_gone_and_stays_away",
    log_bugs.EraseForgetsTails: "check_erased_is_gone_and_stays_away",
    log_bugs.EraseForgetsIds: "check_erased_is_gone_and_stays_away",
    log_bugs.CutsIds: "check_odd_ids",
    log_bugs.WaitsInSubmit: "check_futures",
    log_bugs.CountsCallsTogether: "check_calls_together",
    log_bugs.WritesInTheBackground: "check_closed_is_refused",
    log_bugs.KnowsNobodyWhenClosed: "check_closed_is_refused",
}


def caught_by(build, folder, only=None):
    caught = set()
    for check in CHECKS:
        if only in (None, check.__name__):
            opened = []

            def remembered(*args, opened=opened):
                opened.append(build(*args))
                return opened[-1]

            try:
                check(SqlitePlace(folder, remembered))
            except (AssertionError, KeyError, TimeoutError, VrecError, pytest.fail.Exception):
                caught.add(check.__name__)
            for store in opened:
                with contextlib.suppress(Exception):
                    store.close()
    return caught


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_caught(bug, tmp_path):
    assert caught_by(bug, tmp_path, only=BUGS[bug])


def test_every_check_catches_some_planted_bug():
    assert {check.__name__ for check in CHECKS} == set(BUGS.values())


def test_sound_store_passes(tmp_path):
    assert caught_by(bugs.Sound, tmp_path) == set()
