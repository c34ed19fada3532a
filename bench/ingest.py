"""How fast documents become searchable: `python -m bench.ingest [--mb 10] [--embed-chunks 300]`.

Processor seconds stand beside the wall clock: on a shared machine only they say what the work costs. `answers` asks
questions of the very process that ingests, the harder case: uploads, whose vectors share the model with questions.

Prints one JSON object. The text is generated (ordinary English Markdown: a heading every ~200 words, sentences of
8 to 24 words, words as frequent as in real text, names, numbers, links, a table now and then), so that anyone can
repeat it. Ratios are taken within one run: a shared machine changes every absolute figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from rag.embeddings.minilm import MiniLM
from rag.engine import Engine
from rag.generate.extractive import ExtractiveAnswerer
from rag.ingest.pipeline import IngestOptions, ingest
from rag.ingest.sandbox import ParserPool
from rag.ports import Embedder
from rag.resilience.deadline import Deadline
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from rag.types import Audience, Delta, Question

_SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "qui",
    "ro",
    "su",
    "ta",
    "ve",
    "wi",
    "xo",
    "yu",
    "cla",
    "dre",
    "fri",
    "glo",
    "pru",
    "sta",
    "tri",
    "blo",
    "cre",
    "sno",
]
_ENDINGS = ("", "s", "ed", "ing", "er", "tion", "ment", "ly", "able", "ness")
_COMMON = [
    "the",
    "of",
    "and",
    "to",
    "a",
    "in",
    "is",
    "it",
    "for",
    "that",
    "on",
    "with",
    "as",
    "be",
    "by",
    "this",
    "are",
    "or",
    "from",
    "at",
    "an",
    "not",
    "have",
    "you",
    "which",
    "can",
    "will",
    "if",
    "its",
    "one",
]


class _Writer:
    """Generated prose, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        stems = ["".join(self._random.choices(_SYLLABLES, k=self._random.randint(2, 3))) for _ in range(4_000)]
        self._words = _COMMON + [stem + self._random.choice(_ENDINGS) for stem in stems]
        self._weights = [1.0 / (rank + 2) for rank in range(len(self._words))]
        self._names = [stem.capitalize() for stem in stems[:300]]

    def page(self, size: int) -> str:
        """One Markdown file of about `size` bytes."""
        parts = [f"# {self._title()}\n"]
        length = 0
        while length < size:
            part = f"## {self._title()}\n\n{self._paragraph()}\n\n{self._paragraph()}\n"
            if self._random.random() < 0.1:
                part += "\n" + self._table()
            parts.append(part)
            length += len(part)
        return "\n".join(parts)

    def _title(self) -> str:
        return " ".join(self._random.choices(self._words[40:], k=3)).capitalize()

    def _paragraph(self) -> str:
        return " ".join(self._sentence() for _ in range(self._random.randint(4, 8)))

    def _sentence(self) -> str:
        words = self._random.choices(self._words, self._weights, k=self._random.randint(8, 24))
        at = self._random.randrange(1, len(words))
        kind = self._random.random()
        if kind < 0.3:
            words[at] = self._random.choice(self._names)
        elif kind < 0.4:
            words[at] = f"{self._random.randint(1, 9999):,}"
        elif kind < 0.45:
            words[at] = f"[{words[at]}](page-{self._random.randint(1, 400)}.md)"
        return " ".join(words).capitalize() + "."

    def _table(self) -> str:
        rows = [f"| {self._title()} | {self._random.randint(1, 900)} | {self._title()} |" for _ in range(6)]
        return "| Name | Number | Remark |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _written(folder: Path, total_bytes: int, *, page_bytes: int = 30_000) -> int:
    writer = _Writer(7)
    size = number = 0
    while size < total_bytes:
        text = writer.page(page_bytes)
        (folder / f"page-{number:04}.md").write_text(text, encoding="utf-8")
        size += len(text.encode())
        number += 1
    return size


