"""What ingest writes and a store keeps: documents, their chunks, and the sentences in them.

Nothing here refers to another document by identity. Bridges between documents are made of *keys*: a sentence
carries the keys of everything it names, a document carries the keys it answers to, and a store joins the two when
it is asked, over the collections that the asker may read. So the order of ingest does not matter, a deleted
document takes its bridges along, and a forbidden one never had any.

Sentences and chunks are named tuples, not dataclasses: they cross a process boundary by the thousand, and a frozen
slotted dataclass pickles some ten times slower.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:  # parsing processes import this module: nothing heavy comes along
    from rag.types import Language

Key = str
"""What a thing is called, reduced until two spellings of it are equal.

A name is its folded tokens joined by single spaces (`doctor strange`, `bt-03`); the target of a link is `@` and the
document id or address it leads to (`@guides/fees.md`, `@https://example.org/fees`).
"""

Terms = Sequence[tuple[str, int]]
"""Index terms of a text with their counts, in order of first appearance, each term once."""


class CountedTerms(Sequence[tuple[str, int]]):
    """`Terms` as two objects instead of some hundred pairs, which were a fifth of what an ingest costs the store."""

    __slots__ = ("_joined", "counts")

    def __init__(self, joined: str, counts: Sequence[int]) -> None:
        """`joined`: the terms with a blank between them (none holds one); `counts`: of each, bytes where they fit."""
        self._joined = joined
        self.counts = counts

    @classmethod
    def of(cls, terms: Iterable[str]) -> CountedTerms:
        """Count `terms`."""
        counted = Counter(terms)
        try:
            return cls(" ".join(counted), bytes(counted.values()))
        except ValueError:  # one stands there more than 255 times
            return cls(" ".join(counted), tuple(counted.values()))

    @property
    def words(self) -> list[str]:
        """The terms alone."""
        return self._joined.split(" ") if self._joined else []

    def __len__(self) -> int:
        return len(self.counts)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self.words, self.counts, strict=True)

    @overload
    def __getitem__(self, index: int) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[str, int], ...]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, int] | tuple[tuple[str, int], ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CountedTerms):
            return self._joined == other._joined and self.counts == other.counts
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[type[CountedTerms], tuple[str, Sequence[int]]]:
        return CountedTerms, (self._joined, self.counts)


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
