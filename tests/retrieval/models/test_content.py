"""Content-based recommendation against its definition by hand, on cold videos, bad input and real titles."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from tests.retrieval.catalogues import embeddings, interactions, scores, videos
from vrec.core.errors import FitError, SchemaError
from vrec.core.types import CatalogContent
from vrec.retrieval.config import AttributesConfig, ContentConfig
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models import content as module
from vrec.retrieval.models.content import ContentRecommender, embedding_rows, rows_at
from vrec.retrieval.models.popular import PopularRecommender

PLAIN = ContentConfig(center=False, recency=1.0, attributes_share=0.0)
ROWS = np.random.default_rng(0).normal(size=(9, 4))
EMBEDDED = embeddings(**{f"v{n}": row for n, row in enumerate(ROWS)})
UNIT = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
WATCHED = interactions(("ann", "v0", 1, 1), ("ann", "v1", 3, 2), ("ann", "v2", 1, 0), ("bo", "v5", 2, 0))


def close(found: dict[str, float], want: np.ndarray, names: range) -> bool:
    return set(found) == {f"v{n}" for n in names} and all(abs(found[f"v{n}"] - want[n]) < 1e-6 for n in names)


def test_mean_taste_is_weighted_by_strength_and_recency():
    model = ContentRecommender(PLAIN.model_copy(update={"recency": 0.5})).fit(
        WATCHED, CatalogContent(embeddings=EMBEDDED)
    )
    taste = UNIT[2] * 0.25 + UNIT[0] * 0.5 + UNIT[1] * 3
    want = UNIT @ taste / np.linalg.norm(taste)
    assert close(scores(model.recommend(["ann"], 9), "ann"), want, range(3, 9))


def test_centre_is_subtracted_before_rows_are_brought_to_one_length():
    model = ContentRecommender(PLAIN.model_copy(update={"center": True})).fit(
        WATCHED, CatalogContent(embeddings=EMBEDDED)
    )
    rows = ROWS - ROWS.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    want = rows @ rows[5]
    found = scores(model.recommend(["bo"], 9), "bo")
    assert all(abs(found[f"v{n}"] - want[n]) < 1e-6 for n in (0, 1, 2, 3, 4, 6, 7, 8))


def test_likeness_is_shared_between_embedding_and_attributes(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 2)
    table = videos(
        a={"category": "hats"}, b={"category": "hats"}, c={"category": "shoes"}, d={"category": "shoes"}
    )
    rows = embeddings(a=[1, 0], b=[0, 1], c=[1, 0])
    config = PLAIN.model_copy(update={"attributes_share": 0.4})
    model = ContentRecommender(config).fit(interactions(("ann", "a", 1, 0)), CatalogContent(table, rows))
    found = scores(model.recommend(["ann"], 9), "ann")
    # d has attributes alone, which then are all of its length; none of them is a's.
    assert found == pytest.approx({"b": 0.4, "c": 0.6, "d": 0.0}, abs=1e-6)


@pytest.mark.parametrize("part", ["videos", "embeddings"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_either_part_alone_will_do_whatever_the_share(part: str, share: float):
    table = videos(
        a={"category": "hats"}, b={"category": "hats"}, c={"category": "bags"}, d={"category": "bags"}
    )
    rows = embeddings(a=[1, 0], b=[1, 0.1], c=[0, 1], d=[0, 1])
    known = CatalogContent(table, None) if part == "videos" else CatalogContent(None, rows)
    model = ContentRecommender(ContentConfig(attributes_share=share)).fit(
        interactions(("ann", "a", 1, 0)), known
    )
    assert model.recommend(["ann"], 1).column("video_id").to_pylist() == ["b"]


def test_cold_videos_are_recommended_and_videos_without_content_are_not():
    watched = interactions(
        ("ann", "v0", 1, 0), ("ann", "bare", 50, 5), ("bo", "bare", 1, 0), ("cy", "v5", 1, 0)
    )
    model = ContentRecommender(PLAIN).fit(watched, CatalogContent(embeddings=EMBEDDED))
    found = model.recommend(["ann", "bo", "cy"], 20)
    assert close(scores(found, "ann"), UNIT @ UNIT[0], range(1, 9))
    assert scores(found, "bo") == {}
    assert "bare" not in found.column("video_id").to_pylist()


def test_long_ago_is_not_lost_where_nothing_else_is_known():
    rows = [("ann", "v0", 1, 0)] + [("ann", f"bare{n}", 1, 1 + n) for n in range(2000)]
    model = ContentRecommender(PLAIN.model_copy(update={"recency": 0.5}))
    model.fit(interactions(*rows), CatalogContent(embeddings=EMBEDDED))
    assert close(scores(model.recommend(["ann"], 20), "ann"), UNIT @ UNIT[0], range(1, 9))


def test_new_shoppers_and_new_events_are_served_without_another_fit():
    model = ContentRecommender(PLAIN).fit(WATCHED, CatalogContent(embeddings=EMBEDDED))
    found = model.recommend_from(interactions(("new", "v7", 1, 0), ("new", "stranger", 1, 1)), 20)
    assert scores(found, "new") == pytest.approx(
        {f"v{n}": UNIT[n] @ UNIT[7] for n in range(9) if n != 7}, abs=1e-6
    )


def test_equal_content_ties_by_id_wherever_it_stands():
    rng = np.random.default_rng(1)
    rows = {f"v{n:03}": rng.normal(size=50) for n in range(200)}
    twins = [f"v{n:03}" for n in (3, 77, 120, 121, 199)]
    rows |= dict.fromkeys(twins, rows["v003"] * 3)
    watched = interactions(*[(f"u{n}", f"v{n:03}", 1, 0) for n in range(10, 60)])
    model = ContentRecommender().fit(watched, CatalogContent(embeddings=embeddings(**rows)))
    for user in model.users.ids.to_pylist():
        found = model.recommend([user], 200).column("video_id").to_pylist()
        places = [found.index(name) for name in twins]
        assert places == list(range(places[0], places[0] + 5))


def test_nothing_known_is_refused_by_name():
    with pytest.raises(FitError, match="no content"):
        ContentRecommender().fit(WATCHED)
    with pytest.raises(FitError, match="none of the 4 videos that were watched, such as v0, has content"):
        ContentRecommender().fit(WATCHED, CatalogContent(embeddings=embeddings(x=[1, 0], y=[0, 1])))
    with pytest.raises(FitError, match=r"2 videos have more than one row, such as v\d"):
        ContentRecommender().fit(
            WATCHED, CatalogContent(embeddings=pa.concat_tables([EMBEDDED, EMBEDDED.slice(0, 2)]))
        )
    broken = embeddings(v0=[1, 0], v1=[float("nan"), 1])
    with pytest.raises(FitError, match="not finite in 1 of 2 rows, such as that of v1"):
        ContentRecommender().fit(WATCHED, CatalogContent(embeddings=broken))
    with pytest.raises(SchemaError, match="missing encoder"):
        ContentRecommender().fit(WATCHED, CatalogContent(embeddings=EMBEDDED.drop_columns(["encoder"])))


def test_blank_embedding_is_no_content():
    rows = embeddings(v0=[1, 0], v1=[0, 0], v2=[1, 1])
    model = ContentRecommender(PLAIN).fit(WATCHED, CatalogContent(embeddings=rows))
    assert scores(model.recommend(["ann", "bo"], 9), "ann") == {}
    assert set(scores(model.recommend_from(interactions(("x", "v0", 1, 0)), 9), "x")) == {"v2"}


def test_titles_find_videos_that_nobody_has_watched(shared_data: Path):
    """MicroLens-50k: of 700 withheld videos, a user's last one is found far oftener than by luck."""
    folder = shared_data / "interactions" / "microlens50k"
    rows = [
        line.split("\t") for line in (folder / "MicroLens-50k_pairs.tsv").read_text().splitlines()[:12_000]
    ]
    histories = {user: names.split() for user, names in rows}
    seen = sorted({name for names in histories.values() for name in names})
    cold = set(np.random.default_rng(0).choice(seen, 700, replace=False).tolist())
    testing = {
        user: names for user, names in histories.items() if names[-1] in cold and not cold & set(names[:-1])
    }
    watched = interactions(
        *((user, name, 1, day) for user, names in testing.items() for day, name in enumerate(names[:-1]))
    )
    titles = dict(
        line.split(",", 1) for line in (folder / "MicroLens-50k_titles.csv").read_text().splitlines()[1:]
    )
    table = videos(**{name: {"title": titles[name]} for name in seen if name in titles})
    config = ContentConfig(attributes=AttributesConfig(title=1))
    found = (
        ContentRecommender(config)
        .fit(watched, CatalogContent(table))
        .recommend(list(testing), 10, candidates=sorted(cold))
    )
    given = zip(found.column("user_id").to_pylist(), found.column("video_id").to_pylist(), strict=True)
    hits = sum(testing[user][-1] == name for user, name in given)
    assert len(testing) > 200
    assert hits / len(testing) > 5 * 10 / 700
    popular = PopularRecommender().fit(watched).recommend(list(testing), 10, candidates=sorted(cold))
    assert popular.num_rows == 0


