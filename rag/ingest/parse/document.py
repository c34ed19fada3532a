"""What every parser hands on: a document as plain blocks, in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BlockKind = Literal["heading", "text", "list", "table", "code"]

SAFE_IN_LINKS = "/:?#@!$&'*+,;=%~-._"
"""What need not be escaped in the target of a Markdown link; round brackets and spaces would end it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One paragraph, list, table, code block or heading."""

    kind: BlockKind
    text: str
    """Plain text of a heading; Markdown of the rest (tables as pipe tables whose first row is the header)."""
    level: int = 0
    """1 to 6 for headings, else 0."""
    page: int | None = None
    """From 1, where the format has pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the document writes it."""

    text: str
    target: str
    """An address, or a path relative to the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDocument:
    """One document, whatever format it came in. A jsonl or a large csv file gives several."""

    id: str | None
    """The id the document carries itself (jsonl); None: the file's."""
    title: str
    blocks: tuple[Block, ...]
    url: str | None = None
    valid_from: str | None = None
    """First day it is true, as `2026-12-31`; None: always was."""
    valid_until: str | None = None
    """Last day it is true; None: until replaced."""
    links: tuple[Link, ...] = ()
    warnings: tuple[str, ...] = ()
    """What was lost or had to be guessed, one line each, e.g. pages without text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A part of a file that could not be read while the rest could."""

    line: int | None
    """From 1; None: it is not about one line."""
    message: str

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line:,} {self.message}"
