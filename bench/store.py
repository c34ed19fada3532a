"""The embedded store under load: search, text index against FTS5, loading, writing, memory.

    python -m bench.store [CHUNKS ...] [--without-fts5] [--json]

Text is generated: Zipf-distributed words, chunks of 112 words in eight sentences, vectors in clusters.
Questions are 8 to 12 words as they come, common ones included.
Ratios are between figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.records import Chunk, Document, Sentence
from rag.retrieval.candidates import top
from rag.retrieval.view import Rows
from rag.stores.embedded import EmbeddedStore
from rag.stores.view import SegmentView

WORDS, SENTENCES, PER_SENTENCE, PER_DOCUMENT, DIMENSIONS = 60_000, 8, 14, 5, 384
PUBLIC = frozenset({"public"})
MODEL = "bench"


class Corpus:
    """Generated documents, the same in every run."""

    def __init__(self, seed: int = 7) -> None:
        self._rng = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        lengths = self._rng.integers(3, 11, WORDS)
        self.words = ["".join(self._rng.choice(letters, length)) + str(at % 7) for at, length in enumerate(lengths)]
        weights = 1.0 / (np.arange(WORDS) + 2.7) ** 1.05
        self._cumulated = np.cumsum(weights / weights.sum())
        self._centres = self._rng.normal(size=(200, DIMENSIONS)).astype(np.float32)

    def pick(self, count: int) -> list[str]:
        ids = np.searchsorted(self._cumulated, self._rng.random(count)).clip(max=WORDS - 1)
        return [self.words[at] for at in ids.tolist()]

    def documents(self, chunks: int) -> Iterator[Document]:
        for number in range(chunks // PER_DOCUMENT):
            yield self._document(number)

    def vectors(self, count: int) -> NDArray[np.float32]:
        rows = self._centres[self._rng.integers(0, 200, count)]
        rows = rows + self._rng.standard_normal(size=(count, DIMENSIONS), dtype=np.float32) * 0.8
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def _document(self, number: int) -> Document:
        chunks = tuple(self._chunk(number, ordinal) for ordinal in range(PER_DOCUMENT))
        return Document(
            collection="public",
            source="bench",
            id=f"d{number}",
            file=f"d{number}.md",
            title=f"Title {self.words[number % WORDS]}",
            url=None,
            valid_from=None,
            valid_until=None,
            language="en",
            content_hash=str(number),
            size=sum(len(chunk.text) for chunk in chunks),
            names=(f"title {self.words[number % WORDS]}", f"@d{number}"),
            title_terms=("title",),
            chunks=chunks,
        )

    def _chunk(self, number: int, ordinal: int) -> Chunk:
        words = self.pick(SENTENCES * PER_SENTENCE)
        text, sentences = "", []
        for at in range(SENTENCES):
            sentence = " ".join(words[at * PER_SENTENCE : (at + 1) * PER_SENTENCE]) + ". "
            names = (words[at * PER_SENTENCE], f"{words[at * PER_SENTENCE]} {words[at * PER_SENTENCE + 1]}")
            sentences.append(Sentence(len(text), len(text) + len(sentence), names))
            text += sentence
        terms = tuple(Counter(words).items())
        return Chunk(
            ordinal=ordinal,
            text=text,
            heading="",
            page=None,
            language="en",
            marked=terms,
            folded=terms,
            length=len(words),
            sentences=tuple(sentences),
            embedding_text=text,
            digest=f"{number}-{ordinal}",
        )


def percentiles(action: Callable[[int], object], count: int = 200) -> dict[str, float]:
    """Milliseconds of `count` calls; `cpu` is the median of this thread's own time, for a machine that is not quiet."""
    for at in range(10):
        action(at)
    times, own = [], []
    for at in range(count):
        start, started = time.perf_counter(), time.thread_time()
        action(at)
        times.append((time.perf_counter() - start) * 1e3)
        own.append((time.thread_time() - started) * 1e3)
    p50, p95, cpu = np.percentile(times, 50), np.percentile(times, 95), np.median(own)
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "cpu": round(float(cpu), 3)}


async def write(store: EmbeddedStore, corpus: Corpus, chunks: int) -> dict[str, float]:
    """Text first, then vectors; the generation of both is not counted."""
    text_s = vectors_s = 0.0
    size = 0
    batch: list[Document] = []
    for document in corpus.documents(chunks):
        batch.append(document)
        size += document.size
        if len(batch) == 100:
            start = time.perf_counter()
            await store.put(batch)
            text_s += time.perf_counter() - start
            batch = []
    start = time.perf_counter()
    await store.put(batch)
    text_s += time.perf_counter() - start
    while waiting := await store.pending(512):
        vectors = [(each.key, corpus.vectors(len(each.texts))) for each in waiting]
        start = time.perf_counter()
        await store.attach(MODEL, DIMENSIONS, vectors)
        vectors_s += time.perf_counter() - start
    return {
        "text_mb": round(size / 1e6, 1),
        "text_mb_per_s": round(size / 1e6 / text_s, 1),
        "vectors_per_s": round(chunks * (1 + SENTENCES) / vectors_s),
    }


