"""Lists of creators: the model, the taste and own interest, and what is known of new ones."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.bundles import CONFIG, shop_parts
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.catalog import BundleCatalog
from vrec.bundle.write import write_bundle
from vrec.config.creators import CreatorListsConfig
from vrec.config.serve import ServeConfig
from vrec.core.errors import BundleError
from vrec.events.creators import with_creators
from vrec.profiles.profile import Profile
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig
from vrec.retrieval.config import CreatorsConfig
from vrec.retrieval.models.creators import CreatorRecommender
from vrec.serving.creators.lists import creators_for
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.fallback import PopularFallback

NOW = 1_800_000_000_000_000
STILL = CreatorListsConfig(exploration=0, new_share=0, quality=0)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The creators of a bundle with a recommender of creators."""
    parts = shop_parts()
    rows = with_creators(parts.interactions, parts.videos)
    model = CreatorRecommender(CreatorsConfig(graph_weight=1.0, friends_weight=0.0)).fit(summed(rows))
    uri = str(tmp_path_factory.mktemp("bundle") / "shop")
    write_bundle(uri, replace(parts, creator_model=model), CONFIG)
    assert ServingBundle.load(uri).creators.equals(parts.creators)
    return PopularFallback(BundleCatalog.load(uri), ServeConfig(bundle=uri)).creators


def summed(rows):
    found = rows.group_by(["user_id", "video_id"]).aggregate([("weight", "sum"), ("at", "max")])
    found = found.rename_columns(["user_id", "video_id", "weight", "at"])
    return found.set_column(2, "weight", found.column("weight").cast(pa.float32()))


def ranked(table, config=STILL, kind="creator", vector=None, k=100, **counts):
    user = Profile("user", "nobody", vector, counts)
    query = RecommendQuery("r", "nobody", "feed", k, NOW)
    return creators_for(query, kind, user, table, config, rules=EligibilityRulesConfig())


def interest(name, amount=5.0):
    return {f"creator:{name}": amount}


def test_the_model_orders_whom_the_shopper_does_not_watch(table):
    watched = table.names[0]
    found = ranked(table, **interest(watched))
    model, user = table.figures._model, Profile("user", "nobody", None, interest(watched))
    wanted = table.figures.model_scores(user, table.names)
    order = [one.creator_id for one in found if one.creator_id != watched]
    by_model = sorted((name for name in order), key=lambda name: -wanted[table.names.index(name)])
    assert order == by_model
    assert found[0].creator_id == watched
    assert [one.source for one in found] == ["watched"] + ["model"] * (len(found) - 1)
    assert model is not None


def test_a_taste_orders_by_the_vectors_where_no_model_knows_the_shopper(table):
    vector = table.vectors[3] * 2
    user_counts = {"taste_at": 0.0, "taste_weight": 1.0}
    user = Profile("user", "x", vector, user_counts)
    query = RecommendQuery("r", "x", "feed", 100, NOW)
    found = creators_for(query, "creator", user, table, STILL, rules=EligibilityRulesConfig())
    cosines = {name: float(table.vectors[n] @ table.vectors[3]) for n, name in enumerate(table.names)}
    assert [one.creator_id for one in found] == sorted(
        (one.creator_id for one in found), key=lambda name: -cosines[name]
    )
    assert found[0].creator_id == table.names[3]
    assert {one.source for one in found} == {"content"}


def test_an_unknown_shopper_gets_creators_of_quality(table):
    found = ranked(table, CreatorListsConfig(exploration=0, new_share=0))
    quality = dict(zip(table.names, table.quality, strict=True))
    values = [quality[one.creator_id] for one in found]
    assert values == sorted(values, reverse=True)
    assert np.std(values) > 0


def test_whom_a_shopper_follows_speaks_for_others_and_is_not_in_the_list(table):
    followed = table.names[1]
    found = ranked(table, **{f"follow:{followed}": 5.0})
    assert followed not in [one.creator_id for one in found]
    assert {one.source for one in found} == {"model"}
    back = ranked(table, **{f"follow:{followed}": 5.0, f"unfollow:{followed}": 6.0})
    assert followed in [one.creator_id for one in back]


def test_streamers_are_those_with_streams(table):
    rows = table.snapshot.view.videos.to_pylist()
    live = {row["creator_id"] for row in rows if row["kind"] == "live" and row["available"]}
    assert {one.creator_id for one in ranked(table, kind="streamer")} == live - {""}


def test_a_model_of_other_creators_is_refused(tmp_path):
    rows = summed(shop_parts().interactions)
    other = CreatorRecommender(CreatorsConfig(graph_weight=1.0, friends_weight=0.0)).fit(rows)
    with pytest.raises(BundleError, match="knows none of the"):
        write_bundle(str(tmp_path / "x"), replace(shop_parts(), creator_model=other), CONFIG)
