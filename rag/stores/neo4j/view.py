"""What one query brought, as a `rag.retrieval.view.View`: ranking cannot tell it from a whole collection in memory.

It holds few rows (those that the searches found, and what their best documents are linked to), but counts over all
that is permitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rag.retrieval.candidates import Dense
from rag.retrieval.view import ChunkInfo, Column, Floats, Link, Near, Rows, TextScores
from rag.stores.neo4j.connection import Row
from rag.stores.neo4j.encoding import Card, hashes_of, unpack_all, unpack_card, unpack_shown
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
    """Each with its document's card, its own card, its vectors."""
    titled: list[Row]
    links: list[Row]


NOTHING = Found([], [], 0, 0, 0, [], [], [])


class FetchedView:
    """Rows ascend by (collection, order of ingest)."""

    def __init__(self, found: Found, totals: Totals, *, epoch: int, dimensions: int | None) -> None:
        cards = [(orjson.loads(row[0]), unpack_card(row[1]), row[2]) for row in found.chunks]
        whole = [each for each in cards if each[0][1] == each[1].document]
        self.is_torn = len(whole) < len(cards)
        """Whether chunks were seen of a version that was just being replaced; they are left out."""
        cards = whole
        cards.sort(key=lambda each: (each[0][0], each[1].document, each[1].key))
        self.epoch: int | None = epoch
        self._totals = totals
        self._dimensions = dimensions
        self._cards = [card for _, card, _ in cards]
        self._vectors = [vectors or b"" for *_, vectors in cards]
        self._documents = list({card.document: document for document, card, _ in cards}.values())
        self._document_at = {document[1]: at for at, document in enumerate(self._documents)}
        self._row_at = {card.key: at for at, card in enumerate(self._cards)}
        self.document_of: NDArray[np.int32] = np.array(
            [self._document_at.get(card.document, -1) for card in self._cards], dtype=np.int32
        )
        self.first_row: NDArray[np.int32] = np.searchsorted(
            self.document_of, np.arange(len(self._documents) + 1)
        ).astype(np.int32)
        self._found = found
        self._links: dict[tuple[str, int], list[Row]] = {}
        for link in found.links:
            self._links.setdefault((link[0], link[1]), []).append(link)
        self._scored_for: tuple[Floats, tuple[Floats | None, list[Floats]]] | None = None
        self._counted_for: tuple[Sequence[str], Column, NDArray[np.float64]] | None = None

    @property
    def rows(self) -> int:
        return len(self._cards)

    @property
    def documents(self) -> int:
        return len(self._documents)

    @property
    def languages(self) -> Mapping[Language, int]:
        """How many chunks in which language, over all that is permitted."""
        return self._totals.languages

    def cosines(self, vector: Floats) -> Floats | None:
        """Cosine of every row; None if none has a vector."""
        return self._scored(vector)[0]

    def near(self, vector: Floats) -> Near | None:
        """The same; the database has chosen the rows already."""
        scores = self.cosines(vector)
        return None if scores is None else Dense(scores)

    def sentence_cosines(self, vector: Floats, rows: Rows) -> list[Floats]:
        """For each of these rows the cosines of its sentences."""
        sentences = self._scored(vector)[1]
        return [sentences[row] for row in rows]

    def text_scores(self, terms: Sequence[str], column: Column, *, k1: float, b: float) -> TextScores:
        """BM25 of every row, with the frequencies of all that is permitted."""
        counts = self._counts(terms, column)
        frequency = self._totals.frequencies(hashes_of(terms), column)
        chunks = self._totals.chunks
        idf = np.log(1.0 + np.maximum(chunks - frequency + 0.5, 0.5) / (frequency + 0.5))
        mean = max(self._totals.length / max(chunks, 1), 1e-9)
        lengths = np.array([each.length for each in self._cards], dtype=np.float64)
        norms = k1 * (1.0 - b + b * lengths / mean)
        scores = (idf[:, np.newaxis] * (counts * (k1 + 1.0) / (counts + norms))).sum(axis=0)
        return TextScores(scores=scores.astype(np.float32), idf=idf.astype(np.float32))

    def holds(self, terms: Sequence[str], column: Column, rows: Rows) -> NDArray[np.bool_]:
        """Which of these rows hold which term."""
        return np.asarray(self._counts(terms, column)[:, np.asarray(rows, dtype=np.int64)] > 0)

    def titled(self, keys: Sequence[str]) -> list[tuple[str, Rows]]:
        """Which of these names documents answer to."""
        found: dict[str, set[int]] = {}
        for name, number in self._found.titled:
            if number in self._document_at:
                found.setdefault(name, set()).add(self._document_at[number])
        return [(key, np.array(sorted(found[key]), dtype=np.int32)) for key in keys if key in found]

    def links_from(self, documents: Sequence[int], *, limit: int) -> list[Link]:
        """Sentences of these documents that name others."""
        links: list[Link] = []
        for source in documents:
            found: dict[tuple[int, int, int], Link] = {}
            for row, sentences, target, degree, is_explicit in self._forward(self._documents[source][1]):
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
            number = self._documents[target][1]
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

    def shared_names(self, documents: Sequence[int], *, degree: tuple[int, int], limit: int) -> list[Link]:
        """Rare names of these documents in sentences of others."""
        links: list[Link] = []
        for source in documents:
            number = self._documents[source][1]
            found: list[Link] = []
            for _, _, chunk, sentences, other, others, _, held_by, _ in self._links.get(("shared", number), []):
                row, target = self._row_at.get(chunk), self._row_at.get(other)
                if row is None or target is None or not degree[0] <= held_by <= degree[1]:
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
        collection, _, id_, source, title, url = self._documents[int(self.document_of[row])]
        shown = unpack_shown(self._cards[row].shown)
        return ChunkInfo(
            passage_id=shown.passage_id,
            document=id_,
            source=source,
            title=title,
            collection=collection,
            text=shown.text,
            heading=shown.heading,
            page=shown.page,
            url=url,
            language=shown.language,
        )

    def _forward(self, number: int) -> list[tuple[int, list[int], int, int, bool]]:
        found = []
        for _, _, chunk, sentences, _, _, target, degree, name in self._links.get(("forward", number), []):
            if chunk in self._row_at and target in self._document_at:
                row, place = self._row_at[chunk], self._document_at[target]
                found.append((row, sentences, place, degree, name.startswith("@")))
        return sorted(found, key=lambda link: (not link[4], link[3], link[0]))

    def _counts(self, terms: Sequence[str], column: Column) -> NDArray[np.float64]:
        """How often each row holds each term; shape (terms, rows). Asked for twice: for scores and for what is held."""
        if self._counted_for is None or self._counted_for[0] is not terms or self._counted_for[1] != column:
            self._counted_for = terms, column, self._count(terms, column)
        return self._counted_for[2]

    def _count(self, terms: Sequence[str], column: Column) -> NDArray[np.float64]:
        counts = np.zeros((len(terms), self.rows), dtype=np.float64)
        if not self.rows or not len(terms):
            return counts
        packed = [_column(each, column) for each in self._cards]
        hashes = np.concatenate([each[0] for each in packed])
        times = np.concatenate([each[1] for each in packed])
        rows = np.repeat(np.arange(self.rows), [len(each[0]) for each in packed])
        # A dozen comparisons of 10,000 numbers are several times as fast as 10,000 searches among a dozen.
        for place, wanted in enumerate(hashes_of(terms)):
            at = np.flatnonzero(hashes == wanted)
            counts[place, rows[at]] = times[at]
        return counts

    def _scored(self, vector: Floats) -> tuple[Floats | None, list[Floats]]:
        """(cosines of the rows, cosines of their sentences), in one multiplication."""
        if self._scored_for is None or self._scored_for[0] is not vector:
            self._scored_for = vector, self._score(vector)
        return self._scored_for[1]

    def _score(self, vector: Floats) -> tuple[Floats | None, list[Floats]]:
        none = np.zeros(0, dtype=np.float32)
        sentences = [none] * self.rows
        if self._dimensions is None or not any(self._vectors):
            return None, sentences
        flat, counts = unpack_all(self._vectors, self._dimensions)
        values = sentence_cosines(flat, fixed_point(vector))
        cosines = np.full(self.rows, -1.0, dtype=np.float32)
        start = 0
        for row, count in enumerate(counts):
            if count:
                cosines[row] = values[start]
                sentences[row] = values[start + 1 : start + count]
                start += count
        return cosines, sentences


def _column(card: Card, column: Column) -> tuple[Any, Any]:
    if column == "folded" and card.folded is not None and card.folded_counts is not None:
        return card.folded, card.folded_counts
    return card.marked, card.marked_counts
