"""Learned encoders on disk, and in `vrec embed`."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.contracts.learned import drawn_features, other_cnn, write_encoder
from tests.encoders.learned.catalogues import of_topics
from vrec.config.load import load_settings
from vrec.core.errors import ConfigError, ModelError
from vrec.core.types import Clip
from vrec.encoders.build import EncodersConfig, build_encoders, encoder_names
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.encoders.config import EmbedConfig
from vrec.encoders.learned.config import GruEncoderConfig, LearnedFusionConfig
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.config import GatedHeadConfig, GruHeadConfig, MeanHeadConfig, VaeHeadConfig

GRU, GATED = GruHeadConfig(dim=8, hidden=4), GatedHeadConfig(dim=8, frames="gru", hidden=4)
HEADS = [MeanHeadConfig(dim=8), GRU, GATED, VaeHeadConfig(dim=8, layer=6)]
FEATURES, _ = of_topics(20, seed=0, has={"audio": np.arange(20) % 3 > 0, "frames": np.arange(20) > 3})


def made(config, features: FeatureSet = FEATURES, seed: int = 0) -> LearnedEncoder:
    weights = init_head(config, features, seed).state_dict()
    return LearnedEncoder.from_weights(
        config, features, {name: weight.numpy() for name, weight in weights.items()}
    )


@pytest.mark.parametrize("config", HEADS, ids=lambda config: config.kind)
def test_a_saved_encoder_answers_the_same(config, tmp_path):
    encoder = made(config)
    encoder.save(str(tmp_path))
    again = LearnedEncoder.load(str(tmp_path))
    assert (again.name, again.dim, again.names) == (encoder.name, encoder.dim, encoder.names)
    assert again.encode_features(FEATURES)[0].shape == (20, encoder.dim)
    for one, other in zip(encoder.encode_features(FEATURES), again.encode_features(FEATURES), strict=True):
        assert np.array_equal(one, other)
    kind, _, digest = encoder.name.partition("@")
    assert kind == config.kind
    assert len(digest) == 12


@pytest.mark.parametrize("config", HEADS, ids=lambda config: config.kind)
def test_rows_are_units_where_a_video_has_what_the_head_takes(config):
    vectors, able = made(config).encode_features(FEATURES)
    takes_frames_alone = config.kind in ("gru", "mean")
    assert able.tolist() == (FEATURES.has["frames"].tolist() if takes_frames_alone else [True] * 20)
    assert np.allclose(np.linalg.norm(vectors[able], axis=1), 1, atol=1e-5)
    assert not vectors[~able].any()
    some = FEATURES.select([2, 7, 11])
    assert np.allclose(made(config).encode_features(some)[0], vectors[[2, 7, 11]], atol=1e-6)


def test_the_name_follows_weights_config_and_features():
    others = [
        made(GRU),
        made(GRU, seed=1),
        made(GruHeadConfig(dim=8, hidden=4, dropout=0.3)),
        made(GRU, replace(FEATURES, names=dict(FEATURES.names) | {"frames": "cnn@000000000001"})),
    ]
    assert len({other.name for other in others}) == 4
    assert made(GRU).name == others[0].name


def test_features_of_another_network_are_refused_by_name():
    encoder = made(GATED)
    other = replace(FEATURES, names=dict(FEATURES.names) | {"frames": "cnn@ffffffffffff"})
    with pytest.raises(ModelError, match="trained on frames of cnn@000000000000, not of cnn@ffffffffffff"):
        encoder.encode_features(other)
    # What it does not take may be of any.
    made(GRU).encode_features(replace(FEATURES, names=dict(FEATURES.names) | {"text": "text@ffffffffffff"}))


def test_a_catalogue_without_a_modality_is_encoded_by_the_rest():
    silent, _ = of_topics(20, seed=0, has={"audio": np.zeros(20, bool), "frames": FEATURES.has["frames"]})
    bare = replace(
        silent, audio=np.zeros((20, 0), np.float32), names={m: silent.names[m] for m in ("frames", "text")}
    )
    found, able = made(GATED).encode_features(bare)
    assert able.all()
    assert np.array_equal(found, made(GATED).encode_features(silent)[0])
    only_text = FeatureSet.from_embeddings(silent.video_ids, {"text": silent.text}, silent.names)
    assert made(GATED).encode_features(only_text)[1].all()


@pytest.mark.parametrize("damage", ["kind", "dims", "weights"])
def test_a_damaged_encoder_is_refused(damage, tmp_path):
    stored = made(GRU).artifact
    weights = dict(stored.weights)
    if damage == "weights":
        weights.pop("order.bias", None)
        weights = dict(list(weights.items())[:-1])
    changed = {
        "kind": {"config": {**stored.config, "kind": "lstm"}},
        "dims": {"dims": {"frames": 25}},
        "weights": {"weights": weights},
    }[damage]
    replace(stored, **changed).save(str(tmp_path))
    with pytest.raises(ModelError, match="is not a valid encoder"):
        LearnedEncoder.load(str(tmp_path))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """Encoders trained on the features of vrec's own encoders, and of another network."""
    at = {name: str(tmp_path_factory.mktemp("encoders") / name) for name in ("gru", "gated", "vae", "other")}
    write_encoder(at["gru"], GRU, drawn_features(("frames",)))
    write_encoder(at["gated"], GATED, drawn_features())
    write_encoder(at["vae"], VaeHeadConfig(dim=8, layer=6), drawn_features())
    write_encoder(at["other"], GATED, drawn_features(embed=other_cnn()))
    return at


