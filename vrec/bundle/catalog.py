"""What a bundle says of its videos: all of it but the models, for those who need no torch."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
from pydantic import ValidationError

from vrec.bundle.models import bundled_embed_config
from vrec.core.artifact import ModelArtifact, read_artifact
from vrec.core.digest import digest
from vrec.core.errors import BundleError, VrecError
from vrec.core.tables import MANIFEST, StorageFolder, join_uri
from vrec.core.types import CatalogContent
from vrec.encoders.config import EmbedConfig
from vrec.profiles.update import ProfilesConfig

KIND = "bundle"
FORMAT = 1
"""Raised when the layout changes; another one is refused."""
RANKER, INDEX, ABOUT = "ranker", "index", "about.json"


@dataclass(frozen=True, eq=False)
class BundleCatalog:
    """A bundle without its models."""

    uri: str
    version: str
    """12 hex digits that two bundles share only where all their files are the same."""
    made_at: int
    """µs since 1970."""
    encoder: str | None
    """The name of the encoder of the fused embeddings; None where there are none."""
    content: CatalogContent
    """VIDEOS by id, and the fused EMBEDDINGS of those that have one."""
    texts: pa.Table | None
    """EMBEDDINGS of modality text; None where there are none."""
    popular: tuple[str, ...]
    """Available videos, the most popular first; the newest where nobody's interest was known."""
    embed: EmbedConfig | None
    """How the embeddings were made; None where that is not known."""
    profiles: ProfilesConfig
    """How the profiles were made that the ranker was trained with: serve with the same."""

    @property
    def videos(self) -> pa.Table:
        """VIDEOS by id."""
        assert self.content.videos is not None
        return self.content.videos

    @classmethod
    def load(cls, uri: str) -> Self:
        """What the bundle in a folder says of its videos; the digests of the files read are checked.

        Raises BundleError where there is none, or it is half-written, damaged, or of another version of vrec.
        """
        with bundle_errors(uri):
            return cls(**bundle_catalog_fields(uri, *read_bundle(uri)))


def read_bundle(uri: str) -> tuple[str, ModelArtifact]:
    """A bundle's version and its own files; of its parts only that they are those it was written with.

    Raises BundleError, and ModelError for files that are missing or damaged.
    """
    manifest = _manifest(StorageFolder(uri))
    found = read_artifact(uri, KIND)
    _check_parts(uri, found.data["parts"])
    return bundle_version(manifest), found


def bundle_catalog_fields(uri: str, version: str, found: ModelArtifact) -> dict[str, Any]:
    """The fields of BundleCatalogue, from a bundle's own files."""
    about, tables = json.loads(found.blobs[ABOUT]), found.tables
    embed = about["embed"]
    return {
        "uri": uri,
        "version": version,
        "made_at": int(found.data["made_at"]),
        "encoder": about["encoder"],
        "content": CatalogContent(tables["videos"], tables.get("fused")),
        "texts": tables.get("texts"),
        "popular": tuple(tables["popular"].column("video_id").to_pylist()),
        "embed": None if embed is None else bundled_embed_config(embed, uri, found.data["parts"]),
        "profiles": ProfilesConfig.model_validate(about["profiles"]),
    }


@contextmanager
def bundle_errors(uri: str) -> Iterator[None]:
    """Inside the `with`, whatever is wrong with a bundle's files is a BundleError that names the bundle."""
    try:
        yield
    except BundleError:
        raise
    except VrecError as error:
        raise BundleError(f"{uri}: {error}") from None
    except (KeyError, ValidationError, ValueError) as error:
        what = " ".join(str(error).split())
        raise BundleError(f"{uri} is the bundle of another version of vrec: {what}") from None


def bundle_version(manifest: Mapping[str, Any]) -> str:
    """The version of the bundle that a manifest lists."""
    return digest({"files": manifest["files"], "parts": manifest["data"]["parts"]})


def component_digest(uri: str, name: str) -> str:
    """The SHA-256 of a part's manifest, which holds those of its files; raises BundleError where none is."""
    try:
        return hashlib.sha256(StorageFolder(join_uri(uri, name)).read(MANIFEST)).hexdigest()
    except FileNotFoundError:
        raise BundleError(f"{uri}/{name}/{MANIFEST} is missing") from None


def _manifest(folder: StorageFolder) -> dict[str, Any]:
    if not folder.exists(MANIFEST):
        raise BundleError(
            f"{folder.uri}: no {MANIFEST} there, so no bundle or only half of one",
            fix="give the folder that `vrec bundle --out` wrote, or make the bundle again",
        )
    try:
        manifest = json.loads(folder.read(MANIFEST))
        kind, form = manifest["kind"], manifest["data"].get("format")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BundleError(f"{folder.uri}/{MANIFEST} is not a bundle's") from None
    if kind != KIND:
        raise BundleError(
            f"{folder.uri} is of kind {kind}, not a bundle", fix="give the folder that `vrec bundle` wrote"
        )
    if form != FORMAT:
        raise BundleError(f"{folder.uri} is a bundle of format {form}; this vrec reads format {FORMAT}")
    return manifest


def _check_parts(uri: str, parts: Mapping[str, str]) -> None:
    for name, written in parts.items():
        if component_digest(uri, name) != written:
            raise BundleError(
                f"{uri}/{name} is not what the bundle was written with: the digest of its manifest differs"
            )
