"""Copies of the encoders' learned models within a bundle, so that it can be moved."""

from collections.abc import Mapping
from typing import Any

from vrec.core.errors import BundleError
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.uris import join_uri
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.config import EmbedConfig
from vrec.encoders.learned.artifact import NETWORK

MODEL_FIELDS = (("frames", "model", ""), ("frames", "weights", COMPRESSED_PREFIX), ("fusion", "model", ""))
"""Fields below `embed.encoders` that name a model's folder: encoder, field, prefix before the folder."""


def copy_encoder_models(embed: EmbedConfig, uri: str) -> dict[str, str]:
    """Copy the encoders' models into a bundle, each with its manifest last.

    Args:
        embed: Settings of the encoders.
        uri: The bundle's folder.

    Returns:
        Folder within the bundle by the model's original folder.

    Raises:
        BundleError: A model is missing.
        OutputError: The bundle's folder cannot be written.
    """
    copies = {
        folder: f"encoder-{part}" for part, _, _, folder in _model_folders(embed.model_dump(mode="json"))
    }
    for folder, name in copies.items():
        source, copy = StorageFolder(folder), StorageFolder(join_uri(uri, name))
        files = [f"{NETWORK}/{file}" for file in source.files(NETWORK)]
        files += [file for file in source.files() if file != MANIFEST]
        if not source.exists(MANIFEST):
            raise BundleError(f"{folder}: no {MANIFEST} there, so no model", fix="give the encoder's folder")
        for file in (*files, MANIFEST):
            copy.write(file, source.read(file))
    return copies


def replace_model_folders(embed: Mapping[str, Any], folders: Mapping[str, str]) -> dict[str, Any]:
    """Replace the folders of models in an EmbedConfig's JSON values; folders not in `folders` stay."""
    encoders = dict(embed["encoders"])
    for part, field, prefix, folder in _model_folders(embed):
        encoders[part] = {**encoders[part], field: prefix + folders.get(folder, folder)}
    return {**embed, "encoders": encoders}


def bundled_embed_config(embed: Mapping[str, Any], uri: str, names: Mapping[str, str]) -> EmbedConfig:
    """Return the EmbedConfig of the bundle at `uri`, whose models are in its folders `names`."""
    return EmbedConfig.model_validate(
        replace_model_folders(embed, {name: join_uri(uri, name) for name in names})
    )


def _model_folders(embed: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return encoder, field, prefix before the folder, and folder of each model."""
    encoders, folders = embed["encoders"], list[tuple[str, str, str, str]]()
    for part, field, prefix in MODEL_FIELDS:
        value = (encoders[part] or {}).get(field)
        if value and value.startswith(prefix):
            folders.append((part, field, prefix, value.removeprefix(prefix)))
    return folders
