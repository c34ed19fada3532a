"""New and former documents as the rows of a write: what the graph keeps of a document, a chunk, a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import orjson

from rag.extracted import related
from rag.records import Chunk, Document
from rag.stores.encoding import Hasher
from rag.stores.neo4j.connection import Row
from rag.stores.neo4j.encoding import Packed, hashes_of, pack_card, pack_stored, unpack_card
from rag.stores.neo4j.statistics import ALWAYS_FROM, ALWAYS_UNTIL, Span, Tally
from rag.stores.writer import passage_id
from rag.transfer.ports import Dumped, Embedding

_LONGEST_NAME = 600

Given = Mapping[tuple[str, str, int], Packed]
"""By source, id and ordinal: a chunk's vectors."""


class Prepared:
    """The rows of new documents; document i has the number `first` + i, the chunks' keys follow."""

    def __init__(self, documents: Sequence[Document], first: int, now: datetime) -> None:
        self.identities = [[document.source, document.id] for document in documents]
        self.documents: list[dict[str, Any]] = []
        self.chunks: list[dict[str, Any]] = []
        self.places: dict[tuple[str, str, int], int] = {}
        """By source, id and ordinal: the chunk's key; in order of `chunks`."""
        self._spans: list[Span] = []
        self._names = [document.names for document in documents]
        mentions: dict[str, list[list[Any]]] = {}
        in_documents: Counter[str] = Counter()
        answers: dict[str, list[int]] = {}
        self.related: list[list[Any]] = []
        """[subject, relation, object, key of the chunk that says so]"""
        hasher, key = Hasher(), first + len(documents)
        for number, document in enumerate(documents, first):
            span = (_iso(document.valid_from, ALWAYS_FROM), _iso(document.valid_until, ALWAYS_UNTIL))
            self._spans.append(span)
            self.documents.append(
                _document_row(document, number, span, now) | ({"first": key} if document.chunks else {})
            )
            origin = _origin(document, number)
            for name in dict.fromkeys(filter(_is_indexable, document.names)):
                answers.setdefault(name, []).append(number)
            held: set[str] = set()
            seen: Counter[str] = Counter()
            for chunk in document.chunks:
                row = _chunk_row(document, chunk, seen[chunk.text], hasher, key=key, number=number)
                self.chunks.append(row | {"origin": origin} | _validity(span))
                self.places[document.source, document.id, chunk.ordinal] = key
                seen[chunk.text] += 1
                for name, sentences in _named(chunk).items():
                    held.add(name)
                    mentions.setdefault(name, []).append([key, sentences])
                self.related += [[*each, key] for each in related(chunk.extracted)]
                key += 1
            in_documents.update(held)
        # In order of name, so that whoever writes meets the locks in the same order.
        self.mentions = [[name, in_documents[name], mentions[name]] for name in sorted(mentions)]
        self.answers = [[name, answers[name]] for name in sorted(answers)]

    def whole(self) -> list[list[Any]]:
        """Each document's row with those of its chunks."""
        chunks: dict[int, list[dict[str, Any]]] = {}
        for row in self.chunks:
            chunks.setdefault(row["document"], []).append(row)
        return [[row, chunks.get(row["number"], [])] for row in self.documents]

    def digests(self, *, but: Given) -> list[list[Any]]:
        """Each digest with the chunks that have it and are not given vectors."""
        by_digest: dict[str, list[int]] = {}
        for (place, key), row in zip(self.places.items(), self.chunks, strict=True):
            if place not in but:
                by_digest.setdefault(row["digest"], []).append(key)
        return [[digest, keys] for digest, keys in by_digest.items()]

    def add_to(self, tally: Tally) -> None:
        for span, names in zip(self._spans, self._names, strict=True):
            tally.titles(span, hashes_of(names), 1)
        first = self.documents[0]["number"] if self.documents else 0
        for row in self.chunks:
            tally.chunk(self._spans[row["document"] - first], unpack_card(row["card"]), row["language"], 1)


