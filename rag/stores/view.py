"""`rag.retrieval.view.View` over segments in memory: scores of chunks and sentences, counts over what is permitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from rag.errors import EmbeddingMismatch
from rag.retrieval.candidates import Dense
from rag.retrieval.view import ChunkInfo, Column, Floats, Link, Near, Rows, TextScores
from rag.stores import links
from rag.stores.encoding import hash_all
from rag.stores.layout import Layout
from rag.stores.near import NearRows
from rag.stores.snapshot import Part, Snapshot
from rag.stores.textindex import Postings
from rag.stores.vectors import Quantised, cosines, fixed_point, sentence_cosines

ESTIMATED_FROM = 8192
"""Rows from which on estimates are worth their trouble: all cosines of fewer take 0.5 ms."""
_BLOCK = 16_384
_SHARED_FROM = 6
"""Blocks from which on threads share the work: one core reads 16 to 30 GB/s, and 200,000 chunks are 300 MB."""


_Sentences = tuple[NDArray[np.int64], Floats, NDArray[np.int64], NDArray[np.int64]]
"""Of one part: which of the rows asked for, cosines of all their sentences, where those of each begin, how many."""


class SegmentView:
    """Rows ascend by (collection, order of ingest), whatever the segments are: scores are bit-equal in any layout."""

    def __init__(self, snapshot: Snapshot, collections: frozenset[str], cores: Executor | None = None) -> None:
        """`cores`: threads that share one large matrix product."""
        self._snapshot = snapshot
        self._cores = cores
        self._layout = Layout([part for name in sorted(collections) for part in snapshot.parts.get(name, ())])
        self.epoch: int | None = snapshot.epoch(collections)
        self._norms: dict[tuple[float, float], list[Floats]] = {}

    @property
    def rows(self) -> int:
        return self._layout.rows

    @property
    def documents(self) -> int:
        return self._layout.documents

    @property
    def document_of(self) -> Rows:
        return self._layout.document_of

    @property
    def first_row(self) -> Rows:
        return self._layout.first_row

    @cached_property
    def languages(self) -> Mapping[str, int]:
        """How many chunks in which language."""
        counted: Counter[str] = Counter()
        for part in self._layout.parts:
            codes = part.segment.language_of if part.places is None else part.segment.language_of[part.places]
            counted.update(dict(zip(part.segment.languages, np.bincount(codes).tolist(), strict=False)))
        return {language: count for language, count in counted.items() if count}

    def cosines(self, vector: Floats) -> Floats | None:
        """Exact cosine of every chunk, -1 where it has no vector; None if none has one."""
        question = self._question(vector)
        if question is None or not self._has_vectors:
            return None
        scores = np.full(self.rows, -1.0, dtype=np.float32)
        products = []
        placed: list[tuple[Part, int, Floats]] = []
        for part, start in self._layout.with_first_rows():
            if part.vectors is None:
                continue
            out = scores[start : start + part.rows]
            if part.places is not None:
                out = np.empty(part.segment.rows, dtype=np.float32)
            products += _products(part.vectors.chunks, question, out)
            placed.append((part, start, out))
        self._run(products)
        for part, start, out in placed:
            if not part.embedded.all():
                out[~part.embedded] = -1.0
            if part.places is not None:
                scores[start : start + part.rows] = out[part.places]
        return scores

    def near(self, vector: Floats) -> Near | None:
        """Cosines on demand, and which are the greatest: as `cosines` would say."""
        if self.rows < ESTIMATED_FROM:
            scores = self.cosines(vector)
            return None if scores is None else Dense(scores)
        question = self._question(vector)
        return NearRows(self._layout, question) if question is not None and self._has_vectors else None

    @cached_property
    def _has_vectors(self) -> bool:
        return any(
            bool((part.embedded if part.live is None else part.embedded & part.live).any())
            for part in self._layout.parts
            if part.vectors is not None
        )

    def text_scores(self, terms: Sequence[str], column: Column, *, k1: float, b: float) -> TextScores:
        """BM25 of one bag of terms."""
        hashes = hash_all(terms)
        held = [(at, part, postings, *postings.slices(hashes)) for at, part, postings in self._columns(column)]
        frequency = np.zeros(len(hashes), dtype=np.int64)
        for _, part, postings, starts, ends in held:
            frequency += _frequency(part, postings, starts, ends)
        idf = np.log(1.0 + (self.rows - frequency + 0.5) / (frequency + 0.5))
        scores = np.zeros(self.rows, dtype=np.float32)
        norms = self._norms_for(k1, b)
        for at, part, postings, starts, ends in held:
            sizes = ends - starts
            if not sizes.any() or postings.counts is None:
                continue
            slices = [slice(*bounds) for bounds in zip(starts.tolist(), ends.tolist(), strict=True)]
            places = np.concatenate([postings.numbers[each] for each in slices])
            counts = np.concatenate([postings.counts[each] for each in slices]).astype(np.float32)
            weights = np.repeat((idf * (k1 + 1.0)).astype(np.float32), sizes)
            weights *= counts
            counts += norms[at][places]
            weights /= counts
            # bincount adds in the order of the terms and in double precision: a row's sum depends on that row alone.
            summed = np.bincount(places, weights, minlength=part.segment.rows)
            start = self._layout.row_starts[at]
            scores[start : start + part.rows] += summed if part.places is None else summed[part.places]
        return TextScores(scores=scores, idf=idf.astype(np.float32))

    def holds(self, terms: Sequence[str], column: Column, rows: Rows) -> NDArray[np.bool_]:
        """Which of these chunks hold which term."""
        hashes = hash_all(terms)
        found = np.zeros((len(terms), len(rows)), dtype=bool)
        parts, places = self._layout.places_of(np.asarray(rows))
        for at, _, postings in self._columns(column):
            here = np.flatnonzero(parts == at)
            if not len(here) or not len(postings.numbers):
                continue
            for term, (start, end) in enumerate(zip(*(each.tolist() for each in postings.slices(hashes)), strict=True)):
                if start < end:
                    numbers = postings.numbers[start:end]
                    near = np.minimum(np.searchsorted(numbers, places[here]), end - start - 1)
                    found[term, here] |= numbers[near] == places[here]
        return found

    def sentence_cosines(self, vector: Floats, rows: Rows) -> list[Floats]:
        """For each of these chunks the cosines of its sentences; empty where it has no vectors."""
        none = np.zeros(0, dtype=np.float32)
        scores = [none] * len(rows)
        for here, flat, begins, sizes in self._sentences(vector, rows):
            for index, begin, size in zip(here.tolist(), begins.tolist(), sizes.tolist(), strict=True):
                scores[index] = flat[begin : begin + size]
        return scores

    def best_sentences(self, vector: Floats, rows: Rows) -> Floats:
        """For each of these chunks the greatest of those; -1 where it has none."""
        best = np.full(len(rows), -1.0, dtype=np.float32)
        for here, flat, begins, sizes in self._sentences(vector, rows):
            some = sizes > 0
            if some.any():
                best[here[some]] = np.maximum.reduceat(flat, begins[some])
        return best

    def _sentences(self, vector: Floats, rows: Rows) -> Iterator[_Sentences]:
        question = self._question(vector)
        if question is None or not len(rows):
            return
        parts, places = self._layout.places_of(rows)
        for at in dict.fromkeys(parts.tolist()):
            part = self._layout.parts[at]
            if part.vectors is None:
                continue
            here = np.flatnonzero(parts == at)
            here = here[part.embedded[places[here]]]
            numbers, sizes = part.segment.sentences_of(places[here])
            block = Quantised(part.vectors.sentences[numbers], part.vectors.scales[numbers])
            yield here, sentence_cosines(block, question), np.cumsum(sizes) - sizes, sizes

    def titled(self, keys: Sequence[str]) -> list[tuple[str, Rows]]:
        """Which of these keys documents answer to."""
        found = links.titled(self._layout, hash_all(keys))
        return [(key, documents) for key, documents in zip(keys, found, strict=True) if len(documents)]

    def links_from(self, rows: Sequence[int], *, limit: int) -> list[Link]:
        """Sentences of these chunks that name other documents."""
        return links.links_from(self._layout, rows, limit)

    def links_to(self, documents: Sequence[int], *, limit: int) -> list[Link]:
        """Sentences of others that name these documents."""
        return links.links_to(self._layout, documents, limit)

    def shared_names(self, rows: Sequence[int], *, degree: tuple[int, int], limit: int) -> list[Link]:
        """Rare names of these chunks in sentences of other documents."""
        return links.shared_names(self._layout, rows, degree, limit)

    def infos(self, rows: Sequence[int]) -> list[ChunkInfo]:
        """What is shown of these chunks."""
        parts, places = self._layout.places_of(np.asarray(rows, dtype=np.int64))
        return [
            _info(self._layout.parts[part], place) for part, place in zip(parts.tolist(), places.tolist(), strict=True)
        ]

    def _question(self, vector: Floats) -> Floats | None:
        embedder = self._snapshot.embedder
        if embedder is None:
            return None
        if len(vector) != embedder[1]:
            raise EmbeddingMismatch(
                f"the stored vectors come from {embedder[0]} ({embedder[1]} dimensions), the question's has "
                f"{len(vector)}. Set EMBEDDING_MODEL back, or run `grapevine ingest --re-embed`."
            )
        return fixed_point(vector)

    def _run(self, products: Sequence[Callable[[], None]]) -> None:
        if self._cores is None or len(products) < _SHARED_FROM:
            for product in products:
                product()
        else:
            list(self._cores.map(lambda product: product(), products))

    def _columns(self, column: Column) -> Iterator[tuple[int, Part, Postings]]:
        for at, part in enumerate(self._layout.parts):
            yield at, part, part.segment.plain
            yield at, part, part.segment.marked if column == "marked" else part.segment.folded

    def _norms_for(self, k1: float, b: float) -> list[Floats]:
        """By part and place: k1 * (1 - b + b * length / mean length)."""
        known = self._norms.get((k1, b))
        if known is None:
            total = sum(
                int((part.segment.lengths if part.places is None else part.segment.lengths[part.places]).sum())
                for part in self._layout.parts
            )
            mean = max(total / max(self.rows, 1), 1e-9)
            known = [
                (k1 * (1.0 - b + b * part.segment.lengths / mean)).astype(np.float32) for part in self._layout.parts
            ]
            self._norms[k1, b] = known
        return known


def _products(matrix: Floats, question: Floats, out: Floats) -> list[Callable[[], None]]:
    """The cosines of a matrix, in blocks that threads can share."""
    return [
        partial(cosines, matrix[start : start + _BLOCK], question, out[start : start + _BLOCK])
        for start in range(0, len(matrix), _BLOCK)
    ]


def _frequency(part: Part, postings: Postings, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    if part.live is None:
        return ends - starts
    bounds = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([np.count_nonzero(part.live[postings.numbers[start:end]]) for start, end in bounds], dtype=np.int64)


def _info(part: Part, place: int) -> ChunkInfo:
    segment = part.segment
    document = segment.document_labels[segment.document_of[place]]
    passage_id, heading, page = segment.chunk_labels[place]
    return ChunkInfo(
        passage_id=passage_id,
        document=document.id,
        source=document.source,
        title=document.title,
        collection=segment.collection,
        text=segment.texts[segment.text_at[place] : segment.text_at[place + 1]].decode("utf-8"),
        heading=heading,
        page=page,
        url=document.url,
        language=segment.languages[segment.language_of[place]],
    )
