"""What ingest writes and a store keeps: documents, their chunks, and the sentences in them.

Nothing here refers to another document by identity. Bridges between documents are made of *keys*: a sentence
carries the keys of everything it names, a document carries the keys it answers to, and a store joins the two when
it is asked, over the collections that the asker may read. So the order of ingest does not matter, a deleted
document takes its bridges along, and a forbidden one never had any.

Sentences and chunks are named tuples, not dataclasses: they cross a process boundary by the thousand, and a frozen
slotted dataclass pickles some ten times slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # parsing processes import this module: nothing heavy comes along
    from rag.types import Language

Key = str
"""What a thing is called, reduced until two spellings of it are equal.

A name is its folded tokens joined by single spaces (`doctor strange`, `bt-03`); the target of a link is `@` and the
document id or address it leads to (`@guides/fees.md`, `@https://example.org/fees`).
"""

Terms = tuple[tuple[str, int], ...]
"""Index terms of a text with their counts, in order of first appearance, each term once."""


class Sentence(NamedTuple):
    """A sentence of a chunk (or a table row, a list item, a turn of a chat): the unit that is scored."""

    start: int
    """Offset of its first character in the chunk's text."""
    end: int
    """Offset after its last character."""
    names: tuple[Key, ...] = ()
    """Everything it names, each once: names, codes, quoted titles, link targets. Bounded by the extractor."""


class Chunk(NamedTuple):
    """A piece of a document that is found, embedded and shown as a whole."""

    ordinal: int
    """Its place in the document, from 0."""
    text: str
    heading: str
    """The path of headings above it, joined with ` > `; capped; empty where there is none."""
    page: int | None
    """The page it begins on, from 1; None where the format has no pages."""
    language: Language
    marked: Terms
    """Terms of title, heading and text, diacritics kept."""
    folded: Terms
    """The same without diacritics; the very same object as `marked` where nothing differs."""
    length: int
    """How many terms, repetitions counted: the length that BM25 normalises by. Equal for both columns."""
    sentences: tuple[Sentence, ...]
    """In order, not overlapping; at least one."""
    embedding_text: str
    """What the embedder sees: the text, with the title and heading before it where they say something."""
    digest: str
    """Hash of everything its vectors depend on: chunks of equal digest may share them."""
    extracted: str | None = None
    """What a language model found in it (`rag.extracted`); None: none has read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document ready to be stored. (collection, source, id) is its identity."""

    collection: str
    source: str
    """Where it was fed from (a folder, an upload): `--sync` removes only within one source."""
    id: str
    file: str
    """The file it came from, relative to the source; several documents may share one (jsonl, csv)."""
    title: str
    url: str | None
    valid_from: date | None
    """First day it is true; None: always was."""
    valid_until: date | None
    """Last day it is true; None: until replaced."""
    language: Language
    content_hash: str
    """Of the text and the metadata as ingested: equal hashes need no work."""
    size: int
    """Bytes of the original."""
    names: tuple[Key, ...]
    """The keys it answers to: its title (with and without a bracketed ending), the bracketed ending when that is
    a code, `@id` and `@url`."""
    title_terms: tuple[str, ...]
    """Folded, stemmed index terms of the title."""
    chunks: tuple[Chunk, ...]
