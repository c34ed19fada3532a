"""Many people at once: `python -m bench.load [--people 500] [--questions 2] [--pace 0.05]`.

Each of them asks the sample knowledge base over HTTP, with streaming, through a real `grapevine serve` and a scripted
model server in a process of its own, one question after the other. One in three asks a question that has a FAQ. Prints
one JSON object: how many were answered, the time to the first words and to the last by kind, and what the log says.
Everything runs on this machine and only there; the client and the model's server share its cores with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bot.telemetry.latency import percentile, report
from tests.support.process import SAMPLE, grapevine, serving


def figures(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    ordered = sorted(values)
    return {f"p{round(share * 100)}": round(percentile(ordered, share), 1) for share in (0.5, 0.95, 0.99)}


async def ask(client: aiohttp.ClientSession, address: str, question: str) -> tuple[str, str, float, float]:
    """Outcome, cache, milliseconds to the first words and to the end."""
    began = time.perf_counter()
    first = 0.0
    body = {"question": question, "stream": True}
    async with client.post(f"{address}/api/v1/ask", json=body) as response:
        if response.status != 200:
            return f"http_{response.status}", "none", 0.0, 0.0
        event = ""
        async for raw in response.content:
            line = raw.decode()
            if line.startswith("event: "):
                event = line[7:].strip()
            elif line.startswith("data: "):
                if event == "delta" and not first:
                    first = (time.perf_counter() - began) * 1000
                if event in {"done", "error"}:
                    done = json.loads(line[6:])
                    total = (time.perf_counter() - began) * 1000
                    return done.get("outcome", "error"), done.get("cache", "none"), first, total
    return "cut_off", "none", first, 0.0


async def measure(people: int, questions: int, pace_s: float) -> dict[str, Any]:
    """Run the whole thing."""
    with tempfile.TemporaryDirectory(prefix="grapevine-load-") as scratch:
        data = Path(scratch) / "data"
        for collection in ("public", "staff"):
            done = await grapevine("ingest", "-q", str(SAMPLE / collection), "--collection", collection, data=data)
            assert done.code == 0, done.err
        assert (await grapevine("faq", "import", str(SAMPLE / "faqs.jsonl"), data=data)).code == 0
        lines = (SAMPLE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
        asked = [q["question"] for q in map(json.loads, lines) if q["relevant"]]
        common = [json.loads(line)["question"] for line in (SAMPLE / "faqs.jsonl").read_text("utf-8").splitlines()]
        model = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.emulators.model", "--port", "0", "--pace", str(pace_s)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert model.stdout is not None
        base_url = (await model.stdout.readline()).decode().strip()
        outcomes: Counter[str] = Counter()
        first: dict[str, list[float]] = {"faq": [], "model": []}
        total: dict[str, list[float]] = {"faq": [], "model": []}
        try:
            async with (
                serving(data, OPENAI_BASE_URL=base_url, LLM_MODEL="scripted") as server,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
            ):

                async def person(number: int) -> None:
                    for turn in range(questions):
                        place = number * questions + turn
                        question = common[place % len(common)] if place % 3 == 0 else asked[place % len(asked)]
                        outcome, cache, first_ms, total_ms = await ask(client, server.address, question)
                        outcomes[outcome] += 1
                        if outcome == "answered":
                            kind = "faq" if cache == "faq" else "model"
                            first[kind].append(first_ms)
                            total[kind].append(total_ms)

                began = time.perf_counter()
                await asyncio.gather(*(person(number) for number in range(people)))
                took_s = time.perf_counter() - began
                stages = report(server.log.read_bytes().splitlines())
        finally:
            model.terminate()
            await model.wait()
    wanted = people * questions
    good = sum(outcomes[name] for name in ("answered", "refused", "smalltalk"))
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "people": people,
        "questions": wanted,
        "success_share": round(good / wanted, 4),
        "outcomes": dict(outcomes),
        "seconds": round(took_s, 1),
        "first_words_ms": {kind: figures(values) for kind, values in first.items() if values},
        "last_words_ms": {kind: figures(values) for kind, values in total.items() if values},
        "server_stages_ms": {
            stage.stage: {"p50": round(stage.p50, 1), "p95": round(stage.p95, 1)} for stage in stages.stages
        },
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--questions", type=int, default=2, help="by each of them")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds per token of the model")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(given.people, given.questions, given.pace)), indent=2))


if __name__ == "__main__":
    main()
