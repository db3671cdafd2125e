"""Assistant of a ranking process, which follows the catalog of its engine."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from vrec.assistant.documents import read_documents
from vrec.assistant.passages import PassageSearch
from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.core.pauses import with_pauses
from vrec.core.types import Vectors
from vrec.encoders.text import TextEncoder, TextEncoderConfig
from vrec.profiles.profile import Profile
from vrec.serving.conversation.bundle_assistant import BundleAssistant, EncodeTexts
from vrec.serving.conversation.load import local_text_encoder
from vrec.serving.conversation.messages import ConverseQuery, ConverseResult, ShopMoment
from vrec.serving.deployments.handles import EncoderHandle
from vrec.serving.recommend.engine import RecommendEngine

logger = logging.getLogger("ray.serve")

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 2
"""Threads that answer: one of them may wait for a text's vector. More would only take turns."""
ENCODE_TIMEOUT_S = 2.0
"""Seconds that a text's vector may take; a search by words is better than none."""
ENCODE_ALL_TIMEOUT_S = 300.0
"""Seconds that the vectors of all documents may take."""
ENCODED_AT_ONCE = 64
"""Sentences of documents that are sent to the encoder at the same time."""


class NoTextEncoder(ServeError):
    """Bundle without a text encoder: its search is by words."""

    fix = "make the bundle from an embedding folder with `vrec bundle --embeddings`"


