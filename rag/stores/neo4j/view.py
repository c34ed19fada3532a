"""What one query brought, as a `rag.retrieval.view.View`: ranking cannot tell it from a whole collection in memory.

It holds few rows (those that the searches found, and what their best documents are linked to), but counts over all
that is permitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rag.retrieval.candidates import Dense
from rag.retrieval.view import ChunkInfo, Column, Floats, Link, Near, Rows, TextScores
from rag.stores.neo4j.connection import Row
from rag.stores.neo4j.encoding import hashes_of, unpack_all, unpack_columns, unpack_head, unpack_shown
from rag.stores.neo4j.statistics import Totals
from rag.stores.vectors import fixed_point, sentence_cosines
from rag.types import Language


class Found(NamedTuple):
    """The record of `rag.stores.neo4j.query.retrieval`."""

    before: list[Row]
    """Of each collection: name, epoch, number of its latest statistics, whether it has a vector index."""
    after: list[Row]
    searched: int
    stale: int
    """How many of the chunks that were searched out were just being replaced."""
    live: int
    """How many of the chunks that were searched out are valid today."""
    chunks: list[Row]
    """Each with its card, its vectors and what is known of its document."""
    titled: list[Row]
    links: list[Row]


NOTHING = Found([], [], 0, 0, 0, [], [], [])


class _Document(NamedTuple):
    """Of a chunk's `origin`."""

    collection: str
    number: int
    id: str
    source: str
    title: str
    url: str | None


class _Scored(NamedTuple):
    """What one multiplication told of a question's vector."""

    cosines: Floats
    """By row; -1 without a vector."""
    best: Floats
    """By row: that of its best sentence; -1 without a vector."""
    values: Floats
    """Of each row that has vectors first its own, then its sentences'."""
    starts: list[int]
    """By row, and the end: where its values begin."""


