"""Bundles whose encoders were learned: they hold the models, and go on to work wherever they are moved."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.bundles import CONFIG, embeddings_of, parts_of, shop
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.catalog import BundleCatalog
from vrec.bundle.write import write_bundle
from vrec.core.errors import BundleError
from vrec.core.types import Clip
from vrec.encoders.build import build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.config import GatedHeadConfig
from vrec.encoders.text import TextEncoderConfig, text_name


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Parts of a shop whose videos are embedded by their titles through a head with first weights."""
    found = shop()
    ids = sorted(found.videos.column("video_id").to_pylist())
    names = {"text": text_name(TextEncoderConfig())}
    texts = build_encoders(EmbedConfig.model_validate({"encoders": only_text(None)}).encoders)
    vectors = np.stack(texts.encode([Clip(name, text=f"title of {name}") for name in ids])["text"])
    features = FeatureSet.from_embeddings(ids, {"text": vectors}, names)
    config = GatedHeadConfig(dim=16)
    weights = {name: value.numpy() for name, value in init_head(config, features, 0).state_dict().items()}
    encoder = LearnedEncoder.from_weights(config, features, weights)
    folder = str(tmp_path_factory.mktemp("learned") / "model")
    encoder.save(folder)
    fused = embeddings_of(ids, "fused", encoder.name, encoder.encode_features(features)[0])
    embed = EmbedConfig.model_validate({"encoders": only_text({"kind": "learned", "model": folder})})
    return parts_of(found, fused, embeddings_of(ids, "text", names["text"], vectors), embed=embed)


def only_text(fusion):
    return {"frames": None, "audio": None, "fusion": fusion}


def model_of(parts):
    return parts.embed.encoders.fusion.model


@pytest.mark.slow
def test_a_bundle_holds_its_own_copy_of_what_was_learned_and_can_be_moved(parts, tmp_path):
    model = shutil.copytree(model_of(parts), tmp_path / "model")
    embed = EmbedConfig.model_validate({"encoders": only_text({"kind": "learned", "model": str(model)})})
    version = write_bundle(str(tmp_path / "bundle"), replace(parts, embed=embed), CONFIG)
    shutil.rmtree(model)
    shutil.move(tmp_path / "bundle", tmp_path / "moved")
    bundle = ServingBundle.load(str(tmp_path / "moved"))
    bundle.check()
    assert bundle.version == version
    made = build_encoders(bundle.embed.encoders)
    assert made.names["fused"] == bundle.encoder
    first = bundle.content.embeddings.slice(0, 1).to_pylist()[0]
    clip = Clip("v", text=f"title of {first['entity_id']}")
    assert made.encode([clip])["fused"][0] == pytest.approx(np.array(first["vector"]), abs=1e-5)


def test_another_model_in_its_place_is_refused(parts, tmp_path):
    write_bundle(str(tmp_path / "bundle"), parts, CONFIG)
    (folder,) = tmp_path.glob("bundle/encoder-*")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("gated", "gru"))
    with pytest.raises(BundleError, match="encoder-fusion is not what the bundle was written with"):
        BundleCatalog.load(str(tmp_path / "bundle"))


def test_a_model_that_is_gone_is_named_before_anything_is_a_bundle(parts, tmp_path):
    embed = EmbedConfig.model_validate({"encoders": only_text({"kind": "learned", "model": "/nowhere"})})
    with pytest.raises(BundleError, match="/nowhere"):
        write_bundle(str(tmp_path / "bundle"), replace(parts, embed=embed), CONFIG)
    assert not (tmp_path / "bundle" / "manifest.json").exists()
