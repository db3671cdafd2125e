"""Finished trials on disk: found as they were written, or not at all."""

import pytest

from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.trial_journal import RECORD, TrialJournal, TrialRecord
from vrec.testing.interactions import graded

WORLD = graded()
TRIAL = {"model": "popular", "settings": {}, "sample": False}


@pytest.fixture
def written(tmp_path) -> TrialJournal:
    journal = TrialJournal(str(tmp_path), {"data": "a"})
    fitted = PopularRecommender().fit(WORLD.interactions)
    journal.write(TRIAL, TrialRecord(fitted, {"half_life_days": None}, 0.25, 1.5, 1.25))
    return journal


def test_a_trial_is_found_as_it_was_written(written):
    found = written.find(TRIAL)
    assert found is not None
    assert (found.settings, found.score) == ({"half_life_days": None}, 0.25)
    assert (found.seconds, found.fit_seconds) == (1.5, 1.25)
    fitted = PopularRecommender().fit(WORLD.interactions)
    assert found.fitted.recommend(WORLD.users, 5).equals(fitted.recommend(WORLD.users, 5))


def test_other_trials_and_contexts_are_not_found(written, tmp_path):
    assert written.find(TRIAL | {"settings": {"half_life_days": 3.0}}) is None
    assert written.find(TRIAL | {"sample": True}) is None
    assert TrialJournal(str(tmp_path), {"data": "b"}).find(TRIAL) is None
    assert TrialJournal(str(tmp_path / "nowhere"), {"data": "a"}).find(TRIAL) is None


@pytest.mark.parametrize("name", [RECORD, "manifest.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1"])
def test_a_trial_that_is_not_whole_is_not_found(written, tmp_path, name, content):
    (folder,) = tmp_path.iterdir()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert written.find(TRIAL) is None