def fts5(path: Path, texts: Iterator[tuple[int, str]], questions: Sequence[Sequence[str]]) -> dict[str, float]:
    """The same texts and questions in an FTS5 table: OR of all words, ten best by its bm25."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE VIRTUAL TABLE f USING fts5(text, content='', tokenize='unicode61')")
    connection.executemany("INSERT INTO f (rowid, text) VALUES (?, ?)", texts)
    connection.execute("INSERT INTO f (f) VALUES ('optimize')")
    connection.commit()

    def ask(at: int) -> object:
        query = " OR ".join(f'"{word}"' for word in questions[at % len(questions)])
        return connection.execute("SELECT rowid FROM f WHERE f MATCH ? ORDER BY rank LIMIT 10", (query,)).fetchall()

    figures = percentiles(ask, 40)
    connection.close()
    return figures


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return round(int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024, 0)


async def measure(chunks: int, folder: Path, *, with_fts5: bool) -> dict[str, object]:
    """All figures for one size."""
    corpus = Corpus()
    path = folder / f"{chunks}.db"
    store = EmbeddedStore(path)
    figures: dict[str, object] = {"chunks": chunks, "write": await write(store, corpus, chunks)}
    await store.close()
    store = EmbeddedStore(path)
    before = resident_mb()
    start, started = time.perf_counter(), time.process_time()
    await store.load()
    figures["load_s"] = {
        "wall": round(time.perf_counter() - start, 2),
        "cpu": round(time.process_time() - started, 2),
    }
    figures["memory_mb"] = {"arrays": round(store.memory_bytes / 1e6), "resident_growth": resident_mb() - before}
    figures["file_mb"] = round(path.stat().st_size / 1e6)
    view = store.view(PUBLIC)
    rng = np.random.default_rng(3)
    questions = [corpus.pick(int(rng.integers(8, 13))) for _ in range(200)]
    vectors = corpus.vectors(200)
    rows = [np.sort(rng.choice(view.rows, 100, replace=False)).astype(np.int32) for _ in range(200)]
    documents = [rng.choice(view.documents, 6, replace=False).tolist() for _ in range(200)]
    figures["text_ms"] = percentiles(lambda at: view.text_scores(questions[at % 200], "folded", k1=1.2, b=0.75))
    figures["vector_ms"] = percentiles(lambda at: view.cosines(vectors[at % 200]))
    figures |= nearest(view, vectors)
    figures["sentences_of_100_ms"] = percentiles(lambda at: view.sentence_cosines(vectors[at % 200], rows[at % 200]))
    figures["holds_of_100_ms"] = percentiles(lambda at: view.holds(questions[at % 200], "folded", rows[at % 200]))
    figures["links_from_ms"] = percentiles(lambda at: view.links_from(rows[at % 200][:12].tolist(), limit=12))
    figures["links_to_ms"] = percentiles(lambda at: view.links_to(documents[at % 200], limit=32))
    figures["shared_names_ms"] = percentiles(
        lambda at: view.shared_names(rows[at % 200][:12].tolist(), degree=(2, 4), limit=4)
    )
    figures["infos_of_10_ms"] = percentiles(lambda at: view.infos(rows[at % 200][:10].tolist()))
    figures["refresh_after_one_document_ms"] = await one_change(store, corpus)
    if with_fts5:
        figures["fts5_or_ms"] = fts5(
            folder / f"fts{chunks}.db",
            ((row, info.text) for row, info in enumerate(view.infos(range(view.rows)))),
            questions,
        )
        figures["fts5_over_text"] = round(figures["fts5_or_ms"]["p50"] / figures["text_ms"]["p50"], 1)  # type: ignore[index] # a dict from above
    await store.close()
    return figures


def nearest(view: SegmentView, vectors: NDArray[np.float32]) -> dict[str, object]:
    """The 100 nearest by estimates and by all cosines, in turns, and whether they are the same with equal cosines."""
    same = 0

    def by_all(at: int) -> Rows:
        scores = view.cosines(vectors[at % 200])
        assert scores is not None
        return top(scores, 100, -1.0)

    def by_estimates(at: int) -> Rows:
        near = view.near(vectors[at % 200])
        assert near is not None
        return near.best(100)

    for at in range(200):
        near, scores = view.near(vectors[at]), view.cosines(vectors[at])
        assert near is not None
        assert scores is not None
        best = near.best(100)
        same += np.array_equal(best, top(scores, 100, -1.0)) and np.array_equal(near[best], scores[best])
    exact, estimated = percentiles(by_all), percentiles(by_estimates)
    return {
        "nearest_100_by_all_ms": exact,
        "nearest_100_ms": estimated,
        "nearest_ratio": round(estimated["p50"] / exact["p50"], 2),  # the wall clock: other threads share the first
        "nearest_the_same": f"{same} of 200",
    }


async def one_change(store: EmbeddedStore, corpus: Corpus) -> float:
    """Milliseconds from a committed change to a view that shows it."""
    times = []
    for document in list(corpus.documents(10 * PER_DOCUMENT)):
        await store.put([document])
        start = time.perf_counter()
        await store.refresh()
        store.view(PUBLIC)
        times.append((time.perf_counter() - start) * 1e3)
    return round(float(np.median(times)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("chunks", nargs="*", type=int, default=[10_000, 50_000, 200_000])
    parser.add_argument("--without-fts5", action="store_true", help="leave out the comparison with SQLite's full text")
    parser.add_argument("--json", action="store_true", help="one JSON object per size")
    arguments = parser.parse_args()
    for chunks in arguments.chunks:
        with tempfile.TemporaryDirectory() as folder:
            figures = asyncio.run(measure(chunks, Path(folder), with_fts5=not arguments.without_fts5))
        if arguments.json:
            print(json.dumps({"ts": datetime.now(tz=UTC).isoformat(), **figures}))
        else:
            print("\n".join(f"{name:32} {value}" for name, value in figures.items()), end="\n\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
