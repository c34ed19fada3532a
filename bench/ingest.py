"""How fast documents become searchable: `python -m bench.ingest` (about three minutes on a quiet machine).

Prints one JSON object with every figure of an ingest. The text is generated (ordinary English Markdown: a heading every
~200 words, sentences of 8 to 24 words, words as frequent as in real text, names, numbers, links, a table now and then),
so that anyone can repeat it. Ratios are taken within one run and in turns: a shared machine changes every absolute
figure. Processor seconds stand beside the wall clock: on a shared machine only they say what the work costs.

- `without_embeddings`: megabytes a second, parsed, chunked and indexed; `mb_per_s_of_all_cores` is what the processor
  seconds allow if nobody else is there.
- `searchable`: one file of a megabyte, from the beginning of its ingest until a search in a serving process has it.
- `embeddings`: texts a second in an ingest against onnxruntime on the very same texts, cut into tokens beforehand. The
  threads of an ingest yield to everything else, so on a busy machine only `processor_ratio` says anything.
- `answers`: first words of an extractive answer, asked of the very process that ingests, the harder case: uploads,
  whose vectors share the model with questions.
- `memory`: the peak of a process that ingests folders of two sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from bench.embeddings import Raw
from rag.embeddings.minilm import MiniLM
from rag.embeddings.runtime import cores
from rag.engine import Engine
from rag.generate.extractive import ExtractiveAnswerer
from rag.ingest.pipeline import IngestOptions, ingest
from rag.ingest.sandbox import ParserPool
from rag.ingest.vectors import attach_pending
from rag.resilience.deadline import Deadline
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from rag.types import Audience, Delta, Question

PUBLIC = frozenset({"public"})
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


async def _ingested(folder: Path, data: Path) -> dict[str, float]:
    store = EmbeddedStore(data)
    await store.open()
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    async with ParserPool() as pool:
        report = await ingest([folder], store=store, embedder=None, options=IngestOptions(), pool=pool)
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    await store.close()
    mb = report.bytes / 1e6
    cpu = [b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(usage, after, strict=True)]
    return {
        "mb": round(mb, 2),
        "chunks": report.chunks,
        "mb_per_s": round(mb / report.text_s, 2),
        "mb_per_s_of_all_cores": round(mb * cores() / sum(cpu), 2),
        "store_cpu_s_per_mb": round(cpu[0] / mb, 3),
        "reading_cpu_s_per_mb": round(cpu[1] / mb, 3),
        "peak_rss_mib": _peak_mib(),
        "reading_peak_rss_mib": round(after[1].ru_maxrss / 1024),
    }


def _peak_mib() -> int:
    """Of this process. Linux's `ru_maxrss` would be that of the process it was forked from, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)


async def _searchable(folder: Path, data: Path) -> dict[str, float]:
    """Seconds from the beginning of a file's ingest until a view of a serving store shows it, per MB."""
    file, size = _largest(folder)
    store = EmbeddedStore(data)
    await store.load()
    async with ParserPool() as pool:
        await ingest([folder.parent / "warm"], store=store, embedder=None, options=IngestOptions(), pool=pool)
        before = store.view(PUBLIC).rows
        began = time.perf_counter()
        await ingest([file], store=store, embedder=None, options=IngestOptions(), pool=pool)
        assert store.view(PUBLIC).rows > before  # an ingest returns when its own process serves what it wrote
        seconds = time.perf_counter() - began
    await store.close()
    return {"mb": round(size / 1e6, 2), "s_per_mb": round(seconds / size * 1e6, 3)}


def _largest(folder: Path) -> tuple[Path, int]:
    return max(((path, path.stat().st_size) for path in folder.iterdir()), key=lambda pair: pair[1])