async def _ingested(folder: Path, data: Path, embedder: Embedder | None) -> dict[str, float]:
    store = EmbeddedStore(data)
    await store.open()
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    async with ParserPool() as pool:
        report = await ingest([folder], store=store, embedder=embedder, options=IngestOptions(), pool=pool)
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    await store.close()
    mb = report.bytes / 1e6
    cpu = [b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(usage, after, strict=True)]
    return {
        "mb": round(mb, 2),
        "chunks": report.chunks,
        "text_mb_per_s": round(mb / report.text_s, 2),
        "text_s_per_mb": round(report.text_s / mb, 3),
        "store_cpu_s_per_mb": round(cpu[0] / mb, 3),
        "reading_cpu_s_per_mb": round(cpu[1] / mb, 3),
        "texts_embedded": report.vectors,
        "vectors_s": round(report.total_s - report.text_s, 2),
        "peak_rss_mib": round(after[0].ru_maxrss / 1024),
    }


async def _answers(folder: Path, data: Path, embedder: MiniLM) -> dict[str, float]:
    """Milliseconds until the first words of an extractive answer, before and during an ingest (p50)."""
    store = EmbeddedStore(data)
    await store.load()
    engine = Engine(Search(store, embedder), ExtractiveAnswerer())

    async def first_words_ms() -> float:
        question = Question(
            text="Which claims does the policy cover?",
            audience=Audience(collections=frozenset({"public"})),
            deadline=Deadline.after(60),
        )
        began = time.perf_counter()
        async with aclosing(engine.answer(question)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    break
        return (time.perf_counter() - began) * 1000

    async def while_(is_over: Callable[[], bool]) -> float:
        measured = [await first_words_ms()]
        while not is_over():
            measured.append(await first_words_ms())
            await asyncio.sleep(0.02)
        return round(statistics.median(measured), 1)

    left = iter(range(100))
    alone = await while_(lambda: next(left, None) is None)
    async with ParserPool() as pool:
        work = asyncio.create_task(
            ingest([folder], store=store, embedder=embedder, options=IngestOptions(collection="other"), pool=pool)
        )
        during = await while_(work.done)
        await work
    await store.close()
    return {"alone_ms": alone, "during_an_ingest_ms": during, "ratio": round(during / alone, 2)}


def _texts(folder: Path, count: int) -> Iterator[str]:
    """Texts as long as chunks and sentences are, in the proportion in which an ingest has them."""
    words = " ".join(path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())).split()
    at = 0
    for number in range(count):
        length = 120 if number % 8 == 0 else 16
        yield " ".join(words[at : at + length])
        at = (at + length) % max(1, len(words) - 200)


async def _bench(args: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        large, small = base / "large", base / "small"
        large.mkdir()
        small.mkdir()
        _written(large, int(args.mb * 1e6))
        result: dict[str, object] = {"without_embeddings": await _ingested(large, base / "large.db", None)}
        if args.embed_chunks:
            _written(small, args.embed_chunks * 1_000)
            embedder = await MiniLM.open()
            try:
                pipeline = await _ingested(small, base / "small.db", embedder)
                texts = list(_texts(small, int(pipeline["texts_embedded"])))
                began = time.perf_counter()
                await asyncio.to_thread(embedder.embed_now, texts)
                raw_s = time.perf_counter() - began
                result["answers"] = await _answers(small, base / "small.db", embedder)
            finally:
                await embedder.close()
            rate = pipeline["texts_embedded"] / pipeline["vectors_s"]
            result["with_embeddings"] = pipeline
            result["texts_per_s"] = {"in_an_ingest": round(rate, 1), "embedder_alone": round(len(texts) / raw_s, 1)}
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, default=10.0, help="megabytes of Markdown without embeddings")
    parser.add_argument("--embed-chunks", type=int, default=300, help="chunks to embed; 0: none")
    print(json.dumps(asyncio.run(_bench(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