def configured(folders, frames: str | None = None, fusion: str | None = None, **changed) -> EncodersConfig:
    given = {} if frames is None else {"frames": GruEncoderConfig(model=folders[frames])}
    given |= {} if fusion is None else {"fusion": LearnedFusionConfig(model=folders[fusion])}
    return EncodersConfig(**given, **changed)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["gated", "vae"])
def test_learned_encoders_run_as_others_do(folders, fusion, clips: list[Clip]):
    config = configured(folders, "gru", fusion)
    encoders = build_encoders(config)
    assert encoders.names == encoder_names(config)
    assert encoders.names["fused"].startswith(f"{fusion}@")
    # What is learned, and 256 numbers that are kept of the features.
    assert (encoders.dims["frames"], encoders.dims["fused"]) == (8 + 256, 8 + 256)
    mixed = [
        clips[0],
        Clip("nothing"),
        replace(clips[1], audio=None),
        replace(clips[2], frames=None, text=" "),
        Clip("only-text", text="红色连衣裙"),
    ]
    found = encoders.encode(mixed)
    present = {m: [row is not None for row in rows] for m, rows in found.items()}
    assert present["frames"] == [True, False, True, False, False]
    assert present["fused"] == [True, False, True, True, True]
    for i, clip in enumerate(mixed):
        alone = encoders.encode([clip])
        for m, rows in found.items():
            assert (rows[i] is None) == (alone[m][0] is None)
            assert rows[i] is None or np.allclose(rows[i], alone[m][0], atol=1e-5)
            assert rows[i] is None or np.linalg.norm(rows[i]) == pytest.approx(1, abs=1e-5)
    assert encoders.encode([]) == {"frames": [], "audio": [], "text": [], "fused": []}
    plain = build_encoders(EncodersConfig()).encode(mixed)
    assert all(np.array_equal(found["audio"][i], plain["audio"][i]) for i in (0, 3))


@pytest.mark.slow
def test_embedding_gives_the_vectors_that_training_knew(folders, clips: list[Clip]):
    """Frames' features kept for training, and found while embedding, give the same vectors."""
    config = configured(folders, "gru", "gated")
    found, plain = build_encoders(config).encode(clips), build_encoders(EncodersConfig()).encode(clips)
    features = CnnEncoder(CnnEncoderConfig()).frame_features(clips)
    longest = max(len(f) for f in features)
    frames = np.zeros((len(clips), 1, longest, 1280), np.float16)
    for row, f in zip(frames, features, strict=True):
        row[0, : len(f)] = f
    names = encoder_names(EncodersConfig())
    order = np.argsort([clip.video_id for clip in clips])
    kept = FeatureSet(
        tuple(clips[i].video_id for i in order),
        frames[order],
        np.array([len(features[i]) for i in order], np.int16),
        np.array([plain["audio"][i] for i in order]),
        np.array([plain["text"][i] for i in order]),
        {m: np.ones(len(clips), bool) for m in ("frames", "audio", "text")},
        {m: names[m] for m in ("frames", "audio", "text")},
    )
    for modality, folder in (("frames", "gru"), ("fused", "gated")):
        vectors, _ = LearnedEncoder.load(folders[folder]).encode_features(kept)
        assert np.allclose(vectors, np.array(found[modality])[order], atol=1e-5)