def test_a_single_embedding_is_not_centered_to_zero():
    """Also where the catalog has more videos than the one that has an embedding."""
    found = embedding_rows(embeddings(b=[3, 4]), IdVocabulary(pa.array(["a", "b"])), center=True)
    np.testing.assert_allclose(found, [[0, 0], [0.6, 0.8]], rtol=1e-6)
    assert found.dtype == np.float32
    model = ContentRecommender().fit(
        interactions(("ann", "b", 1, 0), ("bo", "a", 1, 0)), CatalogContent(embeddings=embeddings(b=[3, 4]))
    )
    assert model.known.tolist() == [False, True]
    assert scores(model.recommend_from(interactions(("new", "a", 1, 0)), 9), "new") == {}


def test_two_embeddings_are_centered_and_equal_ones_carry_nothing():
    videos_ = IdVocabulary(pa.array(["a", "b", "c"]))
    found = embedding_rows(embeddings(c=[2, 1], a=[0, 1]), videos_, center=True)
    np.testing.assert_allclose(found, [[-1, 0], [0, 0], [1, 0]], atol=1e-7)
    assert not embedding_rows(embeddings(c=[2, 1], a=[2, 1]), videos_, center=True).any()
    found = embedding_rows(embeddings(c=[2, 0], a=[0, 5]), videos_, center=False)
    np.testing.assert_allclose(found, [[0, 1], [0, 0], [1, 0]], atol=1e-7)