async def _embeddings(files: Sequence[Path], base: Path, embedder: MiniLM, rounds: int) -> dict[str, object]:
    """Texts a second in an ingest and bare, in turns; each round has a part of the files to itself."""
    raw = Raw()
    ratios, cpu_ratios, ours, best = [], [], [], []
    for number in range(rounds):
        store = EmbeddedStore(base / f"round-{number}.db")
        async with ParserPool() as pool:
            await ingest(files[number::rounds], store=store, embedder=None, options=IngestOptions(), pool=pool)
        texts = [text for chunk in await store.pending(100_000) for text in chunk.texts]
        tokens = [raw.tokenizer.encode(text) for text in texts]
        ways = partial(raw.core_each, tokens), partial(raw.all_cores, tokens, 8)
        bare = [await asyncio.to_thread(_seconds, way) for way in ways]
        began, spent = time.perf_counter(), time.process_time()
        await attach_pending(store, embedder)
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
        ours.append(len(texts) / seconds)
        best.append(len(texts) / min(wall for wall, _ in bare))
        ratios.append(ours[-1] / best[-1])
        cpu_ratios.append(min(own for _, own in bare) / cpu)
        await store.close()
    return {
        "texts_per_s": round(statistics.median(ours), 1),
        "raw_onnxruntime": round(statistics.median(best), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "processor_ratio": round(statistics.median(cpu_ratios), 3),
    }


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _seconds(way: Callable[[], object]) -> tuple[float, float]:
    """By the wall clock, and of all processors together."""
    began, spent = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - began, time.process_time() - spent


def _memory(folder: Path, sizes: Sequence[int]) -> list[dict[str, float]]:
    """Peaks of fresh processes, as a process never forgets its own."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())]
    figures = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            text, written = Path(name, "text"), 0
            text.mkdir()
            while written < size * 1e6:
                number = len(list(text.iterdir()))
                page = f"# Copy {number}\n\n{pages[number % len(pages)]}"
                (text / f"{number}.md").write_text(page, encoding="utf-8")
                written += len(page)
            command = [sys.executable, "-m", "bench.ingest", "--folder", str(text)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            figures.append({name: found[name] for name in ("mb", "peak_rss_mib", "reading_peak_rss_mib")})
    return figures


async def _answers(folder: Path, data: Path, embedder: MiniLM) -> dict[str, float]:
    """Milliseconds until the first words of an extractive answer, before and during an ingest (p50)."""
    store = EmbeddedStore(data)
    await store.load()
    engine = Engine(Search(store, embedder), ExtractiveAnswerer())

    async def first_words_ms() -> float:
        question = Question(
            text="Which claims does the policy cover?",
            audience=Audience(collections=PUBLIC),
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


async def _bench(args: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        large, small, single, warm = (base / part for part in ("large", "small", "single", "warm"))
        for folder in (large, small, single, warm):
            folder.mkdir()
        _written(large, int(args.mb * 1e6))
        _written(small, args.embed_kb * 1_000, page_bytes=args.embed_kb * 1_000 // 6)
        _written(single, 1_000_000, page_bytes=1_000_000)
        _written(warm, 100_000)
        result: dict[str, object] = {"load_before": [round(value, 1) for value in os.getloadavg()]}
        result["without_embeddings"] = await _ingested(large, base / "large.db")
        result["searchable"] = await _searchable(single, base / "single.db")
        if args.embed_kb:
            embedder = await MiniLM.open()
            try:
                result["embeddings"] = await _embeddings(_files(small), base, embedder, args.rounds)
                result["answers"] = await _answers(small, base / "round-0.db", embedder)
            finally:
                await embedder.close()
        if args.memory_mb:
            result["memory"] = _memory(large, [args.memory_mb // 8, args.memory_mb])
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=10.0, help="megabytes of Markdown without embeddings")
    parser.add_argument("--embed-kb", type=int, default=120, help="kilobytes to embed in all rounds; 0: none")
    parser.add_argument("--rounds", type=int, default=3, help="of the embeddings")
    parser.add_argument("--memory-mb", type=int, default=40, help="the larger folder whose memory is measured; 0: none")
    parser.add_argument("--folder", type=Path, help="ingest this folder without embeddings, and nothing else")
    args = parser.parse_args()
    if args.folder is None:
        print(json.dumps(asyncio.run(_bench(args)), indent=2))
        return
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(asyncio.run(_ingested(args.folder, Path(name) / "knowledge.db"))))


if __name__ == "__main__":
    main()