def test_a_fusion_trained_on_another_networks_features_is_refused_by_name(folders):
    config = configured(folders, fusion="other")
    theirs, ours = encoder_names(other_cnn().encoders)["frames"], encoder_names(EncodersConfig())["frames"]
    for ask in (encoder_names, build_encoders):
        with pytest.raises(ConfigError, match=f"trained on frames of {theirs}, not of {ours}"):
            ask(config)
    with pytest.raises(ConfigError, match=r"trained on audio of audio@.*, not of none"):
        encoder_names(configured(folders, fusion="gated", audio=None))
    # Its own encoders it takes.
    assert "fused" in encoder_names(
        other_cnn().encoders.model_copy(update={"fusion": LearnedFusionConfig(model=folders["other"])})
    )


def test_what_is_no_encoder_of_frames_alone_is_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match=r"takes frames and audio and text: .*takes frames only"):
        encoder_names(configured(folders, "gated"))
    of_embeddings = replace(drawn_features(("frames",)), embed={})
    write_encoder(str(tmp_path / "blind"), GRU, of_embeddings)
    with pytest.raises(ConfigError, match="does not name the network whose features"):
        encoder_names(EncodersConfig(frames=GruEncoderConfig(model=str(tmp_path / "blind"))))
    changed = replace(drawn_features(("frames",)), names={"frames": "cnn@ffffffffffff"})
    write_encoder(str(tmp_path / "changed"), GRU, changed)
    with pytest.raises(ConfigError, match="trained on frames of cnn@ffffffffffff, not of cnn@"):
        encoder_names(EncodersConfig(frames=GruEncoderConfig(model=str(tmp_path / "changed"))))
    with pytest.raises(ModelError, match="no manifest"):
        encoder_names(EncodersConfig(frames=GruEncoderConfig(model=str(tmp_path / "nowhere"))))


def test_names_of_learned_encoders_load_no_torch(folders):
    code = (
        "import json, sys; from vrec.encoders.build import EncodersConfig, encoder_names;"
        f"config = EncodersConfig.model_validate({{'frames': {{'kind': 'gru', 'model': {folders['gru']!r}}},"
        f" 'fusion': {{'kind': 'learned', 'model': {folders['gated']!r}}}}});"
        "names = encoder_names(config);"
        "print(json.dumps([names, [m for m in ('torch', 'openvino', 'ray') if m in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [encoder_names(configured(folders, "gru", "gated")), []]


def test_settings_choose_learned_encoders_and_kinds_may_be_left_out(folders):
    learned = load_settings(
        overrides=[
            "embed.encoders.frames.kind=gru",
            f"embed.encoders.frames.model={folders['gru']}",
            "embed.encoders.fusion.kind=learned",
            f"embed.encoders.fusion.model={folders['gated']}",
        ]
    ).embed
    assert learned.encoders == configured(folders, "gru", "gated")
    assert EmbedConfig.model_validate(learned.model_dump(mode="json")) == learned
    plain = load_settings(
        overrides=["embed.encoders.frames.pooling=attention", "embed.encoders.fusion.weights.audio=0.2"]
    ).embed.encoders
    assert plain.frames == CnnEncoderConfig(pooling="attention")
    assert plain.fusion.weights.audio == 0.2
    with pytest.raises(ConfigError, match="kind must be concat, weighted or learned"):
        load_settings(overrides=["embed.encoders.fusion.kind=gated"])
    with pytest.raises(ConfigError, match="kind must be cnn or gru"):
        load_settings(overrides=["embed.encoders.frames.kind=rnn"])
    with pytest.raises(ConfigError, match=r"frame_px is 224 and embed.decode.frame_px 64"):
        load_settings(
            overrides=[
                "embed.encoders.frames.kind=gru",
                f"embed.encoders.frames.model={folders['gru']}",
                "embed.decode.frame_px=64",
            ]
        )