class Former:
    """What a write replaces or removes, from the rows of `_OLD`."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._documents = {row[0]: row for row in rows}
        self._chunks = [row for row in rows if row[5] is not None]
        self.numbers = list(self._documents)
        self.ids = sorted({row[1] for row in rows})
        self.keys = [row[5] for row in self._chunks]
        self.pending = sum(row[8] for row in self._chunks)

    def take_off(self, tally: Tally) -> None:
        for row in self._documents.values():
            tally.titles((row[2], row[3]), hashes_of(row[4]), -1)
        for row in self._chunks:
            tally.chunk((row[2], row[3]), unpack_card(row[6]), row[7], -1)


def given_vectors(dumped: Dumped, embedding: Embedding | None) -> Given:
    """What a document that comes from another store brings. Raises `InputError`."""
    given = {}
    document = dumped.document
    for chunk, vectors in zip(document.chunks, dumped.vectors, strict=True):
        if vectors is not None and embedding is not None:
            vectors.check(embedding.dimensions, len(chunk.sentences))
            given[document.source, document.id, chunk.ordinal] = pack_stored(vectors)
    return given


def _document_row(document: Document, number: int, span: Span, now: datetime) -> dict[str, Any]:
    return {
        "collection": document.collection,
        "source": document.source,
        "id": document.id,
        "number": number,
        "file": document.file,
        "title": document.title,
        "url": document.url,
        "language": document.language,
        "valid_from": span[0],
        "valid_until": span[1],
        "content_hash": document.content_hash,
        "size": document.size,
        "chunks": len(document.chunks),
        "names": list(dict.fromkeys(document.names)),
        "title_terms": list(document.title_terms),
        "updated_at": now.isoformat(timespec="seconds"),
    }


def _origin(document: Document, number: int) -> str:
    """What is shown of a chunk's document, with every chunk: no search looks a hundred documents up."""
    shown = [document.collection, number, document.id, document.source, document.title, document.url]
    return orjson.dumps(shown).decode()


def _chunk_row(document: Document, chunk: Chunk, nth: int, hasher: Hasher, *, key: int, number: int) -> dict[str, Any]:
    is_folded = chunk.folded is not chunk.marked and chunk.folded != chunk.marked
    has_head = chunk.embedding_text.endswith(chunk.text)
    passage = passage_id(document, chunk, nth)
    return {
        "key": key,
        "document": number,
        "collection": document.collection,
        "ordinal": chunk.ordinal,
        "passage_id": passage,
        "text": chunk.text,
        "heading": chunk.heading,
        "page": chunk.page,
        "language": chunk.language,
        "digest": chunk.digest,
        "embedding_head": chunk.embedding_text[: len(chunk.embedding_text) - len(chunk.text)] if has_head else None,
        "embedding_text": None if has_head else chunk.embedding_text,
        "marked": _repeated(chunk.marked),
        "folded": _repeated(chunk.folded) if is_folded else None,
        "card": pack_card(chunk, key=key, document=number, passage_id=passage, hasher=hasher),
        "names": _names(chunk),
        "extracted": chunk.extracted,
        "spans": [at for sentence in chunk.sentences for at in (sentence.start, sentence.end)],
    }


def _validity(span: Span) -> dict[str, str]:
    """Properties of what is true on some days only; few things are, so the others have none to be read."""
    return {} if span == (ALWAYS_FROM, ALWAYS_UNTIL) else {"valid_from": span[0], "valid_until": span[1]}


def _repeated(terms: Iterable[tuple[str, int]]) -> str:
    return " ".join(" ".join([term] * count) for term, count in terms)


def _names(chunk: Chunk) -> str | None:
    """By sentence, for `grapevine export`: relationships keep no order."""
    names = [sentence.names for sentence in chunk.sentences]
    return orjson.dumps(names).decode() if any(names) else None


def _named(chunk: Chunk) -> dict[str, list[int]]:
    named: dict[str, list[int]] = {}
    for at, sentence in enumerate(chunk.sentences):
        for name in filter(_is_indexable, sentence.names):
            named.setdefault(name, []).append(at)
    return named


def _is_indexable(name: str) -> bool:
    """Keys of an index may be 8 kB long; no name is."""
    return len(name) <= _LONGEST_NAME


def _iso(day: date | None, otherwise: str) -> str:
    return day.isoformat() if day else otherwise
