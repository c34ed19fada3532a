"""How fast texts become vectors offline: `python bench/embeddings.py [--rounds 5] [--chunks 96]`.

Prints one JSON object. Raw onnxruntime gets the same texts, cut into tokens beforehand, in the same run and in turns
with ours: all cores on each batch (8 and 32 texts of similar length), and one thread per core on our own batches. The
ratio is taken against the best of the three, median of the rounds, because a shared machine changes every absolute
figure; processor time per text tells what others on the machine do not disturb (they do disturb `ours`, whose bulk
threads yield to them). Questions are timed one at a time with the machine idle and while bulk work is running.
Their integers (docs/decisions/0190) are measured beside full precision on one thread, in turns, by that thread's time:
right after each other, and each after 48 MB of other memory were read.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnxruntime  # type: ignore[import-untyped] # it ships no types

from rag.embeddings.batching import batches
from rag.embeddings.minilm import MiniLM
from rag.embeddings.runtime import IntegerSession, Session, available_providers, cores
from rag.embeddings.weights import find_weights, read_weights
from rag.embeddings.wordpiece import WordPiece

QUESTION = "How much does the motorbike insurance cost for a young driver who lives outside of the city?"
_SAMPLE = """
the of a to in is that for it with as was on be at by this have from or had an are but not what all were
when we there can your which their if will each about how up out them then she many some so these would
other into insurance policy premium claim motorbike accident cover theft damage customer contract payment
cancellation deductible liability underwriting reimbursement certificate endorsement
"""
WORDS = _SAMPLE.split()
Tokens = list[list[int]]


def sentences(source: random.Random, count: int, shortest: int, longest: int) -> list[str]:
    """`count` texts of between `shortest` and `longest` words."""
    return [" ".join(source.choices(WORDS, k=source.randint(shortest, longest))).capitalize() for _ in range(count)]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 2),
        "p95_ms": round(ordered[int(len(ordered) * 0.95)] * 1e3, 2),
    }


class Raw:
    """onnxruntime as somebody would use it without us, on tokens made beforehand."""

    def __init__(self) -> None:
        self.weights = read_weights(find_weights())
        self.tokenizer = WordPiece.from_tokenizer_json(self.weights.tokenizer_json)
        providers = available_providers()[-1:]
        self.together = Session(self.weights, threads=cores(), providers=providers)
        self.apart = Session(self.weights, threads=1, providers=providers)

    def all_cores(self, tokens: Tokens, size: int) -> None:
        """Batches of `size` texts of similar length, all cores on each."""
        ordered = sorted(tokens, key=len, reverse=True)
        for start in range(0, len(ordered), size):
            self.together.run(ordered[start : start + size])

    def core_each(self, tokens: Tokens) -> None:
        """Our batches, a thread per core."""
        with ThreadPoolExecutor(cores()) as threads:
            cut = batches([len(ids) for ids in tokens], 256)
            list(threads.map(lambda batch: self.apart.run([tokens[position] for position in batch]), cut))


def throughput(
    raw: Raw, model: MiniLM, texts: list[str], rounds: int, loop: asyncio.AbstractEventLoop
) -> dict[str, Any]:
    """Texts per second, ours and raw, in turns."""
    tokens = [raw.tokenizer.encode(text) for text in texts]
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: loop.run_until_complete(model.embed(texts)),
        "raw, all cores on 8 texts": lambda: raw.all_cores(tokens, 8),
        "raw, all cores on 32 texts": lambda: raw.all_cores(tokens, 32),
        "raw, a thread per core": lambda: raw.core_each(tokens),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started, spent = time.perf_counter(), time.process_time()
            way()
            rates[name].append(len(texts) / (time.perf_counter() - started))
            busy[name].append((time.process_time() - spent) / len(texts) * 1e3)
    best = [max(rates[name][number] for name in ways if name != "ours") for number in range(rounds)]
    cpu = {name: round(statistics.median(found), 2) for name, found in busy.items()}
    ratios = [ours / raw_rate for ours, raw_rate in zip(rates["ours"], best, strict=True)]
    return {
        "texts": len(texts),
        "tokens_per_text": round(sum(map(len, tokens)) / len(texts), 1),
        "texts_per_s": {name: round(statistics.median(found), 1) for name, found in rates.items()},
        "cpu_ms_per_text": cpu,
        "ratio_to_best_raw": round(statistics.median(ratios), 3),
        "cpu_ratio_to_best_raw": round(min(spent for name, spent in cpu.items() if name != "ours") / cpu["ours"], 3),
    }


async def ask(model: MiniLM, count: int) -> list[float]:
    """Seconds for each of `count` questions, a hundred a second at most."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        await model.embed([QUESTION], urgent=True)
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(0.01)
    return seconds


