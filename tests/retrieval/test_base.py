"""MatrixRecommender on a fixed score matrix: ids, masks, blocks and the folder on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.retrieval.catalogues import interactions
from vrec.core.config import BaseConfig
from vrec.core.errors import FitError, ModelError
from vrec.retrieval import base as module
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.models.popular import PopularRecommender


class ByColumn(MatrixRecommender[BaseConfig]):
    """Scores the c-th video c + 1 for everyone, and records the rows that it is called with."""

    kind = "by_column"
    Config = BaseConfig

    def _fit(self, histories, content):
        self.calls = []

    def score_block(self, histories, users):
        self.calls.append((histories.weights.toarray().tolist(), users.tolist()))
        return np.tile(np.arange(1, histories.videos + 1, dtype=np.float32), (histories.users, 1))

    def _arrays(self):
        return {"own": np.array([7])}

    def _restore(self, arrays):
        self.calls, self.restored = [], arrays


class Transductive(ByColumn):
    """A model that knows fitted users only."""

    inductive = False


# Columns a, b, c and d; "b" is a user's id as well.
ROWS = interactions(("ann", "d", 1, 0), ("b", "a", 2, 1), ("b", "c", 1, 2), ("cy", "b", 1, 3))


@pytest.fixture
def model() -> ByColumn:
    return ByColumn().fit(ROWS)


def lists(table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in table.to_pylist():
        found.setdefault(row["user_id"], []).append(row["video_id"])
    return found


def test_fitted_users_get_unwatched_videos_by_score(model: ByColumn):
    table = model.recommend(["cy", "nobody", "b", "cy"], 2)
    assert lists(table) == {"cy": ["d", "c"], "b": ["d", "b"]}
    assert table["score"].to_pylist() == [4, 3, 4, 2]
    assert table["rank"].to_pylist() == [1, 2, 1, 2]
    assert set(table["source"].to_pylist()) == {"by_column"}
    assert model.calls == [([[0, 1, 0, 0], [2, 0, 1, 0]], [2, 1])]


def test_exclusions_are_by_user_and_candidates_for_all(model: ByColumn):
    found = model.recommend(["ann", "cy"], 9, exclude={"ann": ["c", "unknown"], "b": ["a"]})
    assert lists(found) == {"ann": ["b", "a"], "cy": ["d", "c", "a"]}
    found = model.recommend(["ann", "cy"], 9, exclude={"ann": ["c"]}, candidates=["c", "a", "unknown"])
    assert lists(found) == {"ann": ["a"], "cy": ["c", "a"]}
    assert model.recommend(["ann"], 9, candidates=[]).num_rows == 0


def test_blocks_of_users_make_no_difference(model: ByColumn, monkeypatch: pytest.MonkeyPatch):
    users, exclude = ["ann", "b", "cy"], {"cy": ["d"]}
    whole = model.recommend(users, 3, exclude=exclude)
    monkeypatch.setattr(module, "BLOCK_CELLS", 8)
    model.calls.clear()
    assert model.recommend(users, 3, exclude=exclude).equals(whole)
    assert [users for _, users in model.calls] == [[0, 1], [2]]
    monkeypatch.setattr(module, "BLOCK_CELLS", 1)
    assert model.recommend(users, 3, exclude=exclude).equals(whole)


def test_rows_alone_decide_for_new_users_and_fitted_ones(model: ByColumn):
    rows = interactions(
        ("new", "d", 2, 0), ("ann", "a", 1, 0), ("ann", "unknown", 1, 0), ("cold", "unknown", 1, 0)
    )
    found = model.recommend_from(rows, 2, exclude={"new": ["c"]})
    assert lists(found) == {"ann": ["d", "c"], "new": ["b", "a"]}
    assert model.calls == [([[1, 0, 0, 0], [0, 0, 0, 2]], [-1, -1])]
    assert lists(model.recommend_from(rows, 2, candidates=["b"])) == {"ann": ["b"], "new": ["b"]}
    assert lists(model.recommend(["ann"], 1)) == {"ann": ["c"]}


def test_requests_that_cannot_be_served_are_refused(model: ByColumn, tmp_path: Path):
    for k in (0, -1):
        for request in (lambda: model.recommend(["ann"], k), lambda: model.recommend_from(ROWS, k)):  # noqa: B023
            with pytest.raises(FitError, match=f"by_column: k is {k}"):
                request()
    unfitted = ByColumn()
    for request in (
        lambda: unfitted.recommend(["ann"], 1),
        lambda: unfitted.recommend_from(ROWS, 1),
        lambda: unfitted.save(str(tmp_path)),
    ):
        with pytest.raises(FitError, match="by_column is not fitted yet") as error:
            request()
        assert error.value.fix == "call fit first"
    with pytest.raises(FitError, match="knows only the users") as error:
        Transductive().fit(ROWS).recommend_from(ROWS, 1)
    assert error.value.fix == "fit it again with these rows"
    with pytest.raises(FitError, match=r"by_column: there are no interactions"):
        model.recommend_from(ROWS.slice(0, 0), 1)
    with pytest.raises(FitError, match=r"by_column: there are no interactions"):
        ByColumn().fit(ROWS.slice(0, 0))


def test_a_saved_model_has_its_histories_and_sizes(model: ByColumn, tmp_path: Path):
    assert model.sizes == {"users": 3, "videos": 4, "interactions": 4}
    model.save(str(tmp_path))
    assert json.loads((tmp_path / "manifest.json").read_text())["data"] == model.sizes
    loaded = ByColumn.load(str(tmp_path))
    assert loaded.restored.keys() == {"own"}
    assert loaded.users.ids.equals(model.users.ids)
    assert loaded.histories.weights.toarray().tolist() == model.histories.weights.toarray().tolist()
    assert loaded.histories.at.tolist() == [n * 86_400_000_000 for n in (0, 1, 2, 3)]
    with pytest.raises(ModelError, match="by_column"):
        PopularRecommender.load(str(tmp_path))
