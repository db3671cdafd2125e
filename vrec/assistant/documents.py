"""A shop's own documents: Markdown in a folder, cut into passages that answers cite."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from vrec.core.errors import VrecError

MAX_FILE_BYTES = 1_000_000
MAX_PASSAGES = 20_000
PASSAGE_CHARS = 600
"""Characters from which on a section is cut into several passages, between its blocks."""


_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


class DocumentsError(VrecError):
    """Folder of documents that cannot be used."""

    fix = "name a folder of Markdown files in UTF-8"


@dataclass(frozen=True, slots=True)
class Passage:
    """Part of a document under one heading."""

    document: str
    """Path below the folder, with `/`."""
    headings: tuple[str, ...]
    """Headings above it, the document's first."""
    text: str
    """Its text without markup."""

    @property
    def anchor(self) -> str:
        """Address within the folder, such as `returns.md#how-to-return`, by GitHub's rule for headings."""
        return f"{self.document}#{_slug(self.headings[-1])}" if self.headings else self.document

    @property
    def title(self) -> str:
        """Headings in one line."""
        return " › ".join(self.headings)


def read_documents(folder: Path) -> list[Passage]:
    """Read the passages of all `.md` files below a folder.

    Args:
        folder: The folder; links that lead out of it are not followed.

    Returns:
        Passages by path of the document, then in its order.

    Raises:
        DocumentsError: There is no such folder, no document in it, or an unreadable file; it is named.
    """
    if not folder.is_dir():
        raise DocumentsError(f"{folder}: is no folder")
    root = folder.resolve()
    passages: list[Passage] = []
    for path in sorted(folder.rglob("*.md")):
        if path.is_file() and path.resolve().is_relative_to(root):
            passages.extend(_read_document(path, path.relative_to(folder).as_posix()))
    if not passages:
        raise DocumentsError(f"{folder}: no Markdown file with text below it")
    if len(passages) > MAX_PASSAGES:
        raise DocumentsError(
            f"{folder}: {len(passages):,} passages, and {MAX_PASSAGES:,} are allowed", fix="split the folder"
        )
    return passages


def _read_document(path: Path, name: str) -> list[Passage]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DocumentsError(f"{path}: more than {MAX_FILE_BYTES:,} bytes", fix="split the document")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentsError(f"{path}: not UTF-8 (byte {error.start})", fix="save it as UTF-8") from error
    except OSError as error:
        raise DocumentsError(f"{path}: {error.strerror}") from error
    return list(parse_document(text, name))


def parse_document(markdown: str, name: str) -> Iterator[Passage]:
    """Iterate over the passages of a Markdown text.

    Args:
        markdown: The text; HTML in it is left out.
        name: Name of the document.
    """
    headings: list[tuple[int, str]] = []
    blocks: list[str] = []
    for kind, level, text in _blocks(MarkdownIt("commonmark").enable("table").parse(markdown)):
        if kind == "heading":
            yield from _passages(name, headings, blocks)
            blocks = []
            headings = [*(entry for entry in headings if entry[0] < level), (level, text)]
        else:
            blocks.append(text)
    yield from _passages(name, headings, blocks)


def _passages(name: str, headings: Sequence[tuple[int, str]], blocks: Sequence[str]) -> Iterator[Passage]:
    above = tuple(text for _, text in headings)
    part: list[str] = []
    for block in blocks:
        if part and sum(map(len, part)) + len(block) > PASSAGE_CHARS:
            yield Passage(name, above, "\n".join(part))
            part = []
        part.append(block)
    if part:
        yield Passage(name, above, "\n".join(part))


def _blocks(tokens: Sequence[Token]) -> Iterator[tuple[str, int, str]]:
    """Iterate over headings and paragraphs as (heading or text, level, text); a table's row is one text."""
    heading, row = 0, None
    for token in tokens:
        if token.type == "heading_open":
            heading = int(token.tag[1:])
        elif token.type == "heading_close":
            heading = 0
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and row:
            yield "text", 0, ": ".join(row)
            row = None
        elif token.type in ("fence", "code_block") and token.content.strip():
            yield "text", 0, " ".join(token.content.split())
        elif token.type == "inline" and (text := _plain(token)):
            if row is not None:
                row.append(text)
            else:
                yield ("heading", heading, text) if heading else ("text", 0, text)


def _plain(inline: Token) -> str:
    parts = [
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in inline.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak", "text_special")
    ]
    visible = "".join(parts)
    return " ".join("".join(c for c in visible if c.isspace() or unicodedata.category(c)[0] != "C").split())


def sentences(text: str) -> list[str]:
    """Return the sentences of a passage, each with its sign at the end; "2.5 kg" is no end of one."""
    return [line for part in _SENTENCE_END.split(text) if (line := " ".join(part.split()))]


def _slug(heading: str) -> str:
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.strip().replace(" ", "-")
