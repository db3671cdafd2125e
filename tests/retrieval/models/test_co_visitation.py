"""Co-visitation by hand: links by closeness and direction, their divisor, and how a history fades."""

import numpy as np
import pytest

from tests.retrieval.catalogues import interactions, scores
from vrec.retrieval.config import CoVisitationConfig
from vrec.retrieval.models.co_visitation import CoVisitation, strongest_entries

LOG = interactions(
    *(("u", video, 1, day) for day, video in enumerate("abcd")),
    *(("v", video, 9, day) for day, video in enumerate("ca")),
)


def links(**settings) -> dict[tuple[str, str], float]:
    model = CoVisitation(CoVisitationConfig(**settings)).fit(LOG)
    table, ids = model.links.tocoo(), model.videos.ids.to_pylist()
    found = zip(table.row, table.col, table.data, strict=True)
    return {(ids[row], ids[column]): pytest.approx(value) for row, column, value in found}


def test_closer_videos_are_linked_more_strongly_up_to_the_window():
    forward = {("a", "b"): 1, ("b", "c"): 1, ("c", "d"): 1, ("c", "a"): 1}
    assert links(window=1, backward=0) == forward
    assert links(window=2, backward=0) == forward | {("a", "c"): 1 / 2, ("b", "d"): 1 / 2}
    assert links(window=9, backward=0)["a", "d"] == 1 / 3


def test_the_other_direction_counts_in_part():
    found = links(window=1, backward=0.5)
    assert (found["a", "b"], found["b", "a"]) == (1, 0.5)
    both = links(window=2, backward=1)
    assert both["a", "c"] == both["c", "a"] == 1.5


def test_links_to_popular_videos_are_divided_by_a_power_of_their_users():
    found = links(window=1, backward=0, popularity_power=0.5)
    assert (found["a", "b"], found["c", "a"]) == (1, 1 / np.sqrt(2))


def test_of_a_history_the_newest_counts_most():
    model = CoVisitation(CoVisitationConfig(window=1, backward=0, decay=0.5)).fit(LOG)
    new = interactions(("w", "b", 1, 0), ("w", "c", 1, 1))
    assert scores(model.recommend_from(new, 9), "w") == {"d": 1.0, "a": 1.0}
    other = interactions(("w", "c", 1, 0), ("w", "a", 1, 1))
    assert scores(model.recommend_from(other, 9), "w") == {"d": 0.5, "b": 1.0}


def test_only_the_strongest_links_stay_ties_by_column():
    from scipy import sparse

    rows = sparse.csr_matrix(np.array([[3.0, 1, 0, 3], [0, 2, 2, 2]]))
    assert strongest_entries(rows, 2).toarray().tolist() == [[3, 0, 0, 3], [0, 2, 2, 0]]
    assert strongest_entries(rows, 9).toarray().tolist() == rows.toarray().tolist()