class FetchedView:
    """Rows ascend by (collection, order of ingest)."""

    def __init__(self, found: Found, totals: Totals, *, epoch: int, dimensions: int | None) -> None:
        self.epoch: int | None = epoch
        self._totals = totals
        self._dimensions = dimensions
        known: dict[int, _Document] = {}
        rows = []
        for card, vectors, origin in found.chunks:
            if card is None or origin is None:  # gone in the middle of the query; written by a process of format 2
                continue
            head = unpack_head(card)
            document = known.get(head.document)
            if document is None:
                document = known[head.document] = _Document._make(orjson.loads(origin))
            rows.append((document.collection, head.document, head.key, head, card, vectors or b""))
        rows.sort()
        self._heads = [row[3] for row in rows]
        self._cards = [row[4] for row in rows]
        self._vectors = [row[5] for row in rows]
        numbers = list(dict.fromkeys([row[1] for row in rows]))
        self._documents = [known[number] for number in numbers]
        self._document_at = {number: at for at, number in enumerate(numbers)}
        self._row_at = {row[2]: at for at, row in enumerate(rows)}
        self.document_of: NDArray[np.int32] = np.array([self._document_at[row[1]] for row in rows], dtype=np.int32)
        self.first_row: NDArray[np.int32] = np.searchsorted(
            self.document_of, np.arange(len(self._documents) + 1, dtype=np.int32)
        ).astype(np.int32)
        self._found = found
        self._links: dict[tuple[str, int], list[Row]] = {}
        for link in found.links:
            self._links.setdefault((link[0], link[1]), []).append(link)
        self._scored_for: tuple[Floats, _Scored | None] | None = None
        self._counted_for: tuple[Sequence[str], Column, NDArray[np.float32]] | None = None

    @property
    def rows(self) -> int:
        return len(self._heads)

    @property
    def documents(self) -> int:
        return len(self._documents)

    @property
    def languages(self) -> Mapping[Language, int]:
        """How many chunks in which language, over all that is permitted."""
        return self._totals.languages

    def cosines(self, vector: Floats) -> Floats | None:
        """Cosine of every row; None if none has a vector."""
        scored = self._scored(vector)
        return None if scored is None else scored.cosines

    def near(self, vector: Floats) -> Near | None:
        """The same; the database has chosen the rows already."""
        scores = self.cosines(vector)
        return None if scores is None else Dense(scores)

    def sentence_cosines(self, vector: Floats, rows: Rows) -> list[Floats]:
        """For each of these rows the cosines of its sentences."""
        scored = self._scored(vector)
        if scored is None:
            return [_NONE] * len(rows)
        return [scored.values[scored.starts[row] + 1 : scored.starts[row + 1]] for row in rows.tolist()]

    def best_sentences(self, vector: Floats, rows: Rows) -> Floats:
        """For each of these rows the greatest of those."""
        scored = self._scored(vector)
        return np.full(len(rows), -1.0, dtype=np.float32) if scored is None else scored.best[rows]

    def text_scores(self, terms: Sequence[str], column: Column, *, k1: float, b: float) -> TextScores:
        """BM25 of every row, with the frequencies of all that is permitted."""
        counts = self._counts(terms, column)
        frequency = self._totals.frequencies(hashes_of(terms), column)
        chunks = self._totals.chunks
        idf = np.log(1.0 + np.maximum(chunks - frequency + 0.5, 0.5) / (frequency + 0.5))
        mean = max(self._totals.length / max(chunks, 1), 1e-9)
        lengths = np.array([head.length for head in self._heads], dtype=np.float64)
        norms = k1 * (1.0 - b + b * lengths / mean)
        scores = ((idf * (k1 + 1.0))[:, np.newaxis] * (counts / (counts + norms))).sum(axis=0)
        return TextScores(scores=scores.astype(np.float32), idf=idf.astype(np.float32))

    def holds(self, terms: Sequence[str], column: Column, rows: Rows) -> NDArray[np.bool_]:
        """Which of these rows hold which term."""
        return np.asarray(self._counts(terms, column)[:, rows] > 0)

    def titled(self, keys: Sequence[str]) -> list[tuple[str, Rows]]:
        """Which of these names documents answer to."""
        found: dict[str, set[int]] = {}
        for name, number in self._found.titled:
            if number in self._document_at:
                found.setdefault(name, set()).add(self._document_at[number])
        return [(key, np.array(sorted(found[key]), dtype=np.int32)) for key in keys if key in found]

    def links_from(self, rows: Sequence[int], *, limit: int) -> list[Link]:
        """Sentences of these chunks that name other documents."""
        links: list[Link] = []
        for source, chunks in self._by_document(rows).items():
            found: dict[tuple[int, int, int], Link] = {}
            for row, sentences, target, degree, is_explicit in self._forward(self._documents[source].number, chunks):
                for sentence in sentences:
                    if target != source and len(found) < limit:
                        link = Link(
                            source=source,
                            row=row,
                            sentence=sentence,
                            target=target,
                            degree=degree,
                            explicit=is_explicit,
                        )
                        found.setdefault((row, sentence, target), link)
            links += found.values()
        return links

    def links_to(self, documents: Sequence[int], *, limit: int) -> list[Link]:
        """Sentences of others that name these documents."""
        links: list[Link] = []
        degrees: dict[str, int] = {}
        for target in documents:
            found: dict[tuple[int, int], Link] = {}
            number = self._documents[target].number
            backward = self._links.get(("backward", number), [])[:]
            for link in backward:
                name = link[8]
                if name not in degrees:
                    degrees[name] = max(1, int(self._totals.named(hashes_of([name]))[0]))
            backward.sort(key=lambda link: (not link[8].startswith("@"), degrees[link[8]], link[2]))
            for _, _, chunk, sentences, *_, name in backward:
                row = self._row_at.get(chunk)
                if row is None:
                    continue
                for sentence in sentences:
                    if len(found) < limit:
                        made = Link(
                            source=int(self.document_of[row]),
                            row=row,
                            sentence=sentence,
                            target=target,
                            degree=degrees[name],
                            explicit=name.startswith("@"),
                        )
                        found.setdefault((row, sentence), made)
            links += found.values()
        return links

    def shared_names(self, rows: Sequence[int], *, degree: tuple[int, int], limit: int) -> list[Link]:
        """Rare names of these chunks in sentences of other documents."""
        links: list[Link] = []
        for source, chunks in self._by_document(rows).items():
            number = self._documents[source].number
            found: list[Link] = []
            shared = sorted(self._links.get(("shared", number), []), key=lambda link: (link[7], link[2], link[4]))
            for _, _, chunk, sentences, other, others, _, held_by, _ in shared:
                row, target = self._row_at.get(chunk), self._row_at.get(other)
                if row not in chunks or target is None or not degree[0] <= held_by <= degree[1]:
                    continue
                if len(found) >= limit:
                    break
                found += [
                    Link(
                        source=source,
                        row=row,
                        sentence=sentence,
                        target=int(self.document_of[target]),
                        target_row=target,
                        target_sentence=other_sentence,
                        degree=held_by,
                    )
                    for sentence in sentences
                    for other_sentence in others
                ]
            links += found[:limit]
        return links

    def infos(self, rows: Sequence[int]) -> list[ChunkInfo]:
        """What is shown of these rows."""
        return [self._info(int(row)) for row in rows]

    def _info(self, row: int) -> ChunkInfo:
        document, head = self._documents[int(self.document_of[row])], self._heads[row]
        shown = unpack_shown(self._cards[row][head.shown_at :])
        return ChunkInfo(
            passage_id=shown.passage_id,
            document=document.id,
            source=document.source,
            title=document.title,
            collection=document.collection,
            text=shown.text,
            heading=shown.heading,
            page=shown.page,
            url=document.url,
            language=shown.language,
        )

    def _by_document(self, rows: Sequence[int]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for row in rows:
            found.setdefault(int(self.document_of[row]), set()).add(int(row))
        return found

    def _forward(self, number: int, chunks: set[int]) -> list[tuple[int, list[int], int, int, bool]]:
        found = []
        for _, _, chunk, sentences, _, _, target, degree, name in self._links.get(("forward", number), []):
            row = self._row_at.get(chunk, -1)
            if row in chunks and target in self._document_at:
                place = self._document_at[target]
                found.append((row, sentences, place, degree, name.startswith("@")))
        return sorted(found, key=lambda link: (not link[4], link[3], link[0]))

    def _counts(self, terms: Sequence[str], column: Column) -> NDArray[np.float32]:
        """How often each row holds each term; shape (terms, rows). Asked for twice: for scores and for what is held."""
        if self._counted_for is None or self._counted_for[0] is not terms or self._counted_for[1] != column:
            self._counted_for = terms, column, self._count(terms, column)
        return self._counted_for[2]

    def _count(self, terms: Sequence[str], column: Column) -> NDArray[np.float32]:
        counts = np.zeros((len(terms), self.rows), dtype=np.float32)
        if not self.rows or not len(terms):
            return counts
        hashes, times, sizes = unpack_columns(self._cards, self._heads, column)
        rows = np.repeat(np.arange(self.rows), sizes)
        # A dozen comparisons of 10,000 numbers are several times as fast as 10,000 searches among a dozen.
        for place, wanted in enumerate(hashes_of(terms)):
            at = (hashes == wanted).nonzero()[0]
            counts[place, rows[at]] = times[at]
        return counts

    def _scored(self, vector: Floats) -> _Scored | None:
        if self._scored_for is None or self._scored_for[0] is not vector:
            self._scored_for = vector, self._score(vector)
        return self._scored_for[1]

    def _score(self, vector: Floats) -> _Scored | None:
        if self._dimensions is None or not any(self._vectors):
            return None
        flat, counts = unpack_all(self._vectors, self._dimensions)
        values = sentence_cosines(flat, fixed_point(vector))
        starts = np.zeros(self.rows + 1, dtype=np.int64)
        np.cumsum(counts, out=starts[1:])
        has_some = starts[1:] > starts[:-1]
        firsts = starts[:-1][has_some]
        cosines, best = np.full((2, self.rows), -1.0, dtype=np.float32)
        cosines[has_some] = values[firsts]
        of_sentences = values.copy()
        of_sentences[firsts] = -1.0
        best[has_some] = np.maximum.reduceat(of_sentences, firsts)
        return _Scored(cosines, best, values, starts.tolist())


_NONE = np.zeros(0, dtype=np.float32)