def test_the_mean_is_that_of_all_embeddings_also_outside_the_catalog():
    found = embedding_rows(
        embeddings(a=[0, 0], b=[2, 0], other=[1, 3]), IdVocabulary(pa.array(["a", "b"])), center=True
    )
    np.testing.assert_allclose(found, np.array([[-1, -1], [1, -1]]) / 2**0.5, rtol=1e-6)


def test_centering_is_the_default():
    assert ContentConfig().center
    rows = embeddings(a=[10, 1], b=[10, 2], c=[10, -3])
    watched = interactions(("ann", "a", 1, 0))
    found = {
        center: scores(
            ContentRecommender(ContentConfig(center=center))
            .fit(watched, CatalogContent(embeddings=rows))
            .recommend(["ann"], 9),
            "ann",
        )
        for center in (True, False)
    }
    assert found[True] == pytest.approx({"b": 1, "c": -1}, abs=1e-6)
    assert min(found[False].values()) > 0.9


def test_the_catalog_is_all_watched_videos_and_all_with_content():
    hats, bags = {"category": "hats"}, {"category": "bags"}
    table = videos(z=hats, y=hats, q=bags, r=bags)
    model = ContentRecommender().fit(
        interactions(("ann", "bare", 1, 0), ("ann", "z", 1, 0)),
        CatalogContent(table, embeddings(e=[1, 0], f=[0, 1])),
    )
    assert model.videos.ids.to_pylist() == ["bare", "e", "f", "q", "r", "y", "z"]
    assert model.known.tolist() == [False, True, True, True, True, True, True]


