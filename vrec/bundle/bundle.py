"""A bundle in memory, and how it is read: whole and sound, or not at all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
from pydantic import ValidationError

from vrec.bundle.canaries import ask, compare
from vrec.bundle.lexicon import Lexicon
from vrec.bundle.neighbours import Neighbours
from vrec.core.artefact import Artefact, read_artefact
from vrec.core.digest import digest
from vrec.core.errors import BundleError, VrecError
from vrec.core.protocols import Content
from vrec.core.tables import MANIFEST, Folder, join
from vrec.encoders.embed_config import EmbedConfig
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.build import load as load_ranker
from vrec.ranking.ranked import ProfileRanker
from vrec.retrieval.index import FaissIndex

KIND = "bundle"
FORMAT = 1
"""Raised when the layout changes; another one is refused."""
RANKER, INDEX, ABOUT = "ranker", "index", "about.json"
NEIGHBOURS, WORDS = "neighbours.", "lexicon."
"""What the names of arrays begin with."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """What serving needs of a catalogue and its models, all of it made together."""

    uri: str
    version: str
    """12 hex digits that two bundles share only where all their files are the same."""
    made_at: int
    """µs since 1970."""
    encoder: str | None
    """The name of the encoder of the fused embeddings; None where there are none."""
    content: Content
    """VIDEOS by id, and the fused EMBEDDINGS of those that have one."""
    texts: pa.Table | None
    """EMBEDDINGS of modality text; None where there are none."""
    ranker: ProfileRanker
    """Knows all videos of the bundle."""
    neighbours: Neighbours
    """Of all videos, in the order of VIDEOS."""
    popular: tuple[str, ...]
    """Available videos, the most popular first; the newest where nobody's interest was known."""
    index: FaissIndex
    """The fused embeddings."""
    lexicon: Lexicon
    """The words of all videos."""
    embed: EmbedConfig | None
    """How the embeddings were made; None where that is not known."""
    profiles: ProfilesConfig
    """How the profiles were made that the ranker was trained with: serve with the same."""
    canaries: pa.Table
    """CANARIES: made-up requests and their answers when the bundle was made."""

    @property
    def videos(self) -> pa.Table:
        """VIDEOS by id."""
        assert self.content.videos is not None
        return self.content.videos

    @classmethod
    def load(cls, uri: str) -> Self:
        """The bundle in a folder; the digest of every file is checked.

        Raises BundleError where there is none, or it is half-written, damaged, or of another version of vrec.
        """
        manifest = _manifest(Folder(uri))
        try:
            found = read_artefact(uri, KIND)
            parts = found.data["parts"]
            _check_parts(uri, parts)
            ranker, index = load_ranker(join(uri, RANKER)), FaissIndex.load(join(uri, INDEX))
            return cls._of(uri, version_of(manifest), found, ranker, index)
        except BundleError:
            raise
        except VrecError as error:
            raise BundleError(f"{uri}: {error}") from None
        except (KeyError, ValidationError, ValueError) as error:
            what = " ".join(str(error).split())
            raise BundleError(f"{uri} is the bundle of another version of vrec: {what}") from None

    @classmethod
    def _of(cls, uri: str, version: str, found: Artefact, ranker: ProfileRanker, index: FaissIndex) -> Self:
        about = json.loads(found.blobs[ABOUT])
        tables = found.tables
        ids = tables["videos"].column("video_id").to_pylist()
        own = {name: _with_prefix(found.arrays, name) for name in (NEIGHBOURS, WORDS)}
        near = own[NEIGHBOURS]
        return cls(
            uri=uri,
            version=version,
            made_at=int(found.data["made_at"]),
            encoder=about["encoder"],
            content=Content(tables["videos"], tables.get("fused")),
            texts=tables.get("texts"),
            ranker=ranker,
            neighbours=Neighbours(tuple(ids), near["places"], near["scores"]),
            popular=tuple(tables["popular"].column("video_id").to_pylist()),
            index=index,
            lexicon=Lexicon.restore(ids, own[WORDS], tables["words"]),
            embed=None if about["embed"] is None else EmbedConfig.model_validate(about["embed"]),
            profiles=ProfilesConfig.model_validate(about["profiles"]),
            canaries=tables["canaries"],
        )

    def check(self) -> None:
        """Returns where the bundle answers its canaries as it did when it was made.

        Raises BundleError where an answer is not finite, or differs by more than floats do between machines.
        """
        try:
            compare(self.canaries, ask(self, self.canaries.column("of").unique().to_pylist()), self.uri)
        except BundleError:
            raise
        except VrecError as error:
            raise BundleError(f"{self.uri}: a canary cannot be answered: {error}") from error


def version_of(manifest: Mapping[str, Any]) -> str:
    """The version of the bundle that a manifest lists."""
    return digest({"files": manifest["files"], "parts": manifest["data"]["parts"]})


def part_digest(uri: str, name: str) -> str:
    """The SHA-256 of a part's manifest, which holds those of its files; raises BundleError where none is."""
    try:
        return hashlib.sha256(Folder(join(uri, name)).read(MANIFEST)).hexdigest()
    except FileNotFoundError:
        raise BundleError(f"{uri}/{name}/{MANIFEST} is missing") from None


def _manifest(folder: Folder) -> dict[str, Any]:
    if not folder.exists(MANIFEST):
        raise BundleError(
            f"{folder.uri}: no {MANIFEST} there, so no bundle or only half of one",
            mend="give the folder that `vrec bundle --out` wrote, or make the bundle again",
        )
    try:
        manifest = json.loads(folder.read(MANIFEST))
        kind, form = manifest["kind"], manifest["data"].get("format")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BundleError(f"{folder.uri}/{MANIFEST} is not a bundle's") from None
    if kind != KIND:
        raise BundleError(
            f"{folder.uri} is of kind {kind}, not a bundle", mend="give the folder that `vrec bundle` wrote"
        )
    if form != FORMAT:
        raise BundleError(f"{folder.uri} is a bundle of format {form}; this vrec reads format {FORMAT}")
    return manifest


def _check_parts(uri: str, parts: Mapping[str, str]) -> None:
    for name in (RANKER, INDEX):
        if part_digest(uri, name) != parts[name]:
            raise BundleError(
                f"{uri}/{name} is not what the bundle was written with: the digest of its manifest differs"
            )


def _with_prefix(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
