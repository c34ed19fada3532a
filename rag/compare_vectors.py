"""What smaller vectors would cost and save on somebody's own questions: recall and speed, side by side.

The vectors are those in the store, so nothing is embedded but the questions. Each variant is judged twice: by the
vector search alone, and by the whole retrieval over a store that holds the variant's vectors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag.errors import InputError
from rag.evaluate import AskedQuestion, evaluate
from rag.ports import Embedder, KnowledgeStore, Retriever, Vectors
from rag.transfer.ports import StoredVectors, TransferStore
from rag.types import Language
from rag.vector_variants import Floats, Variant, overlap, repeated, variants

CUT = 5
_NEAREST = 10
_DEPTH = 50
"""Chunks looked at for the first five documents."""
TIMED_ROWS = 50_000
"""Chunks that a search is timed over: the corpus, again and again."""
_TIMED_BYTES = 400 * 2**20
_TIMED_QUESTIONS = 10
_ROUNDS = 3
_PAGE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """One line of the table."""

    name: str
    dimensions: int
    bytes_per_vector: float
    agreement: float
    """Share of the ten nearest chunks of the exact search that this one finds too."""
    vector_recall: float
    """R@5 of the vector search alone."""
    recall: float | None
    """R@5 of the whole retrieval; None where it ranks by exact vectors anyway (bits)."""
    all_evidence: float | None
    search_ms: float
    """Median of one search over `timed_rows` chunks on one thread."""
    timed_rows: int


class Store(KnowledgeStore, TransferStore, Protocol):
    """A store of one's own for the comparison: its vectors are replaced again and again."""


class _Projected:
    """The embedder's vectors, projected; each text is embedded once for all variants."""

    def __init__(self, embedder: Embedder, variant: Variant, known: dict[str, Floats]) -> None:
        self.name = embedder.name
        self.dimensions = variant.dimensions
        self.languages: frozenset[Language] | None = embedder.languages
        self._embedder = embedder
        self._variant = variant
        self._known = known

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        missing = [text for text in texts if text not in self._known]
        if missing:
            self._known.update(zip(missing, await self._embedder.embed(missing, urgent=urgent), strict=True))
        return self._variant.project(np.stack([self._known[text] for text in texts]))

    async def close(self) -> None:
        """The embedder is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corpus:
    rows: Floats
    """Unit vectors of all chunks."""
    documents: tuple[str, ...]
    collections: tuple[str, ...]
    """Of each row."""


_Held = dict[tuple[str, ...], StoredVectors]
"""By the texts that were embedded."""


async def compare_vectors(
    store: Store,
    questions: Sequence[AskedQuestion],
    *,
    embedder: Embedder,
    search: Callable[[Embedder], Retriever],
    timed_rows: int = TIMED_ROWS,
) -> tuple[VariantResult, ...]:
    """Measure every variant; the store is left with the vectors of the last one.

    `search` makes the retriever over `store`. Raises `InputError` if there is nothing to measure.
    """
    answerable = [question for question in questions if question.relevant]
    collections = frozenset(await store.counts())
    corpus, original = await _held(store, collections)
    if not answerable or not len(corpus.rows):
        raise InputError("there is nothing to compare: no question that the documents answer, or no vectors.")
    known: dict[str, Floats] = {}
    texts = [question.text for question in answerable]
    # Urgent, as questions are when they are served: their vectors may be rounded otherwise than the documents'.
    pages = range(0, len(texts), _PAGE)
    asked = np.concatenate([await embedder.embed(texts[at : at + _PAGE], urgent=True) for at in pages])
    made = variants(corpus.rows)
    found = await asyncio.to_thread(_searched, corpus, answerable, asked, made)
    times, rows = await asyncio.to_thread(_timed, corpus.rows, asked, made, timed_rows)
    results = []
    for variant, (agreement, recall) in zip(made, found, strict=True):
        whole = None
        if variant.kind != "bits":
            await _replace(store, embedder.name, variant, original)
            retriever = search(_Projected(embedder, variant, known))
            whole = (await evaluate(answerable, retriever, documents=0)).recall
        results.append(
            VariantResult(
                name=variant.name,
                dimensions=variant.dimensions,
                bytes_per_vector=variant.bytes_per_vector,
                agreement=agreement,
                vector_recall=recall,
                recall=None if whole is None else whole.at[CUT],
                all_evidence=None if whole is None else whole.all_evidence,
                search_ms=times[variant.name],
                timed_rows=rows,
            )
        )
    return tuple(results)


async def _held(store: Store, collections: frozenset[str]) -> tuple[_Corpus, _Held]:
    """All vectors in the store."""
    rows: list[Floats] = []
    documents: list[str] = []
    names: list[str] = []
    held: _Held = {}
    after: int | None = 0
    while after is not None:
        page = await store.dump(collections, after=after)
        for dumped in page.documents:
            for chunk, vectors in zip(dumped.document.chunks, dumped.vectors, strict=True):
                if vectors is None:
                    continue
                texts = (chunk.embedding_text, *(chunk.text[each.start : each.end] for each in chunk.sentences))
                held[texts] = vectors
                rows.append(vectors.as_unit())
                documents.append(dumped.document.id)
                names.append(dumped.document.collection)
        after = page.after
    matrix = np.stack(rows) if rows else np.zeros((0, 1), np.float32)
    return _Corpus(rows=matrix, documents=tuple(documents), collections=tuple(names)), held


async def _replace(store: Store, model: str, variant: Variant, held: Mapping[tuple[str, ...], StoredVectors]) -> None:
    """Put the variant's vectors in the place of those in the store."""
    await store.reset_vectors(model, variant.dimensions)
    while waiting := await store.pending(_PAGE):
        matrices = []
        for chunk in waiting:
            vectors = held[chunk.texts]
            sentences = vectors.sentences.rows / vectors.sentences.scales[:, np.newaxis]
            matrices.append((chunk.key, variant.as_found(np.vstack([vectors.as_unit(), sentences]).astype(np.float32))))
        await store.attach(model, variant.dimensions, matrices)
    await store.refresh()


