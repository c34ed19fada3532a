"""kill -9 at every stage of 200 turns, over real processes: `python -m bench.crash [--turns N] [--replicas 1|2]`.

What is done and what is counted: `tests/support/crash.py`. Exits with 1 if anything was lost, doubled or written anew.
Two replicas share a Redis of the benchmark's own, where `redis-server` is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from tests.support.crash import PER_ROUND, CrashSuite, Outcome
from tests.support.process import SAMPLE, grapevine
from tests.support.redis_server import redis_server


async def suffer(replicas: int, turns: int, ingested: Path) -> Outcome:
    """Play so many turns with so many replicas."""
    with tempfile.TemporaryDirectory(prefix="grapevine-crash-") as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            url = (await stack.enter_async_context(redis_server(folder))).url if replicas == 2 else None
            suite = await stack.enter_async_context(CrashSuite(folder, ingested=ingested, redis_url=url))
            return await suite.run(rounds=turns // PER_ROUND)


async def measure(replicas: list[int], turns: int) -> dict[str, dict[str, object]]:
    """The outcomes, by the number of replicas."""
    figures: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="grapevine-crash-") as name:
        ingested = Path(name) / "data"
        done = await grapevine("ingest", "-q", str(SAMPLE / "public"), "--collection", "public", data=ingested)
        if done.code:
            sys.exit(done.err)
        for count in replicas:
            began = time.perf_counter()
            outcome = await suffer(count, turns // len(replicas), ingested)
            recovery_s = sorted(outcome.recovery_s)
            figures[f"{count} replica{'s' * (count > 1)}"] = asdict(outcome) | {
                "recovery_s": {
                    "median": round(statistics.median(recovery_s), 1),
                    "worst": round(recovery_s[-1], 1),
                },
                "kills": len(recovery_s),
                "took_s": round(time.perf_counter() - began, 1),
            }
    return figures


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--turns", type=int, default=200, help="how many in all (default 200)")
    parser.add_argument(
        "--replicas", type=int, choices=(1, 2), help="only with so many; default: half of the turns each"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    replicas = [arguments.replicas] if arguments.replicas else [1, 2]
    if 2 in replicas and shutil.which("redis-server") is None:
        print("redis-server is not installed (`make services`): one process only", file=sys.stderr)
        replicas = [1]
    figures = asyncio.run(measure(replicas, arguments.turns))
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, values in figures.items():
            print(name + ": " + ", ".join(f"{key} {value}" for key, value in values.items()))
    if any(values[what] for values in figures.values() for what in ("lost", "doubled", "rewritten")):
        sys.exit(1)


if __name__ == "__main__":
    main()
