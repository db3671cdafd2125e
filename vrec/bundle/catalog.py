"""Bundles without their models, for processes that do not import torch."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import pyarrow as pa
from pydantic import ValidationError

from vrec.bundle.models import bundled_embed_config
from vrec.bundle.part import BundlePart
from vrec.core.artifact import ModelArtifact, read_artifact
from vrec.core.digest import digest
from vrec.core.errors import BundleError, VrecError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.core.schema import CREATORS, conform
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import join_uri
from vrec.encoders.config import EmbedConfig
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.reranking.popularity import Popularity

KIND = "bundle"
FORMAT = 3
"""Version of the layout; bundles of other versions are refused."""
RANKER, INDEX, LIVE, CREATOR_MODEL, ABOUT = "ranker", "index", "live", "creators", "about.json"
MOMENTS_FOLDER = "moments"
FINGERPRINTS = "fingerprints"
"""Folders and file within a bundle's folder."""


@dataclass(frozen=True, eq=False)
class BundleCatalog:
    """Bundle without its models."""

    uri: str
    version: str
    """12 hex digits, the same for two bundles only if all their files are."""
    made_at: int
    """µs since 1970."""
    encoder: str | None
    """Name of the encoder of the fused embeddings; None if there are no embeddings."""
    content: CatalogContent
    """VIDEOS sorted by id, and the fused EMBEDDINGS of the videos that have one."""
    texts: pa.Table | None
    """EMBEDDINGS of modality text; None if there are none."""
    popular: tuple[str, ...]
    """Available videos, the most popular first; without interactions the newest first."""
    popularity: Popularity
    """Numbers of shoppers behind `popular`."""
    embed: EmbedConfig | None
    """Settings that made the embeddings; None where unknown."""
    profiles: ProfilesConfig
    """Settings of the profiles that the ranker was trained with; serving uses the same."""
    history_factors: Mapping[str, float]
    """Factor on what is watched in each other domain; 0 where it does not pay."""
    other_videos: tuple[str, ...]
    """Videos of other domains that are not in VIDEOS and have neighbors."""

    creators: pa.Table
    """CREATORS, as the events were when the bundle was made."""
    creator_model: str | None
    """Folder of the recommender of creators; None if there is none."""

    fingerprints: str | None = field(default=None, kw_only=True)
    """SHA-256 of the manifest of the videos' fingerprints; None if there are none."""

    @cached_property
    def known_elsewhere(self) -> frozenset[str]:
        """`other_videos` as a set."""
        return frozenset(self.other_videos)

    part: BundlePart | None = field(default=None, kw_only=True)
    """Part of a bundle's videos that this one is cut to; None for a whole bundle."""

    early_leave_s: float | None
    """Seconds below which the model of live streams counts a view as left early; None without a model."""

    @property
    def videos(self) -> pa.Table:
        """VIDEOS sorted by id."""
        assert self.content.videos is not None
        return self.content.videos

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Row in `videos` by id."""
        return {name: row for row, name in enumerate(self.videos.column("video_id").to_pylist())}

    def has(self, video_id: str) -> bool:
        """Return whether the whole bundle has a video."""
        return video_id in self.rows if self.part is None else self.part.is_bundled(video_id)

    def owns(self, video_id: str) -> bool:
        """Return whether a video, of the bundle or a new one, belongs to this part."""
        return self.part is None or self.part.owns(video_id)

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the catalog of the bundle in a folder, and verify the digests of the files read.

        Raises:
            BundleError: There is no bundle, or it is incomplete, damaged, or of another version of vrec.
        """
        with bundle_errors(uri):
            return cls(**bundle_catalog_fields(uri, *read_bundle(uri)))


def read_bundle(uri: str) -> tuple[str, ModelArtifact]:
    """Read a bundle's version and its own files, and verify the manifests of its components.

    Raises:
        BundleError: There is no bundle, or a component is not the one the bundle was written with.
        ModelError: A file is missing or damaged.
    """
    manifest = read_bundle_manifest(StorageFolder(uri))
    artifact = read_artifact(uri, KIND)
    _check_components(uri, artifact.data["parts"])
    return bundle_version(manifest), artifact


