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

from rag.retrieval.view import ChunkInfo, Column, Floats, Link, Rows, TextScores
from rag.stores.neo4j.connection import Row
from rag.stores.neo4j.encoding import ChunkTerms, hashes_of, unpack_terms, unpack_vectors
from rag.stores.neo4j.statistics import Totals
from rag.stores.vectors import Quantised, fixed_point, sentence_cosines
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
    documents: list[Row]
    titled: list[Row]
    links: list[Row]


NOTHING = Found([], [], 0, 0, 0, [], [], [])


class FetchedView:
    """Rows ascend by (collection, order of ingest)."""

    def __init__(self, found: Found, totals: Totals, *, epoch: int, dimensions: int | None) -> None:
        documents = sorted(found.documents, key=lambda row: (row[0], row[1]))
        self.epoch: int | None = epoch
        self._totals = totals
        self._documents = documents
        self._dimensions = dimensions
        self._chunks: list[Row] = []
        starts = [0]
        for document in documents:
            self._chunks += sorted(document[7], key=lambda chunk: int(chunk[0]))
            starts.append(len(self._chunks))
        self.first_row: NDArray[np.int32] = np.array(starts, dtype=np.int32)
        self.document_of: NDArray[np.int32] = np.repeat(
            np.arange(len(documents), dtype=np.int32), np.diff(self.first_row)
        )
        self._document_at = {document[1]: at for at, document in enumerate(documents)}
        self._row_at = {chunk[0]: at for at, chunk in enumerate(self._chunks)}
        self._found = found
        self._terms: list[ChunkTerms] | None = None
        self._scored_for: tuple[Floats, tuple[Floats | None, list[Floats]]] | None = None

    @property
    def rows(self) -> int:
        return len(self._chunks)

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
        lengths = np.array([each.length for each in self._all_terms()], dtype=np.float64)
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
            backward = [link for link in self._found.links if link[0] == "backward" and link[1] == number]
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
            for kind, seed, chunk, sentences, other, others, _, held_by, _ in self._found.links:
                row, target = self._row_at.get(chunk), self._row_at.get(other)
                is_ours = kind == "shared" and seed == number and degree[0] <= held_by <= degree[1]
                if not is_ours or row is None or target is None:
                    continue
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
        _, _, _, text, passage_id, packed, _ = self._chunks[row]
        collection, _, id_, source, title, url, *_ = self._documents[int(self.document_of[row])]
        heading, page, language = orjson.loads(packed)
        return ChunkInfo(
            passage_id=passage_id,
            document=id_,
            source=source,
            title=title,
            collection=collection,
            text=text,
            heading=heading,
            page=page,
            url=url,
            language=language,
        )

    def _forward(self, number: int) -> list[tuple[int, list[int], int, int, bool]]:
        found = []
        for kind, seed, chunk, sentences, _, _, target, degree, name in self._found.links:
            if kind == "forward" and seed == number and chunk in self._row_at and target in self._document_at:
                row, place = self._row_at[chunk], self._document_at[target]
                found.append((row, sentences, place, degree, name.startswith("@")))
        return sorted(found, key=lambda link: (not link[4], link[3], link[0]))

    def _all_terms(self) -> list[ChunkTerms]:
        if self._terms is None:
            self._terms = [unpack_terms(chunk[1]) for chunk in self._chunks]
        return self._terms

    def _counts(self, terms: Sequence[str], column: Column) -> NDArray[np.float64]:
        """How often each row holds each term; shape (terms, rows)."""
        counts = np.zeros((len(terms), self.rows), dtype=np.float64)
        if not self.rows or not len(terms):
            return counts
        packed = [_column(each, column) for each in self._all_terms()]
        hashes = np.concatenate([each[0] for each in packed])
        times = np.concatenate([each[1] for each in packed])
        rows = np.repeat(np.arange(self.rows), [len(each[0]) for each in packed])
        wanted = hashes_of(terms)
        order = np.argsort(wanted, kind="stable")
        at = np.minimum(np.searchsorted(wanted[order], hashes), len(terms) - 1)
        is_held = wanted[order][at] == hashes
        counts[order[at[is_held]], rows[is_held]] = times[is_held]
        return counts

    def _scored(self, vector: Floats) -> tuple[Floats | None, list[Floats]]:
        """(cosines of the rows, cosines of their sentences), in one multiplication."""
        if self._scored_for is None or self._scored_for[0] is not vector:
            self._scored_for = vector, self._score(vector)
        return self._scored_for[1]

    def _score(self, vector: Floats) -> tuple[Floats | None, list[Floats]]:
        none = np.zeros(0, dtype=np.float32)
        sentences = [none] * self.rows
        packed = [chunk[2] for chunk in self._chunks]
        if self._dimensions is None or not any(packed):
            return None, sentences
        blocks = [unpack_vectors(each or b"", self._dimensions) for each in packed]
        flat = Quantised(np.concatenate([rows for rows, _ in blocks]), np.concatenate([scales for _, scales in blocks]))
        values = sentence_cosines(flat, fixed_point(vector))
        cosines = np.full(self.rows, -1.0, dtype=np.float32)
        start = 0
        for row, (block, _) in enumerate(blocks):
            if len(block):
                cosines[row] = values[start]
                sentences[row] = values[start + 1 : start + len(block)]
                start += len(block)
        return cosines, sentences


def _column(terms: ChunkTerms, column: Column) -> tuple[Any, Any]:
    if column == "folded" and terms.folded is not None and terms.folded_counts is not None:
        return terms.folded, terms.folded_counts
    return terms.marked, terms.marked_counts
