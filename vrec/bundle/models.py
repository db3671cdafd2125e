"""The learned models of a bundle's encoders: a bundle holds copies of its own, so that it can be moved."""

from collections.abc import Mapping
from typing import Any

from vrec.core.errors import BundleError
from vrec.core.tables import MANIFEST, StorageFolder, join_uri
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.config import EmbedConfig
from vrec.encoders.learned.artifact import NETWORK

MODEL_FIELDS = (("frames", "model", ""), ("frames", "weights", COMPRESSED_PREFIX), ("fusion", "model", ""))
"""Below `embed.encoders`, what names the folder of a model where its encoder has one, and what stands before
the folder there."""


def copy_encoder_models(embed: EmbedConfig, uri: str) -> dict[str, str]:
    """Which folder of the bundle at `uri` holds a copy of each model's folder, once it is written.

    Their manifests are written last. Raises BundleError for a model that is not there, OutputError.
    """
    found = {folder: f"encoder-{part}" for part, _, _, folder in _named(embed.model_dump(mode="json"))}
    for folder, name in found.items():
        source, copy = StorageFolder(folder), StorageFolder(join_uri(uri, name))
        files = [f"{NETWORK}/{file}" for file in source.files(NETWORK)]
        files += [file for file in source.files() if file != MANIFEST]
        if not source.exists(MANIFEST):
            raise BundleError(f"{folder}: no {MANIFEST} there, so no model", fix="give the encoder's folder")
        for file in (*files, MANIFEST):
            copy.write(file, source.read(file))
    return found


def replace_model_folders(embed: Mapping[str, Any], folders: Mapping[str, str]) -> dict[str, Any]:
    """EmbedConfig as JSON values with other folders of models; those that `folders` does not know stay."""
    encoders = dict(embed["encoders"])
    for part, field, before, folder in _named(embed):
        encoders[part] = {**encoders[part], field: before + folders.get(folder, folder)}
    return {**embed, "encoders": encoders}


def bundled_embed_config(embed: Mapping[str, Any], uri: str, names: Mapping[str, str]) -> EmbedConfig:
    """The EmbedConfig of the bundle at `uri`, which holds models in the folders `names`."""
    return EmbedConfig.model_validate(
        replace_model_folders(embed, {name: join_uri(uri, name) for name in names})
    )


def _named(embed: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Part, field, what stands before the folder, and the folder of each model."""
    encoders, found = embed["encoders"], list[tuple[str, str, str, str]]()
    for part, field, before in MODEL_FIELDS:
        named = (encoders[part] or {}).get(field)
        if named and named.startswith(before):
            found.append((part, field, before, named.removeprefix(before)))
    return found
