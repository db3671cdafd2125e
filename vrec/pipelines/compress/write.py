"""The folder that `vrec compress` leaves: a network, the head behind it, and how `vrec embed` takes them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from vrec.compression.network import CompressedNetworkInfo, save_network
from vrec.config.patch import explicit_settings, patch_settings
from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder, join_uri
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.cnn import CnnEncoderConfig, cnn_name
from vrec.encoders.learned.artifact import EncoderArtifact
from vrec.encoders.learned.config import LearnedFusionConfig
from vrec.pipelines.compress.target import CompressionTarget

EMBED_YAML = "embed.yaml"
HEAD = "head"
"""The subfolder of a learned head."""


def write_compressed(
    out: str,
    onnx: bytes,
    facts: CompressedNetworkInfo,
    target: CompressionTarget,
    settings: Settings,
    *,
    data: dict[str, Any],
    metrics: dict[str, float],
) -> str:
    """The URI of an embed.yaml in the folder `out`, with which `vrec embed --config` takes the network.

    A head that `subject` has is written beside it, under a name of its own. A learned fusion knows the
    features of the network before, so that embed.yaml leaves it out. `data` and `metrics` go into the
    network's manifest. Raises OutputError.
    """
    save_network(out, onnx, facts, data=data, metrics=metrics)
    fields = {"weights": COMPRESSED_PREFIX + out, "frame_px": facts.frame_px, "backend": "auto"}
    cnn = target.cnn.model_copy(update=fields)
    changes: dict[str, Any] = {"embed.decode.frame_px": facts.frame_px}
    if target.stored is None:
        changes |= {f"embed.encoders.frames.{name}": value for name, value in fields.items()}
    else:
        _retarget_head(cnn, target.stored).save(join_uri(out, HEAD))
        changes["embed.encoders.frames.model"] = join_uri(out, HEAD)
    if incompatible_fusion(settings):
        changes["embed.encoders.fusion.kind"] = "weighted"
    embed = {"embed": explicit_settings(patch_settings(settings, changes))["embed"]}
    text = yaml.safe_dump(embed, sort_keys=False, allow_unicode=True)
    StorageFolder(out).write(EMBED_YAML, text.encode())
    return join_uri(out, EMBED_YAML)


def incompatible_fusion(settings: Settings) -> str | None:
    """The folder of a learned fusion in `settings`, which no other network's features suit; None without."""
    fusion = settings.embed.encoders.fusion
    return fusion.model if isinstance(fusion, LearnedFusionConfig) else None


def _retarget_head(cnn: CnnEncoderConfig, stored: EncoderArtifact) -> EncoderArtifact:
    """The same head on the features of another network, which it says that it takes."""
    before: Mapping[str, Any] = stored.embed
    embed = {
        **before,
        "decode": {**before.get("decode", {}), "frame_px": cnn.frame_px},
        "encoders": {**before["encoders"], "frames": cnn.model_dump(mode="json")},
    }
    data = {**stored.data, "trained_on": dict(stored.names)}
    return replace(stored, names={"frames": cnn_name(cnn)}, embed=embed, data=data)