async def questions(raw: Raw, model: MiniLM, texts: list[str], rounds: int) -> dict[str, Any]:
    """Latency of a question alone and beside bulk work, in turns; `raw` is the session's part of it."""
    found: dict[str, list[float]] = {"alone": [], "raw, alone": [], "during bulk work": []}
    tokens = [raw.tokenizer.encode(QUESTION)]
    for _ in range(rounds):
        found["alone"] += await ask(model, 40)
        for _ in range(40):
            started = time.perf_counter()
            await asyncio.to_thread(raw.together.run, tokens)
            found["raw, alone"].append(time.perf_counter() - started)
            await asyncio.sleep(0.01)
        bulk = asyncio.create_task(model.embed(texts * 50))
        await asyncio.sleep(0.2)
        found["during bulk work"] += await ask(model, 40)
        bulk.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await bulk
    figures: dict[str, Any] = {name: quantiles(seconds) for name, seconds in found.items()}
    slower = [figures["during bulk work"][name] / figures["alone"][name] for name in ("p50_ms", "p95_ms")]
    return {"tokens": len(tokens[0]), **figures, "slower_during_bulk": [round(value, 2) for value in slower]}


def precisions(raw: Raw, rounds: int) -> dict[str, Any]:
    """Processor milliseconds of one question in full precision and in integers, and how near the vectors are."""
    sessions: dict[str, Session | IntegerSession] = {
        "full precision": raw.apart,
        "integers": IntegerSession(raw.weights),
    }
    asked = [raw.tokenizer.encode(text) for text in sentences(random.Random(2), 40, 8, 24)]
    other = np.ones(12_000_000, np.float32)
    spent: dict[str, list[float]] = {}
    for _ in range(rounds):
        for caches in ("warm", "cold"):
            for name, session in sessions.items():
                for ids in asked:
                    if caches == "cold":
                        other.sum()
                    started = time.thread_time()
                    session.run([ids])
                    spent.setdefault(f"{name}, {caches}", []).append(time.thread_time() - started)
    exact, near = (np.concatenate([session.run([ids]) for ids in asked]) for session in sessions.values())
    cosines = (exact * near).sum(axis=1)
    return {
        "tokens": round(sum(map(len, asked)) / len(asked), 1),
        "cpu_ms": {name: round(statistics.median(found) * 1e3, 2) for name, found in spent.items()},
        "cosine_mean": round(float(cosines.mean()), 4),
        "cosine_least": round(float(cosines.min()), 4),
    }


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if info.exists() and names else platform.processor(),
        "cores": cores(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of everything; medians are printed")
    parser.add_argument("--chunks", type=int, default=96, help="texts of 60 to 150 words in a round")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": machine()}
    source = random.Random(1)
    chunks, short = sentences(source, arguments.chunks, 60, 150), sentences(source, arguments.chunks * 5, 8, 24)
    started = time.perf_counter()
    model = MiniLM.load()
    result["open_s"] = round(time.perf_counter() - started, 2)
    result["device"], result["precision"] = model.device, model.precision
    raw = Raw()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(model.embed(chunks[:8]))
    result["questions"] = loop.run_until_complete(questions(raw, model, chunks, arguments.rounds))
    result["precisions"] = precisions(raw, arguments.rounds)
    result["chunks"] = throughput(raw, model, chunks, arguments.rounds, loop)
    result["sentences"] = throughput(raw, model, short, arguments.rounds, loop)
    result["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    loop.run_until_complete(model.close())
    loop.close()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