class ServedAssistant:
    """Assistant that answers in threads, so that the process goes on ranking."""

    def __init__(
        self, config: ServeConfig, engine: Callable[[], RecommendEngine], encoder: EncoderHandle | None
    ) -> None:
        """Build it without a catalog.

        Args:
            config: The settings of the service.
            engine: Function that returns the engine with the catalog as it is now.
            encoder: Handle of the encoder deployment; without one, search is by words alone.
        """
        self._config, self._engine, self._encoder = config, engine, encoder
        self._threads = ThreadPoolExecutor(THREADS, "vrec-assistant")
        self._preparing = asyncio.Lock()
        self._making: asyncio.Task[BundleAssistant] | None = None
        self._assistant: BundleAssistant | None = None
        self._passages: PassageSearch | None = None
        self._encoded_for: str | None = None
        """Version of the bundle whose encoder made the vectors of the documents."""

    async def prepare(self) -> BundleAssistant:
        """Return the assistant over the catalog as the engine has it now, or later.

        Making one goes on for the next message if this one is given up.
        """
        made = self._assistant
        if made is not None and made.engine is self._engine() and not self._lacks_documents:
            return made
        async with self._preparing:
            if self._making is not None and not self._making.done():
                await asyncio.wait([self._making])  # of one that was given up; its error was that one's
            self._making = asyncio.get_running_loop().create_task(self._make(self._engine()))
            return await asyncio.shield(self._making)

    def prepare_soon(self) -> None:
        """Begin to make the assistant over another bundle before the next message, with pauses till then."""
        if self._making is None or self._making.done():
            self._making = asyncio.get_running_loop().create_task(self._make(self._engine()))
            self._making.add_done_callback(_log_failure)

    async def _make(self, engine: RecommendEngine) -> BundleAssistant:
        made = self._assistant
        if made is None or made.engine.bundle_view is not engine.bundle_view or self._lacks_documents:
            await self._prepare_documents(engine)
            made = await self._in_thread(self._read_catalog, engine)
        elif made.engine is not engine:
            made = await self._in_thread(made.with_engine, engine)
        self._assistant = made
        return made

    def _read_catalog(self, engine: RecommendEngine) -> BundleAssistant:
        # The process goes on ranking meanwhile; only for a message that waits there are no pauses.
        with with_pauses(self._preparing.locked):
            return BundleAssistant(engine, self._config, self._passages)

    async def converse(self, query: ConverseQuery, user: Profile, moment: ShopMoment) -> ConverseResult:
        """Answer a message of a shopper; see BundleAssistant.

        Args:
            query: The message, and the conversation before it.
            user: The shopper's profile.
            moment: What holds in the shop at this moment.
        """
        assistant = await self.prepare()
        missing = ["documents"] if self._lacks_documents else []
        encode = self._encoder_for_threads(assistant.engine, ENCODE_TIMEOUT_S)

        def encode_one(text: str) -> Vectors | None:
            if encode is None or "encoder" in missing:
                return None
            try:
                return encode([text])[0]
            except NoTextEncoder:
                return None
            except Exception as error:  # whatever it is, a search by words is better than none
                logger.warning("no text vector", extra={"why": f"{type(error).__name__}: {error}"[:300]})
                missing.append("encoder")
                return None

        result = await self._in_thread(assistant.converse, query, user, encode_one, moment)
        return replace(result, reply=replace(result.reply, degraded=tuple(dict.fromkeys(missing))))

    async def search_subject(self, text: str) -> str | None:
        """Return what a search asks for; see BundleAssistant. The first ones of a bundle wait until its
        catalog is read, with pauses for all else."""
        made = self._assistant
        if made is None or made.engine.bundle_view is not self._engine().bundle_view:
            self.prepare_soon()
            if self._making is not None:
                await asyncio.wait([self._making])
            made = self._assistant
        return None if made is None else await self._in_thread(made.search_subject, text)

    def close(self) -> None:
        """End the threads, once no answer is made."""
        self._threads.shutdown(wait=False)

    @property
    def _lacks_documents(self) -> bool:
        return self._config.assistant.documents is not None and self._passages is None

    async def _prepare_documents(self, engine: RecommendEngine) -> None:
        """Read the shop's documents, if it has any and they were not read for this bundle."""
        folder = self._config.assistant.documents
        if folder is None or self._encoded_for == engine.version:
            return
        encode = self._encoder_for_threads(engine, ENCODE_ALL_TIMEOUT_S)
        encode_question = self._encoder_for_threads(engine, ENCODE_TIMEOUT_S)
        try:
            self._passages = await self._in_thread(_read_passages, folder, encode, encode_question)
            self._encoded_for = engine.version
        except Exception as error:  # the next message tries again, and answers say so until then
            logger.error("no documents", extra={"why": f"{type(error).__name__}: {error}"[:300]})

    def _encoder_for_threads(self, engine: RecommendEngine, timeout_s: float) -> EncodeTexts | None:
        """Return a function by which a thread has texts encoded; None without the bundle's encoder."""
        encoder, loop = self._encoder, asyncio.get_running_loop()
        if encoder is None or engine.encoder is None:
            return None

        async def vectors(texts: Sequence[str]) -> Vectors:
            found: list[Vectors] = []
            for start in range(0, len(texts), ENCODED_AT_ONCE):
                calls = [encoder.text.remote(text) for text in texts[start : start + ENCODED_AT_ONCE]]
                for vector in await asyncio.gather(*calls):
                    if vector is None:
                        raise NoTextEncoder("the bundle has no text encoder")
                    found.append(np.asarray(vector, np.float32).ravel())
            return np.stack(found)

        def encode(texts: Sequence[str]) -> Vectors:
            return asyncio.run_coroutine_threadsafe(vectors(texts), loop).result(timeout_s)

        return encode

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _log_failure(making: "asyncio.Task[BundleAssistant]") -> None:
    if not making.cancelled() and (error := making.exception()) is not None:
        logger.warning("no assistant yet", extra={"why": f"{type(error).__name__}: {error}"[:300]})


def _read_passages(
    folder: str, encode: EncodeTexts | None, encode_question: EncodeTexts | None
) -> PassageSearch:
    """Return the search in the documents of a folder.

    Args:
        folder: The folder.
        encode: The bundle's text encoder, with time for all documents; None loads one here.
        encode_question: The same with the time that one question may take.
    """
    documents = read_documents(Path(folder))
    if encode is not None and encode_question is not None:
        with suppress(NoTextEncoder):
            return PassageSearch(documents, encode, _or_zeros(encode_question))
    local = local_text_encoder(TextEncoderConfig())
    return PassageSearch(documents, local, _or_zeros(local))


def _or_zeros(encode: EncodeTexts) -> EncodeTexts:
    """Return an encoder that gives a question without a vector zeros, so that its words alone count."""

    def encode_or_nothing(texts: Sequence[str]) -> Vectors:
        try:
            return encode(texts)
        except Exception as error:  # whatever it is, a question is answered by its words then
            if isinstance(error, NoTextEncoder):
                raise
            logger.warning("no text vector", extra={"why": f"{type(error).__name__}: {error}"[:300]})
            return np.zeros((len(texts), TextEncoder.dim), np.float32)

    return encode_or_nothing
