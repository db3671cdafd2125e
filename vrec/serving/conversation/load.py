"""An assistant from a bundle's folder, in this process."""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vrec.assistant.answers import Answer
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.documents import read_documents
from vrec.assistant.passages import PassageSearch
from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.core.types import Clip, Vectors
from vrec.encoders.text import TextEncoder, TextEncoderConfig
from vrec.profiles.profile import Profile
from vrec.serving.conversation.bundle_assistant import BundleAssistant, EncodeTexts
from vrec.serving.conversation.messages import ConverseQuery, ShopMoment, ShopperMessage
from vrec.serving.recommend.engine import RecommendEngine


class LocalAssistant:
    """Assistant in this process, without a service."""

    def __init__(self, assistant: BundleAssistant, encode: EncodeTexts | None) -> None:
        """Take the assistant, and the bundle's text encoder if it has one."""
        self._assistant, self._encode = assistant, encode

    def answer(self, state: DialogueState, message: str, user: Profile) -> tuple[DialogueState, Answer]:
        """Answer a message of a shopper.

        Args:
            state: The conversation before it.
            message: What the shopper wrote.
            user: The shopper's profile.

        Returns:
            The conversation after it, and the answer.
        """
        sent = ShopperMessage(uuid.uuid4().hex, uuid.uuid4().hex, message)
        query = ConverseQuery(user.entity_id, sent, state, time.time_ns() // 1000)
        encode = self._encode
        reply = self._assistant.converse(
            query, user, lambda text: None if encode is None else encode([text])[0], ShopMoment()
        ).reply
        return reply.state, reply.answer

    def card(self, video_id: str) -> dict[str, Any] | None:
        """Return a video's row of VIDEOS by column; None for an unknown one."""
        return self._assistant.engine.card(video_id)


def load_assistant(uri: str, config: ServeConfig) -> LocalAssistant:
    """Load a bundle and make an assistant over it.

    Args:
        uri: The bundle's folder.
        config: Settings.

    Raises:
        BundleError: There is no bundle, or it is damaged.
        DocumentsError: The folder of documents cannot be used.
    """
    bundle = ServingBundle.load(uri)
    text = None if bundle.embed is None else bundle.embed.encoders.text
    encode = None if text is None else local_text_encoder(text)
    passages = None
    if (folder := config.assistant.documents) is not None:
        documents = read_documents(Path(folder))
        passages = PassageSearch(documents, encode or local_text_encoder(TextEncoderConfig()))
    return LocalAssistant(BundleAssistant(RecommendEngine(bundle, config), config, passages), encode)


def local_text_encoder(config: TextEncoderConfig) -> EncodeTexts:
    """Return a text encoder in this process."""
    encoder = TextEncoder(config)

    def encode(texts: Sequence[str]) -> Vectors:
        return np.asarray(encoder.encode([Clip("text", text=text) for text in texts]), np.float32)

    return encode
