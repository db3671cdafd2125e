"""The battery under test: bugs planted in a real ranker, each of which must be caught."""

import pytest

from tests.contracts import ranker_bugs as bugs
from tests.contracts.caught import failed_checks
from vrec.ranking.rate_baseline import RateBaselineConfig
from vrec.testing.rankers import CHECKS

BUGS = {
    bugs.NoReasons: "check_identity",
    bugs.DoublePrecision: "check_identity",
    bugs.IntIds: "check_rows_stay_as_they_are",
    bugs.RowsByUtility: "check_rows_stay_as_they_are",
    bugs.RowsByUser: "check_rows_stay_as_they_are",
    bugs.DropsNewVideos: "check_rows_stay_as_they_are",
    bugs.DropsRepeats: "check_rows_stay_as_they_are",
    bugs.ItsOwnScores: "check_rows_stay_as_they_are",
    bugs.OwnSource: "check_rows_stay_as_they_are",
    bugs.Odds: "check_probabilities",
    bugs.NegativeChance: "check_probabilities",
    bugs.MoreConversionsThanClicks: "check_conversions_are_clicks",
    bugs.NegativeSeconds: "check_seconds",
    bugs.EndlessSeconds: "check_seconds",
    bugs.NotANumber: "check_utility",
    bugs.WorthUpsideDown: "check_utility",
    bugs.PopularOnly: "check_predictions_differ",
    bugs.AnswersNotPutBack: "check_batch_is_irrelevant",
    bugs.BatchNormalised: "check_batch_is_irrelevant",
    bugs.OneForAll: "check_batch_is_irrelevant",
    bugs.FirstRowDiffers: "check_order_is_irrelevant",
    bugs.RankCounts: "check_scores_are_irrelevant",
    bugs.StrangersAreAverage: "check_unknown_profiles_are_scored",
    bugs.KnownSurfacesOnly: "check_other_surfaces_are_scored",
    bugs.NothingIsWithoutColumns: "check_no_candidates",
    bugs.TakesAnything: "check_bad_rows_are_refused",
    bugs.TakesAnyCounts: "check_bad_profiles_are_refused",
    bugs.Drawn: "check_repeatable",
    bugs.FittedByChance: "check_repeatable",
    bugs.NotesTheRequest: "check_inputs_stay_as_they_are",
    bugs.RemembersStrangers: "check_inputs_stay_as_they_are",
    bugs.LossySave: "check_saved_and_loaded_is_the_same",
    bugs.LosesDurations: "check_saved_and_loaded_is_the_same",
    bugs.LoadsTheDamaged: "check_damaged_folders_are_refused",
    bugs.LoadsAnyKind: "check_other_kinds_are_refused",
    bugs.WritesIntoItself: "check_travels_to_another_process",
}


def made(ranker: type[bugs.Sound]):
    return lambda shop: ranker.fit(RateBaselineConfig(), *shop.train, shop.content)


def caught_by(make, only: str | None = None) -> set[str]:
    return failed_checks(CHECKS, make, only=only, errors=(ValueError, KeyError))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_caught(bug):
    assert caught_by(made(bug), only=BUGS[bug])


def test_every_check_catches_some_planted_bug():
    assert {check.__name__ for check in CHECKS} == set(BUGS.values())


def test_sound_ranker_passes():
    assert caught_by(made(bugs.Sound)) == set()
