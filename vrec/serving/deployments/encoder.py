"""Encoder deployment: embeds new videos and search texts."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

import numpy as np
from ray import serve

from vrec.bundle.catalog import FINGERPRINTS, BundleCatalog
from vrec.bundle.fingerprints import load_copy_index
from vrec.config.serve import ServeConfig
from vrec.core.errors import EncodeFailed, ServeError, VideoError
from vrec.core.types import Clip, Modality, Vectors, VideoRef
from vrec.core.uris import join_uri
from vrec.encoders.build import EncoderSet, build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import MomentEncoder
from vrec.encoders.text import clip_text
from vrec.media.decode_process import DecodeProcess
from vrec.media.duplicates.lookup import CopyIndex
from vrec.media.source import local_copy
from vrec.serving.bundle_swap import ServedBundle, fixes_in_tracebacks
from vrec.serving.messages import EmbeddedVideo
from vrec.serving.moments.example import ExampleEmbedder
from vrec.serving.moments.messages import MomentExample, MomentsMissing

P = ParamSpec("P")
T = TypeVar("T")
MAX_SEARCH_BATCH = 16
"""Maximum number of searches that are embedded together."""
SEARCH_WAIT_S = 0.005
"""Seconds that a search waits for others to join its batch."""


class VideoEmbedder:
    """A bundle's encoders and the killable process that decodes for them; use it from one thread."""

    def __init__(self, config: EmbedConfig, device: str, copies: CopyIndex | None = None) -> None:
        is_compared = copies is not None and len(copies) > 0
        media = config.media().model_copy(update={"fingerprint": is_compared, "moments": None})
        self._copies = copies
        self._decoder, self._max_bytes = DecodeProcess(media), config.decode.max_bytes
        self.encoders: EncoderSet = build_encoders(config.encoders, device=device)
        self._moments: MomentEncoder | None = None
        self._examples: ExampleEmbedder | None = None
        if config.moments is not None:
            self._moments = MomentEncoder(self.encoders, config.moments, device)
            self._examples = ExampleEmbedder(self._moments, config)

    def video(self, path: str, title: str | None, tags: Sequence[str]) -> EmbeddedVideo:
        """Embed the video at a path or URI; raises VideoError."""
        with local_copy(VideoRef("upload", path), self._max_bytes) as video:
            (decoded,) = self._decoder.decode_many([video.path])
        if isinstance(decoded, VideoError):
            raise decoded
        begun = time.perf_counter()
        rows_by_modality = self._encode(
            [Clip("upload", decoded.frames, decoded.audio, clip_text(title, tags))]
        )
        embedded = self._embedded(rows_by_modality, decoded.duration_s, decoded.decode_s, begun)
        if self._copies is None or decoded.fingerprint is None:
            return embedded
        match = self._copies.find(decoded.fingerprint)
        return embedded if match is None else replace(embedded, copy_of=match.video_id)

    def words(self, title: str | None, tags: Sequence[str]) -> EmbeddedVideo:
        """Embed a title and tags as a video that has nothing else; raises EncodeFailed."""
        begun = time.perf_counter()
        rows_by_modality = self._encode([Clip("words", text=clip_text(title, tags))])
        return self._embedded(rows_by_modality, None, 0.0, begun)

    def texts(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        """Return the (dim,) text vector of each text, None for a text without one."""
        rows_by_modality = self._encode([Clip("search", text=text) for text in texts])
        return list(rows_by_modality.get("text", [None] * len(texts)))

    def joint_text(self, text: str) -> np.ndarray | None:
        """Return the (dim,) vector of a text in the space of the pictures; None without a joint encoder."""
        joint = None if self._moments is None else self._moments.joint
        return None if joint is None else joint.texts([text])[0]

    def example(self, content: bytes) -> MomentExample:
        """Embed a picture or a clip to search by; raises VideoError, and MomentsMissing without moments."""
        if self._examples is None:
            raise MomentsMissing("the catalog in service was embedded without moments")
        return self._examples.embed(content)

    def close(self) -> None:
        """End the decoding processes."""
        self._decoder.close()
        if self._examples is not None:
            self._examples.close()

    def _embedded(
        self,
        rows_by_modality: Mapping[Modality, list[np.ndarray | None]],
        duration_s: float | None,
        decode_s: float,
        begun: float,
    ) -> EmbeddedVideo:
        vectors: dict[Modality, Vectors] = {
            modality: rows[0][None] for modality, rows in rows_by_modality.items() if rows[0] is not None
        }
        return EmbeddedVideo(
            vectors=vectors,
            encoders={modality: self.encoders.names[modality] for modality in vectors},
            duration_s=duration_s,
            decode_s=decode_s,
            encode_s=time.perf_counter() - begun,
        )

    def _encode(self, clips: Sequence[Clip]) -> dict[Modality, list[np.ndarray | None]]:
        try:
            return self.encoders.encode(clips)
        except (ValueError, RuntimeError) as error:
            raise EncodeFailed(f"no encoder took it: {error}") from None


class EncoderDeployment:
    """Deployment that embeds with the encoders that the bundle was made with."""

    def __init__(self, config: ServeConfig, device: str = "cpu") -> None:
        self._device = device
        self._served: ServedBundle[VideoEmbedder | None] = ServedBundle(config.data, self._load)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vrec-encoder")

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the encoders of the named bundle if it is sound."""
        with fixes_in_tracebacks():
            await self._served.swap_to(user_config["bundle"])

    async def video(self, path: str, title: str | None, tags: Sequence[str]) -> EmbeddedVideo:
        """Embed a video file; raises VideoError, and ServeError if the bundle has no encoders."""
        return await self._run(self._embedder().video, path, title, tags)

    async def words(self, title: str | None, tags: Sequence[str]) -> EmbeddedVideo:
        """Embed a title and tags; raises EncodeFailed, and ServeError if the bundle has no encoders."""
        return await self._run(self._embedder().words, title, tags)

    @serve.batch(max_batch_size=MAX_SEARCH_BATCH, batch_wait_timeout_s=SEARCH_WAIT_S)
    async def text(self, texts: list[str]) -> list[np.ndarray | None]:
        """Return the (dim,) vector of each search text; Serve batches calls of one text each."""
        if self._served.loaded is None:
            return [None] * len(texts)
        return await self._run(self._embedder().texts, texts)

    async def joint_text(self, text: str) -> np.ndarray | None:
        """Return the (dim,) vector of a text in the space of the pictures; None without a joint encoder."""
        return await self._run(self._embedder().joint_text, text)

    async def example(self, content: bytes) -> MomentExample:
        """Embed a picture or a clip to search moments by; raises VideoError or MomentsMissing."""
        return await self._run(self._embedder().example, content)

    async def ready(self) -> str:
        """Return the version in service."""
        return self._served.version

    async def check_health(self) -> None:
        """Raise if the thread that embeds has ended; Serve then replaces the replica."""
        self._thread.submit(str)

    def _load(self, uri: str) -> tuple[BundleCatalog, VideoEmbedder | None]:
        bundle = BundleCatalog.load(uri)
        loaded, before = self._served.loaded, self._served.bundle
        # Bundles with the same encoder settings and fingerprints share the loaded encoders.
        if loaded is not None and before is not None and _same_encoders(before, bundle):
            return bundle, loaded
        if bundle.embed is None:
            return bundle, None
        copies = None if bundle.fingerprints is None else load_copy_index(join_uri(uri, FINGERPRINTS))
        return bundle, VideoEmbedder(bundle.embed, self._device, copies)

    def _embedder(self) -> VideoEmbedder:
        if self._served.loaded is None:
            raise ServeError(
                "the bundle has no encoders",
                fix="make a bundle from an embedding folder with `vrec bundle --embeddings`",
            )
        return self._served.loaded

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(call, *args, **kwargs))


def _same_encoders(one: BundleCatalog, other: BundleCatalog) -> bool:
    return one.embed == other.embed and one.fingerprints == other.fingerprints
