"""What does not belong together is not put together."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.bundles import shop_parts
from tests.events.rows import interactions
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.config import BundleConfig
from vrec.bundle.write import popular_videos, write_bundle
from vrec.core.compute import pc
from vrec.core.errors import BundleError, SchemaError
from vrec.encoders.build import encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.testing.ranking_shop import ranking_shop, rates


def with_column(table: pa.Table, name: str, values) -> pa.Table:
    column = pa.array(values, table.schema.field(name).type)
    return table.set_column(table.column_names.index(name), table.schema.field(name), column)


def of_encoder(table: pa.Table, name: str) -> pa.Table:
    return with_column(table, "encoder", [name] * table.num_rows)


def broken(fused: pa.Table) -> pa.Table:
    rows = np.stack(fused.column("vector").to_numpy(zero_copy_only=False))
    rows[3, 2] = np.nan
    flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    return fused.set_column(4, fused.schema.field("vector"), flat)


def twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(2, 1)])


REFUSED = {
    "no video": (lambda p: {"videos": p.videos.slice(0, 0)}, "VIDEOS has no rows"),
    "a video twice": (lambda p: {"videos": twice(p.videos)}, r"VIDEOS\.video_id has repeated ids, 1 of them"),
    "a vector twice": (lambda p: {"fused": twice(p.fused)}, r"entity_id \(fused\) has repeated ids"),
    "a text twice": (lambda p: {"texts": twice(p.texts)}, r"entity_id \(text\) has repeated ids"),
    "another encoder": (
        lambda p: {"fused": of_encoder(p.fused, "other")},
        "trained with the embeddings of simulated, and the fused embeddings are of other",
    ),
    "no vectors for the ranker": (lambda p: {"fused": None}, "and there are no fused embeddings"),
    "two encoders": (
        lambda p: {"fused": with_column(p.fused, "encoder", ["a", *["simulated"] * 99])},
        "have encoder a, simulated, want one",
    ),
    "another modality": (lambda p: {"fused": p.texts}, "have modality text, want one: fused"),
    "texts that are not": (lambda p: {"texts": p.fused}, "have modality fused, want one: text"),
    "no vector at all": (lambda p: {"fused": p.fused.slice(0, 0)}, "have modality none"),
    "vectors of other videos": (
        lambda p: {"fused": with_column(p.fused, "entity_id", [f"x{n}" for n in range(100)])},
        "none of the 100 videos in VIDEOS has a fused embedding",
    ),
    "numbers that are none": (lambda p: {"fused": broken(p.fused)}, r"not finite in 1 of 100 rows"),
    "a recommender of another shop": (
        lambda p: {"recommender": ItemKnn().fit(interactions(("a", "x", 1, 0)))},
        "item_knn knows none of the 100 videos",
    ),
    "encoders of other settings": (
        lambda p: {"embed": EmbedConfig()},
        "the fused embeddings are of simulated, and these settings of the encoders make those of fused@",
    ),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_belong_together_is_refused(changes, words, tmp_path):
    parts = shop_parts()
    with pytest.raises(BundleError, match=words) as caught:
        write_bundle(str(tmp_path / "b"), replace(parts, **changes(parts)), BundleConfig())
    assert caught.value.fix
    assert not (tmp_path / "b" / "manifest.json").exists()


def test_other_columns_are_refused(tmp_path):
    parts = shop_parts()
    for name in ("videos", "fused", "texts"):
        table = getattr(parts, name)
        changed = replace(parts, **{name: table.drop_columns([table.column_names[0]])})
        with pytest.raises(SchemaError, match="missing"):
            write_bundle(str(tmp_path / name), changed, BundleConfig())


def test_embeddings_are_those_of_the_videos_in_the_catalogue(tmp_path):
    parts = shop_parts()
    write_bundle(str(tmp_path), replace(parts, videos=parts.videos.slice(40)), BundleConfig(smoke_requests=2))
    bundle = ServingBundle.load(str(tmp_path))
    ids = set(bundle.videos.column("video_id").to_pylist())
    assert len(ids) == len(bundle.index) == bundle.content.embeddings.num_rows == 60
    assert set(bundle.texts.column("entity_id").to_pylist()) == ids
    assert set(bundle.popular) <= ids
    assert {bundle.neighbors.ids[n] for n in np.unique(bundle.neighbors.indices) if n >= 0} <= ids
    bundle.check()


def test_the_ranker_knows_videos_that_came_after_it_was_trained(tmp_path):
    parts = shop_parts()
    videos, fused = (
        pa.concat_tables([table, with_column(table.slice(0, 1), name, ["brand-new"])])
        for table, name in ((parts.videos, "video_id"), (parts.fused, "entity_id"))
    )
    write_bundle(str(tmp_path), replace(parts, videos=videos, fused=fused), BundleConfig(smoke_requests=2))
    ranker = ServingBundle.load(str(tmp_path)).ranker
    assert "brand-new" not in parts.ranker.catalog.rows
    twin, rows = parts.videos.column("video_id")[0].as_py(), ranker.catalog.rows
    vectors = ranker.catalog.arrays.vectors[[rows["brand-new"], rows[twin]]]
    assert vectors.any()
    assert np.array_equal(vectors[0], vectors[1])
    assert ranker.scalars.find(["brand-new"])[0] >= 0


def test_the_encoders_settings_that_made_the_embeddings_are_kept(tmp_path):
    parts, embed = shop_parts(), EmbedConfig()
    names = encoder_names(embed.encoders)
    ranker = rates(ranking_shop())
    fused, texts = of_encoder(parts.fused, names["fused"]), of_encoder(parts.texts, names["text"])
    write_bundle(
        str(tmp_path),
        replace(parts, ranker=ranker, fused=fused, texts=texts, embed=embed),
        BundleConfig(smoke_requests=2),
    )
    bundle = ServingBundle.load(str(tmp_path))
    assert bundle.embed == embed
    assert bundle.encoder == names["fused"]
    bundle.check()


def test_a_bundle_needs_no_embeddings_nor_recommender_nor_interactions(tmp_path):
    parts = shop_parts()
    bare = replace(
        parts,
        ranker=rates(ranking_shop()),
        fused=None,
        texts=None,
        recommender=None,
        interactions=None,
    )
    write_bundle(str(tmp_path), bare, BundleConfig(smoke_requests=3))
    bundle = ServingBundle.load(str(tmp_path))
    assert (bundle.encoder, bundle.texts, bundle.content.embeddings) == (None, None, None)
    assert len(bundle.index) == 0
    assert bundle.index.search(np.zeros((1, 4), np.float32), 3) == ([[]], [[]])
    assert bundle.neighbors.find(bundle.neighbors.ids[0], 5) == []
    at = dict(zip(*(parts.videos.column(n).to_pylist() for n in ("video_id", "published_at")), strict=True))
    assert list(bundle.popular) == sorted(at, key=lambda video: (-at[video].timestamp(), video))
    bundle.check()


def test_the_popular_are_on_offer():
    parts, config = shop_parts(), BundleConfig(popular=5)
    best = popular_videos(parts.videos, parts.interactions, config)
    gone = pc.invert(pc.is_in(parts.videos.column("video_id"), value_set=pa.array(best[:2])))
    videos = with_column(parts.videos, "available", gone.to_pylist())
    rest = popular_videos(videos, parts.interactions, config)
    assert rest[:3] == best[2:]
    assert len(rest) == 5
    assert not set(popular_videos(videos, None, BundleConfig())) & set(best[:2])
