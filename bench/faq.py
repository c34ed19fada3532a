"""A FAQ's exact hit: question in to first event out, through the real engine, store file and FAQ book, in one process.

    python -m bench.faq [FAQS] [--json]

FAQs are generated: Vietnamese and English, three paraphrases each. Questions are FAQs in random order, every third one
typed differently (capitals, punctuation), every third one without diacritics; after them as many that match nothing.
Goal: p50 <= 0.2 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from rag.cache.faq import FaqBook, new_faq
from rag.engine import Engine
from rag.generate.extractive import ExtractiveAnswerer
from rag.language import fold
from rag.resilience.deadline import Deadline
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from rag.types import Audience, Delta, Question

ASKED = 20_000
_FORMS = (
    "Phí bảo hiểm mã số {n} là bao nhiêu một năm?",
    "Bảo hiểm {n} giá bao nhiêu?",
    "How much is product number {n} for one year?",
    "Price of product {n}?",
)
PUBLIC = Audience(collections=frozenset({"public"}))


async def measure(faqs: int) -> dict[str, object]:
    """Milliseconds of a hit, of looking up what is none, and of loading all FAQs."""
    rng = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "knowledge.db")
        for number in range(faqs):
            first, *others = (form.format(n=number) for form in _FORMS)
            answer = f"It costs {number},000 VND a year."
            await store.put_faq(
                new_faq(collection="public", question=first, paraphrases=others, answer=answer, kind="curated")
            )
        book = FaqBook(store)
        started = time.perf_counter()
        await book.open()
        load_ms = (time.perf_counter() - started) * 1000
        engine = Engine(Search(store, None), ExtractiveAnswerer(), instant=book)
        questions = [_typed(rng, rng.choice(_FORMS).format(n=rng.randrange(faqs)), at) for at in range(ASKED)]
        hits = [await _first_event(engine, text) for text in questions]
        started = time.perf_counter()
        for at in range(ASKED):
            assert await book.lookup(f"What about {at}?", collections=PUBLIC.collections, language="en") is None
        miss_ms = (time.perf_counter() - started) * 1000 / ASKED
        await book.close()
        await store.close()
    hits.sort()
    return {
        "faqs": faqs,
        "asked": ASKED,
        "hit_p50_ms": round(hits[len(hits) // 2], 4),
        "hit_p95_ms": round(hits[len(hits) * 95 // 100], 4),
        "hit_p99_ms": round(hits[len(hits) * 99 // 100], 4),
        "miss_mean_ms": round(miss_ms, 4),
        "load_ms": round(load_ms, 1),
        "machine": _machine(),
    }


async def _first_event(engine: Engine, text: str) -> float:
    started = time.perf_counter()
    question = Question(text=text, audience=PUBLIC, deadline=Deadline.after(60))
    async with aclosing(engine.answer(question)) as events:
        first = await anext(events)
        took_ms = (time.perf_counter() - started) * 1000
        assert isinstance(first, Delta), "no hit"
        assert "000 VND" in first.text
    return took_ms


def _typed(rng: random.Random, text: str, at: int) -> str:
    if at % 3 == 1:
        return text.upper().replace("?", rng.choice(("", " ?", "?!", " 🙂")))
    return fold(text) if at % 3 == 2 else text


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    return f"{model or platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faqs", nargs="?", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.faqs))
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write("".join(f"{name:14} {value}\n" for name, value in figures.items()))


if __name__ == "__main__":
    main()