@pytest.mark.parametrize(("share", "near"), [(0.0, "c"), (1.0, "b")])
def test_a_share_of_none_or_all_ignores_the_other_part(share: float, near: str):
    """a is like b by category and like c by embedding."""
    table = videos(
        a={"category": "hats"}, b={"category": "hats"}, c={"category": "bags"}, d={"category": "bags"}
    )
    rows = embeddings(a=[1, 0], b=[0, 1], c=[1, 0], d=[0, 1])
    model = ContentRecommender(ContentConfig(attributes_share=share))
    model.fit(interactions(("ann", "a", 1, 0)), CatalogContent(table, rows))
    assert model.recommend(["ann"], 1)["video_id"].to_pylist() == [near]
    assert (model.dense.shape[1] == 0, model.coded.shape[1] == 0) == (share == 1, share == 0)


def test_attribute_weights_are_those_of_the_settings():
    table = videos(
        a={"category": "hats", "creator_id": "x"},
        b={"category": "hats", "creator_id": "y"},
        c={"category": "bags", "creator_id": "x"},
        d={"category": "bags", "creator_id": "y"},
    )
    nothing = dict.fromkeys(AttributesConfig.model_fields, 0)
    attributes = AttributesConfig.model_validate(nothing | {"category": 3, "creator_id": 1})
    model = ContentRecommender(ContentConfig(attributes=attributes))
    model.fit(interactions(("ann", "a", 1, 0)), CatalogContent(table))
    want = {"b": 0.75, "c": 0.25, "d": 0}
    assert scores(model.recommend(["ann"], 9), "ann") == pytest.approx(want, abs=1e-6)


def test_videos_that_cancel_each_other_out_leave_scores_of_zero():
    rows = embeddings(a=[1, 0], b=[-1, 0], c=[0, 1])
    model = ContentRecommender(PLAIN).fit(
        interactions(("ann", "a", 1, 0), ("ann", "b", 1, 0)), CatalogContent(embeddings=rows)
    )
    assert scores(model.recommend(["ann"], 9), "ann") == {"c": 0}


def test_recency_counts_the_videos_with_content_alone_and_ties_go_by_id():
    """v0 and v1 have one time: v1 counts as newer. What is unknown does not age them."""
    rows = interactions(("ann", "v0", 1, 1), ("ann", "v1", 1, 1), ("ann", "bare", 1, 9))
    model = ContentRecommender(PLAIN.model_copy(update={"recency": 0.5}))
    model.fit(rows, CatalogContent(embeddings=EMBEDDED))
    taste = UNIT[0] * 0.5 + UNIT[1]
    want = UNIT @ taste / np.linalg.norm(taste)
    assert close(scores(model.recommend(["ann"], 20), "ann"), want, range(2, 9))


def test_repeated_videos_are_refused_and_placed_rows_stay_apart():
    twice = pa.concat_tables([videos(a={"category": "hats"}), videos(a={"category": "bags"})])
    match = r"VIDEOS\.video_id: 1 videos have more than one row, such as a"
    with pytest.raises(FitError, match=match) as error:
        ContentRecommender().fit(interactions(("ann", "a", 1, 0)), CatalogContent(twice))
    assert error.value.fix == "give one row per video, of one modality and one encoder"
    found = rows_at(sparse.csr_matrix(np.array([[1, 2], [0, 3]], np.float32)), np.array([3, 1]), 4)
    assert found.toarray().tolist() == [[0, 0], [0, 3], [0, 0], [1, 2]]
