"""Telegram's deliveries: `python -m bench.telegram [--updates 2000] [--per-second 100]`.

A process with the real door, adapter, outbox and state file takes questions by webhook over HTTP, at the given pace
(one in ten is delivered twice) and then as fast as a hundred connections can. Prints one JSON object: milliseconds from
sending an update until it is acknowledged, which is when its answer is owed on the disk; how many were lost, how many
owed twice; and what rendering an answer of 4,000 characters takes. Answers are not written: what is measured is what
Telegram waits for. Everything shares this machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiogram import Bot
from aiogram.types import User
from aiohttp import web

from adapters.live.surface import Part
from adapters.ports import Inbound, StopOutcome, StopRequest
from adapters.telegram.platform import TelegramPlatform
from adapters.telegram.render import TelegramRenderer
from adapters.telegram.words import words
from bot.intake import lane_of
from bot.outbox import Outbox
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns
from bot.telemetry.latency import percentile
from bot.web.errors import errors
from bot.web.telegram import TelegramDoor
from tests.emulators.telegram import TOKEN

SECRET = "the-secret-of-this-benchmark"
PATH = "/telegram/webhook"
ANSWER = (
    "## Theft\n\nTheft of the **whole** motorbike is covered by product `TC-03`, which costs *0.9%* of the value a "
    "year [1]. Xe máy bị mất cắp được bồi thường 🏍️ theo giá trị thị trường.\n\n- report it within a day [2]\n"
    "- bring the papers, see [the guide](https://example.com/claims)\n\n"
    "| product | price |\n|---|---|\n| TC-03 | 0.9% |\n\n"
)


Answer = tuple[int, float]
"""Status and milliseconds."""


async def serve(folder: Path) -> None:
    """The process that is measured; prints its address and serves until it is ended."""
    state = await SqliteState.open(folder / "state.db")
    outbox = Outbox(SqliteTurns(state))

    async def accept(inbound: Inbound) -> None:
        await outbox.owe(inbound, lane_of(inbound.platform, inbound.conversation, inbound.event_id))

    async def stop(_: StopRequest) -> StopOutcome:
        return "idle"

    bot = Bot(TOKEN)
    # Known without asking a server, so that only deliveries are measured.
    bot._me = User(id=bot.id, is_bot=True, first_name="Grapevine", username="grapevine_bot")  # noqa: SLF001
    telegram = TelegramPlatform(bot, accept=accept, stop=stop, backlog_s=600)
    app = web.Application(middlewares=[errors])
    app.router.add_post(PATH, TelegramDoor(path=PATH, secret=SECRET, receive=telegram.receive).handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}", flush=True)
    await asyncio.Event().wait()


def question(update_id: int) -> dict[str, Any]:
    """A question of one of 200 people."""
    person = 1000 + update_id % 200
    return {
        "update_id": update_id,
        "message": {
            "message_id": update_id,
            "from": {"id": person, "is_bot": False, "first_name": "Lan", "language_code": "vi"},
            "chat": {"id": person, "type": "private", "first_name": "Lan"},
            "date": int(time.time()),
            "text": f"What does it cost to insure motorbike number {update_id} against theft?",
        },
    }


async def deliver(http: aiohttp.ClientSession, url: str, update_id: int) -> Answer:
    """One delivery."""
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    began = time.perf_counter()
    async with http.post(url, json=question(update_id), headers=headers) as response:
        await response.read()
        return response.status, (time.perf_counter() - began) * 1000


async def paced(
    http: aiohttp.ClientSession, url: str, ids: Sequence[int], per_second: float
) -> list[tuple[int, float]]:
    """Deliver on the beat, whether those before are acknowledged or not."""
    began = time.perf_counter()
    tasks = []
    for n, update_id in enumerate(ids):
        await asyncio.sleep(max(0.0, began + n / per_second - time.perf_counter()))
        tasks.append(asyncio.create_task(deliver(http, url, update_id)))
    return await asyncio.gather(*tasks)


async def flat_out(http: aiohttp.ClientSession, url: str, ids: Sequence[int]) -> list[Answer]:
    """Deliver with a hundred connections, the most that Telegram opens."""
    free = asyncio.Semaphore(100)

    async def one(update_id: int) -> Answer:
        async with free:
            return await deliver(http, url, update_id)

    return await asyncio.gather(*(one(update_id) for update_id in ids))


def rendering() -> dict[str, float]:
    """Milliseconds of processor time to render an answer of 4,000 characters."""
    renderer = TelegramRenderer(words("en"), "1001")
    text = (ANSWER * 20)[:4000]
    took = []
    for n in range(60):
        began = time.thread_time()
        renderer.render(Part(markdown=f"{n} {text}"))
        took.append((time.thread_time() - began) * 1000)
    return figures(took[10:])


def figures(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99."""
    ordered = sorted(values)
    return {f"p{round(share * 100)}": round(percentile(ordered, share), 2) for share in (0.5, 0.95, 0.99)}


def summary(answers: Sequence[Answer], seconds: float, cpu_s: float) -> dict[str, Any]:
    """What came of the deliveries."""
    statuses = Counter(status for status, _ in answers)
    return {
        "acknowledged_ms": figures([ms for status, ms in answers if status == 200]),
        "per_second": round(len(answers) / seconds, 1),
        "server_cpu_ms_each": round(cpu_s / len(answers) * 1000, 2),
        "statuses": {str(status): count for status, count in statuses.items()},
    }


async def measure(updates: int, per_second: float) -> dict[str, Any]:
    """Both stages against one process, then what is owed on its disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.telegram", "--serve", name, stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        try:
            url = (await server.stdout.readline()).decode().strip()
            stages: dict[str, Any] = {}
            sent: set[int] = set()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                await flat_out(http, url, range(1, 51))  # what is only slow the first time
                sent.update(range(1, 51))
                ids = [n for n in range(10_000, 10_000 + updates) for _ in range(2 if n % 10 == 0 else 1)]
                began, cpu_s = time.perf_counter(), used(server.pid)
                answers = await paced(http, url, ids, per_second)
                stages["paced"] = summary(answers, time.perf_counter() - began, used(server.pid) - cpu_s)
                sent.update(ids)
                ids = list(range(100_000, 100_000 + updates))
                began, cpu_s = time.perf_counter(), used(server.pid)
                answers = await flat_out(http, url, ids)
                stages["flat_out"] = summary(answers, time.perf_counter() - began, used(server.pid) - cpu_s)
                sent.update(ids)
        finally:
            server.kill()
            await server.wait()
        owed = [int(event.rpartition(":")[2]) for event in owed_events(folder)]
    return {
        **stages,
        "sent": len(sent),
        "lost": len(sent - set(owed)),
        "owed_twice": len(owed) - len(set(owed)),
        "render_4k_cpu_ms": rendering(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }


def used(pid: int) -> float:
    """Seconds of processor time that a process has taken; 0.0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def owed_events(folder: Path) -> list[str]:
    """What is owed on the disk after the process was killed."""
    with sqlite3.connect(folder / "state.db") as db:
        rows = db.execute("SELECT event_id FROM turns WHERE settled = 0").fetchall()
    db.close()
    return [str(row[0]) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--per-second", type=float, default=100.0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        uvloop.run(serve(arguments.serve))
        return
    result = uvloop.run(measure(arguments.updates, arguments.per_second))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