def bundle_catalog_fields(uri: str, version: str, artifact: ModelArtifact) -> dict[str, Any]:
    """Return the fields of BundleCatalog from a bundle's own files."""
    about, tables = json.loads(artifact.blobs[ABOUT]), artifact.tables
    embed = about["embed"]
    return {
        "uri": uri,
        "version": version,
        "made_at": int(artifact.data["made_at"]),
        "encoder": about["encoder"],
        "content": CatalogContent(
            tables["videos"], tables.get("fused"), other_domains=tuple(about["history_factors"])
        ),
        "texts": tables.get("texts"),
        "popular": tuple(tables["popular"].column("video_id").to_pylist()),
        "popularity": Popularity.from_order(
            tables["popular"].column("video_id").to_pylist(),
            tables["popular"].column("users").to_pylist(),
            int(artifact.data["watched_videos"]),
        ),
        "embed": None if embed is None else bundled_embed_config(embed, uri, artifact.data["parts"]),
        "profiles": ProfilesConfig.model_validate(about["profiles"]),
        "history_factors": about["history_factors"],
        "other_videos": tuple(tables["other_videos"].column("video_id").to_pylist()),
        "creators": conform(tables["creators"], CREATORS, stage="bundle"),
        "creator_model": join_uri(uri, CREATOR_MODEL) if CREATOR_MODEL in artifact.data["parts"] else None,
        "early_leave_s": about.get("early_leave_s"),
        "fingerprints": artifact.data["parts"].get(FINGERPRINTS),
    }


@contextmanager
def bundle_errors(uri: str) -> Iterator[None]:
    """Convert errors in a bundle's files to a BundleError that names the bundle."""
    try:
        yield
    except BundleError:
        raise
    except VrecError as error:
        raise BundleError(name_once(mask_credentials(uri), str(error))) from None
    except OSError as error:
        raise BundleError(
            f"{uri}: {os_error_reason(error)}",
            fix="see that every node can read the folder, and that its credentials are right",
        ) from None
    except (KeyError, ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{uri} is the bundle of another version of vrec: {reason}") from None


def bundle_version(manifest: Mapping[str, Any]) -> str:
    """Return the version of the bundle with this manifest."""
    return digest({"files": manifest["files"], "parts": manifest["data"]["parts"]})


def component_digest(uri: str, name: str) -> str:
    """Return the SHA-256 of a component's manifest, which lists those of its files.

    Raises:
        BundleError: The component has no manifest.
    """
    try:
        return hashlib.sha256(StorageFolder(join_uri(uri, name)).read(MANIFEST)).hexdigest()
    except FileNotFoundError:
        raise BundleError(f"{join_uri(uri, name, MANIFEST)} is missing") from None


def read_bundle_manifest(folder: StorageFolder) -> dict[str, Any]:
    """Return the manifest of the bundle in a folder; raises BundleError if there is none."""
    if not folder.exists(MANIFEST):
        raise BundleError(
            f"{folder.uri}: no {MANIFEST} there, so the bundle is missing or incomplete",
            fix="give the folder that `vrec bundle --out` wrote, or make the bundle again",
        )
    try:
        manifest = json.loads(folder.read(MANIFEST))
        kind, layout = manifest["kind"], manifest["data"].get("format")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BundleError(f"{join_uri(folder.uri, MANIFEST)} is not the manifest of a bundle") from None
    if kind != KIND:
        raise BundleError(
            f"{folder.uri} is of kind {kind}, not a bundle", fix="give the folder that `vrec bundle` wrote"
        )
    if layout != FORMAT:
        raise BundleError(f"{folder.uri} is a bundle of format {layout}; this vrec reads format {FORMAT}")
    return manifest


def _check_components(uri: str, digests: Mapping[str, str]) -> None:
    for name, written in digests.items():
        if component_digest(uri, name) != written:
            raise BundleError(
                f"{join_uri(uri, name)} is not what the bundle was written with: the digest of its manifest "
                "differs"
            )


def name_once(name: str, message: str) -> str:
    """Return a message that begins with the name of what it is about; some begin with it already."""
    begins = message.startswith(tuple(f"{name.rstrip('/')}{end}" for end in (":", " ", "/")))
    return message if begins else f"{name}: {message}"
