"""The node that embeds: a new video, or the words of a search."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ray import serve

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.errors import EncodeFailed, ServeError, VideoError
from vrec.core.types import Clip, Modality, Vectors, VideoRef
from vrec.encoders.build import EncoderSet, build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.text import clip_text
from vrec.media.decode_process import DecodeProcess
from vrec.media.source import local_copy
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.messages import EmbeddedVideo

MAX_SEARCH_BATCH = 16
"""Searches that are embedded at once at most."""
SEARCH_WAIT_S = 0.005
"""Seconds that a search waits for others to be embedded with."""


class VideoEmbedder:
    """A bundle's encoders and a killable process that decodes for them; all calls in one thread."""

    def __init__(self, config: EmbedConfig, device: str) -> None:
        self._decoder, self._most_bytes = DecodeProcess(config.media()), config.decode.max_bytes
        self.encoders: EncoderSet = build_encoders(config.encoders, device=device)

    def video(self, path: str, title: str | None, tags: Sequence[str]) -> EmbeddedVideo:
        """The vectors of the video at a path or URI; raises VideoError that says what is wrong with it."""
        with local_copy(VideoRef("upload", path), self._most_bytes) as video:
            (decoded,) = self._decoder.decode_many([video.path])
        if isinstance(decoded, VideoError):
            raise decoded
        begun = time.perf_counter()
        found = self._encode([Clip("upload", decoded.frames, decoded.audio, clip_text(title, tags))])
        vectors: dict[Modality, Vectors] = {
            m: rows[0][None] for m, rows in found.items() if rows[0] is not None
        }
        return EmbeddedVideo(
            vectors=vectors,
            encoders={modality: self.encoders.names[modality] for modality in vectors},
            duration_s=decoded.duration_s,
            phash=decoded.phash,
            decode_s=decoded.decode_s,
            encode_s=time.perf_counter() - begun,
        )

    def texts(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        """The (dim,) text vector of each text, None where there is none."""
        found = self._encode([Clip("search", text=text) for text in texts])
        return list(found.get("text", [None] * len(texts)))

    def close(self) -> None:
        """Ends the decoding process."""
        self._decoder.close()

    def _encode(self, clips: Sequence[Clip]) -> dict[Modality, list[np.ndarray | None]]:
        try:
            return self.encoders.encode(clips)
        except (ValueError, RuntimeError) as error:
            raise EncodeFailed(f"no encoder took it: {error}") from None


class EncoderDeployment:
    """Embeds what comes while the service runs, with the encoders that the bundle was made with."""

    def __init__(self, config: ServeConfig, device: str = "cpu") -> None:
        self._device = device
        self._served: ServedBundle[VideoEmbedder | None] = ServedBundle(config.data, self._load)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vrec-encoder")

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Moves to the encoders of the bundle that is named, where it is sound."""
        await self._served.swap_to(user_config["bundle"])

    async def video(self, path: str, title: str | None, tags: Sequence[str]) -> EmbeddedVideo:
        """The vectors of a video file; raises VideoError, and ServeError where the bundle has no encoders."""
        return await self._run(self._embedding().video, path, title, tags)

    @serve.batch(max_batch_size=MAX_SEARCH_BATCH, batch_wait_timeout_s=SEARCH_WAIT_S)
    async def text(self, texts: list[str]) -> list[np.ndarray | None]:
        """The (dim,) vector of a search's text; several that come together are embedded together."""
        if self._served.now is None:
            return [None] * len(texts)
        return await self._run(self._embedding().texts, texts)

    async def ready(self) -> str:
        """The version that is served."""
        return self._served.version

    def _load(self, uri: str) -> tuple[BundleCatalog, VideoEmbedder | None]:
        bundle = BundleCatalog.load(uri)
        now, before = self._served.now, self._served.bundle
        # What moves from one bundle to another with the same encoders keeps them.
        if now is not None and before is not None and before.embed == bundle.embed:
            return bundle, now
        return bundle, None if bundle.embed is None else VideoEmbedder(bundle.embed, self._device)

    def _embedding(self) -> VideoEmbedder:
        if self._served.now is None:
            raise ServeError(
                "the bundle has no encoders",
                fix="make one of an embedding folder: `vrec bundle --embeddings`",
            )
        return self._served.now

    async def _run(self, call: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