def _searched(
    corpus: _Corpus, questions: Sequence[AskedQuestion], asked: Floats, made: Sequence[Variant]
) -> list[tuple[float, float]]:
    """(agreement, R@5) of each variant's vector search alone."""
    names = np.array(corpus.collections)
    sets = {question.collections for question in questions}
    allowed: dict[frozenset[str], NDArray[np.bool_]] = {each: np.isin(names, sorted(each)) for each in sets}
    exact: list[list[int]] = []
    found = []
    for variant in made:
        index = variant.index(corpus.rows)
        nearest = [
            index.best(vector, _DEPTH, allowed[question.collections]).tolist()
            for question, vector in zip(questions, variant.project(asked), strict=True)
        ]
        exact = exact or nearest
        pairs = zip(exact, nearest, strict=True)
        agreement = sum(overlap(first[:_NEAREST], second[:_NEAREST]) for first, second in pairs) / len(questions)
        documents = [tuple(dict.fromkeys(corpus.documents[row] for row in rows))[:CUT] for rows in nearest]
        shares = [
            sum(bool(any_of & frozenset(first)) for any_of in question.relevant) / len(question.relevant)
            for question, first in zip(questions, documents, strict=True)
        ]
        found.append((agreement, sum(shares) / len(shares)))
    return found


def _timed(rows: Floats, asked: Floats, made: Sequence[Variant], wanted: int) -> tuple[dict[str, float], int]:
    """Milliseconds of one search by variant, in turns, so that a busy machine is busy for all of them alike."""
    count = max(1, min(wanted, _TIMED_BYTES // (4 * rows.shape[1])))
    many = repeated(rows, count)
    taken: dict[str, list[float]] = {variant.name: [] for variant in made}
    indexes = [(variant, variant.index(many), variant.project(asked[:_TIMED_QUESTIONS])) for variant in made]
    for _ in range(_ROUNDS):
        for variant, index, questions in indexes:
            for question in questions:
                started = time.perf_counter()
                index.best(question, _DEPTH)
                taken[variant.name].append((time.perf_counter() - started) * 1000)
    return {name: median(times) for name, times in taken.items()}, len(many)
