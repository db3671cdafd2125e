"""Output folder of `vrec compress`: the network, its learned head, and the settings for `vrec embed`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from vrec.compression.network import CompressedNetworkInfo, save_network
from vrec.config.patch import explicit_settings, patch_settings
from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.cnn import CnnEncoderConfig, cnn_name
from vrec.encoders.learned.artifact import EncoderArtifact
from vrec.encoders.learned.config import LearnedFusionConfig
from vrec.pipelines.compress.target import CompressionTarget

EMBED_YAML = "embed.yaml"
"""The file of settings for `vrec embed --config`."""
HEAD = "head"
"""The subfolder of a learned head."""


def write_compressed(
    out: str,
    onnx: bytes,
    info: CompressedNetworkInfo,
    target: CompressionTarget,
    settings: Settings,
    *,
    data: dict[str, Any],
    metrics: dict[str, float],
) -> str:
    """Write the network to the folder `out` and return the URI of its embed.yaml for `vrec embed --config`.

    A learned head of `target` is written beside the network, under a name of its own. A learned fusion is
    replaced in embed.yaml, since it was trained on features of the original network.

    Args:
        out: the folder.
        onnx: the network's ONNX graph.
        info: the network's description.
        target: the original network and its head.
        settings: the settings that embed.yaml is derived from.
        data: info for the network's manifest.
        metrics: measurements for the network's manifest.

    Raises:
        OutputError: the folder cannot be written.
    """
    save_network(out, onnx, info, data=data, metrics=metrics)
    fields = {"weights": COMPRESSED_PREFIX + out, "frame_px": info.frame_px, "backend": "auto"}
    cnn = target.cnn.model_copy(update=fields)
    changes: dict[str, Any] = {"embed.decode.frame_px": info.frame_px}
    if target.artifact is None:
        changes |= {f"embed.encoders.frames.{name}": value for name, value in fields.items()}
    else:
        _retarget_head(cnn, target.artifact).save(join_uri(out, HEAD))
        changes["embed.encoders.frames.model"] = join_uri(out, HEAD)
    if incompatible_fusion(settings):
        changes["embed.encoders.fusion.kind"] = "weighted"
    embed = {"embed": explicit_settings(patch_settings(settings, changes))["embed"]}
    text = yaml.safe_dump(embed, sort_keys=False, allow_unicode=True)
    StorageFolder(out).write(EMBED_YAML, text.encode())
    return join_uri(out, EMBED_YAML)


def incompatible_fusion(settings: Settings) -> str | None:
    """Return the folder of the learned fusion, which fits only the original network, None without one."""
    fusion = settings.embed.encoders.fusion
    return fusion.model if isinstance(fusion, LearnedFusionConfig) else None


def _retarget_head(cnn: CnnEncoderConfig, artifact: EncoderArtifact) -> EncoderArtifact:
    """Return the head with another network as its input."""
    original: Mapping[str, Any] = artifact.embed
    embed = {
        **original,
        "decode": {**original.get("decode", {}), "frame_px": cnn.frame_px},
        "encoders": {**original["encoders"], "frames": cnn.model_dump(mode="json")},
    }
    data = {**artifact.data, "trained_on": dict(artifact.names)}
    return replace(artifact, names={"frames": cnn_name(cnn)}, embed=embed, data=data)
