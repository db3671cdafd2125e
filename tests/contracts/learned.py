"""Folders of learned encoders for tests of how they run: heads trained a little on drawn features."""

import numpy as np

from vrec.encoders.audio import AudioEncoderConfig
from vrec.encoders.build import EncodersConfig, encoder_names
from vrec.encoders.cnn import CnnEncoderConfig
from vrec.encoders.config import EmbedConfig
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.config import AnyHeadConfig
from vrec.encoders.learned.train import EncoderTrainer
from vrec.encoders.learned.training_config import EncoderTrainingConfig

DIMS = {"frames": 1280, "audio": 60, "text": 512}


def drawn_features(
    modalities: tuple[str, ...] = ("frames", "audio", "text"), embed: EmbedConfig | None = None
) -> FeatureSet:
    """Features of the lengths and names that vrec's own encoders have, of no videos in particular."""
    embed = embed or EmbedConfig()
    rng = np.random.default_rng(0)
    rows = {m: np.abs(rng.normal(size=(12, DIMS[m]))) for m in modalities}
    names = encoder_names(embed.encoders)
    ids = [f"drawn-{i}" for i in range(12)]
    return FeatureSet.from_embeddings(ids, rows, names, embed.model_dump(mode="json"))


def write_encoder(uri: str, config: AnyHeadConfig, features: FeatureSet, seed: int = 0) -> str:
    """The name of an encoder that is trained for an epoch and written to a folder."""
    training = EncoderTrainingConfig(epochs=1, device="cpu", seed=seed)
    trainer = EncoderTrainer(init_head(config, features, seed), features=features, config=training)
    weights = {name: weight.numpy() for name, weight in trainer.run().state_dict().items()}
    encoder = LearnedEncoder.from_weights(config, features, weights)
    encoder.save(uri)
    return encoder.name


def other_cnn() -> EmbedConfig:
    """Settings that make the frames' features by another name."""
    frames = CnnEncoderConfig(pooling="attention")
    return EmbedConfig(encoders=EncodersConfig(frames=frames, audio=AudioEncoderConfig()))
