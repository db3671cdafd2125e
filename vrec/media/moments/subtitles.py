"""Words with times: embedded subtitles, and files of subtitles beside a video, read by FFmpeg."""

import html
import io
import itertools
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import av
import av.error
from av.container import InputContainer
from charset_normalizer import from_bytes

SIDECAR_FORMATS = {".srt": "srt", ".vtt": "webvtt"}
"""FFmpeg's format of a file of subtitles by its ending."""
MAX_BYTES = 2 << 20
"""Bytes of a file of subtitles that are read."""
MAX_STREAMS = 4
"""Embedded streams that are read."""
MAX_CHARS = 2048
"""Characters of a cue that are read; many more are tags or a broken file."""
MAX_CUES = 50_000
"""Cues of a stream that are read."""
PER_MINUTE = 20
"""Most cues per minute; where there are more, neighbors are joined."""
TEXT_BYTES = 240
"""Most bytes of a cue's text."""
USUAL_S, LONGEST_S = 2.0, 60.0
"""Seconds of a cue whose end cannot be right, and those above which it cannot."""
_TAGS = re.compile(
    r"</?[A-Za-z][^<>]{0,200}>|\{\\[^{}]{0,200}\}|\{[a-z]:[^{}]{0,50}\}|<\d{1,2}:[\d:.]{2,12}>"
)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
_SPACES = re.compile(r"\\[Nnh]|\s+")


@dataclass(frozen=True, slots=True)
class Cue:
    """Words that are shown or said from one time to another."""

    start_s: float
    """Seconds from the first frame."""
    end_s: float
    text: str


class SubtitleStream(Protocol):
    """Stream of subtitles of a container."""

    time_base: Any


def clean_text(text: str) -> str:
    """Return words without tags, entities and line breaks, in the form NFKC, of at most TEXT_BYTES."""
    plain = html.unescape(_TAGS.sub("", text[:MAX_CHARS]))
    plain = _TAGS.sub("", plain).encode("utf-8", "replace").decode("utf-8")
    visible = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFKC", plain))
    return cut_bytes(_SPACES.sub(" ", visible).strip())


def cut_bytes(text: str) -> str:
    """Return the beginning of a text, at most TEXT_BYTES of UTF-8, without half a character at its end."""
    return text.encode()[:TEXT_BYTES].decode("utf-8", "ignore").strip()


def decode_text(content: bytes) -> str:
    """Return the text of a file in UTF-8, UTF-16 with its mark, or the encoding that its bytes suggest."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(_guess_encoding(content[: 64 << 10]), "replace")


def _guess_encoding(content: bytes) -> str:
    """Return the encoding of bytes that are not UTF-8.

    Short texts say too little for statistics of letters, but in GB 18030 bytes beyond ASCII come in pairs,
    the first of which is mostly in the rows of the common characters, and in Western texts they stand alone.
    """
    runs = [run.group() for run in _BEYOND_ASCII.finditer(content)]
    count = sum(map(len, runs))
    if sum(len(run) for run in runs if len(run) > 1) < count / 2:
        return "cp1252"
    if sum(0xB0 <= byte <= 0xD7 for run in runs for byte in run[::2]) > count / 4:
        return "gb18030"
    best = from_bytes(content).best()
    return "gb18030" if best is None else best.encoding


def read_sidecar(content: bytes, form: str) -> list[Cue]:
    """Return the cues of a file of subtitles; none where it has none that can be read.

    Args:
        content: The file's bytes.
        form: Its format, of SIDECAR_FORMATS.
    """
    text = decode_text(content[:MAX_BYTES]).replace("\0", "")
    try:
        file = io.BytesIO(text.encode("utf-8", "replace"))
        with av.open(file, mode="r", format=form) as container:
            return list(_cues(container, 0.0))
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError, OSError):
        return []


def read_sidecar_file(path: str) -> list[Cue]:
    """Return the cues of a local file of subtitles; none where it cannot be read."""
    form = SIDECAR_FORMATS.get(os.path.splitext(path)[1].lower())
    try:
        with open(path, "rb") as file:
            return [] if form is None else read_sidecar(file.read(MAX_BYTES), form)
    except OSError:
        return []


def read_embedded(container: InputContainer, first_s: float) -> list[Cue]:
    """Return the cues of a container's streams of text; pictures of text are left out.

    Args:
        container: Open container at its start.
        first_s: Time of the first frame on the container's clock, in seconds.
    """
    return list(_cues(container, first_s)) if container.streams.subtitles else []


def _cues(container: InputContainer, first_s: float) -> Iterator[Cue]:
    streams = [s for s in container.streams.subtitles if s.codec_context is not None][:MAX_STREAMS]
    if not streams:
        return
    try:
        for packet in itertools.islice(container.demux(streams), MAX_CUES):
            if packet.pts is None or packet.time_base is None:
                continue
            unit = float(packet.time_base)
            start_s, length_s = packet.pts * unit - first_s, (packet.duration or 0) * unit
            for text in _texts(packet):
                yield Cue(start_s, start_s + length_s, text)
    except (av.error.FFmpegError, ValueError):
        return  # cut short: the cues before this point are usable


def _texts(packet: Any) -> Iterator[str]:
    try:
        parts = packet.decode()
    except (av.error.FFmpegError, ValueError):
        return  # one damaged packet
    for part in parts:
        # Pictures of text have no dialogue.
        raw = getattr(part, "dialogue", b"") or getattr(part, "text", b"") or b""
        if text := clean_text(raw.decode("utf-8", "replace")):
            yield text


def bound_cues(cues: Iterable[Cue], end_s: float) -> tuple[Cue, ...]:
    """Return cues in order, inside the video and at most PER_MINUTE in each minute, each text once.

    A cue that starts outside is left out, one whose end cannot be right lasts USUAL_S, and where there are
    too many, neighbors are joined.

    Args:
        cues: Cues in any order, with any times.
        end_s: End of the video in seconds.
    """
    inside: dict[tuple[float, str], Cue] = {}
    for cue in cues:
        text = cut_bytes(cue.text)
        # Written so that times that are not numbers are outside.
        if text and -1.0 <= cue.start_s < end_s:
            start_s, length_s = max(0.0, cue.start_s), cue.end_s - cue.start_s
            length_s = length_s if 0 < length_s <= LONGEST_S else USUAL_S
            inside.setdefault((round(start_s, 3), text), Cue(start_s, min(start_s + length_s, end_s), text))
    ordered = sorted(inside.values(), key=lambda cue: (cue.start_s, cue.end_s, cue.text))
    found: list[Cue] = []
    for _, minute in itertools.groupby(ordered, key=lambda cue: cue.start_s // 60):
        found += _joined(list(minute))
    return tuple(found)


def _joined(cues: list[Cue]) -> Iterator[Cue]:
    size = math.ceil(len(cues) / PER_MINUTE)
    for first in range(0, len(cues), size):
        group = cues[first : first + size]
        text = cut_bytes(" ".join(cue.text for cue in group))
        yield replace(group[0], end_s=max(cue.end_s for cue in group), text=text)
