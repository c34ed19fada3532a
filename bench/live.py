"""Live messages over loopback: screen lag against foresight and against a peer, 500 answers at once, 2,000 streams.

    python -m bench.live [--peer FOLDER] [--repeats 3] [--only lag,first,crowd,streams] [--json FILE]

The platform is the strict emulator of the tests in a process of its own, with Telegram's published limits and 50 ms of
latency. `--peer` names a folder where `npm i @chat-adapter/telegram@4.41.1 chat@4.41.1` was run (`make bench-live`
makes one); without it the peer is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

from adapters.ports import Delivery, Final, Inbound, StopOutcome, StopRequest
from adapters.telegram.platform import TelegramPlatform
from tests.emulators.telegram import TOKEN
from tests.support.live_stories import TRACES, Trace, even
from tests.support.optimum import World, least_lag_s

LATENCY_S = 0.05
Json = dict[str, Any]


PEER_AT_MOST = {
    "600 tokens at 90/s": 0.75,
    "600 tokens at 50/s": 0.75,
    "40 tokens at 50/s": 0.6,
    "40 tokens at 20/s": 0.6,
    "42 tokens, 6 s pause": 0.2,
}


@dataclass(slots=True)
class Platform:
    """The emulator's process, seen from outside."""

    url: str
    http: aiohttp.ClientSession

    async def post(self, path: str, **body: Any) -> None:
        async with self.http.post(f"{self.url}/_control/{path}", json=body) as response:
            response.raise_for_status()

    async def get(self, path: str) -> Any:
        async with self.http.get(f"{self.url}/_control/{path}") as response:
            response.raise_for_status()
            return await response.json()

    async def people(self, chats: Sequence[int]) -> None:
        """Somebody has written in each chat, so that the bot may."""
        for chat in chats:
            await self.post("say", text="hello", user=chat, chat=chat)

    async def versions(self, chat: int) -> list[tuple[float, str]]:
        """Every state of the bot's messages in a chat."""
        messages = (await self.get(f"transcript?chat={chat}"))["messages"]
        return [(v["at"], v["text"]) for m in messages if m["from_bot"] for v in m["versions"]]


@asynccontextmanager
async def platform() -> AsyncIterator[Platform]:
    """A fresh emulator in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.emulators.telegram", "--latency", str(LATENCY_S), "--lenient"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().split()[0]
    try:
        async with aiohttp.ClientSession() as http:
            yield Platform(url, http)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Bot]:
    """The client that the product has."""
    session = AiohttpSession(api=TelegramAPIServer.from_base(url), limit=1000)
    try:
        yield Bot(TOKEN, session=session)
    finally:
        await session.close()


@asynccontextmanager
async def adapter(bot: Bot) -> AsyncIterator[TelegramPlatform]:
    """The product's adapter on that platform, with the limits it has by default."""
    ours = TelegramPlatform(bot, accept=_ignore, stop=_idle)
    try:
        yield ours
    finally:
        await ours.close()


async def _ignore(_inbound: Inbound) -> None:
    """Nobody asks here."""


async def _idle(_request: StopRequest) -> StopOutcome:
    return "idle"


@dataclass(slots=True)
class Shown:
    """One answer shown."""

    arrivals: list[tuple[float, int]] = field(default_factory=list)
    delivery: Delivery | None = None
    ended_at: float = 0.0


async def show(ours: TelegramPlatform, chat: int, trace: Trace) -> Shown:
    """Stream a trace into a chat as the process would."""
    inbound = Inbound(
        platform="telegram", conversation=str(chat), sender=str(chat), text="?", event_id=str(chat), received_at=0.0
    )
    live, shown, due = ours.open_message(inbound), Shown(), time.monotonic()
    for pause_s, token in trace:
        due += pause_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        live.append(token)
        shown.arrivals.append((time.monotonic(), len(token)))
    shown.ended_at = time.monotonic()
    shown.delivery = await live.finish(Final(text="".join(token for _, token in trace)))
    return shown


async def show_by_peer(
    folder: Path, url: str, chat: int, trace: Trace, *, placeholder: bool
) -> list[tuple[float, int]]:
    """The same by the peer's adapter; the arrivals."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(Path(__file__).with_name("peer_telegram.mjs")), str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    task = {
        "url": url,
        "token": TOKEN,
        "chat": chat,
        "pauses": [pause_s for pause_s, _ in trace],
        "tokens": [token for _, token in trace],
        "placeholder": placeholder,
    }
    out, _ = await process.communicate(json.dumps(task).encode())
    assert process.returncode == 0, "the peer failed"
    return [(at, len(token)) for at, (_, token) in zip(json.loads(out), trace, strict=True)]


def screen_lag_s(arrivals: list[tuple[float, int]], versions: list[tuple[float, str]], trace: Trace) -> float:
    """Mean over characters of (on the screen - arrived), from the platform's own record: the same for everybody."""
    waited, count, place = 0.0, 0, 0
    tokens = [token.strip() for _, token in trace]
    for at, text in sorted(versions):
        words = set(text.split())
        while place < len(tokens) and tokens[place] in words:
            waited += arrivals[place][1] * (at - arrivals[place][0])
            count += arrivals[place][1]
            place += 1
    assert place == len(tokens), "words are missing from the screen"
    return waited / count


async def lag(peer: Path | None, repeats: int) -> Json:
    """Screen lag of one message, per trace and system, the median of the runs and their range."""
    result: Json = {}
    for name, trace in TRACES.items():
        runs: dict[str, list[float]] = {}
        for _ in range(repeats):
            async with platform() as server, client(server.url) as bot, adapter(bot) as ours:
                await server.people([1, 2, 3])
                shown = await show(ours, 1, trace)
                versions = await server.versions(1)
                mine = screen_lag_s(shown.arrivals, versions, trace)
                step = 0.05 if len(trace) > 100 else 0.025
                world = World(round_trip_s=LATENCY_S, step_s=step)
                first = shown.arrivals[0][0]
                runs.setdefault("ours", []).append(mine)
                runs.setdefault("calls", []).append(len(versions))
                fixed = least_lag_s(shown.arrivals, len(versions), first_at=first, world=world)
                runs.setdefault("optimum", []).append(fixed)
                runs.setdefault("free optimum", []).append(least_lag_s(shown.arrivals, len(versions), world=world))
                if peer is not None:
                    for label, chat, placeholder in (("peer", 2, True), ("peer, no placeholder", 3, False)):
                        arrivals = await show_by_peer(peer, server.url, chat, trace, placeholder=placeholder)
                        theirs = [(at, t.replace("\\", "")) for at, t in await server.versions(chat) if "w" in t]
                        runs.setdefault(label, []).append(screen_lag_s(arrivals, theirs, trace))
        row: Json = {label: statistics.median(values) for label, values in runs.items()}
        row["range"] = [min(runs["ours"]), max(runs["ours"])]
        result[name] = row
        bound = PEER_AT_MOST.get(name)
        against = f"; {row['ours'] / row['peer']:.2f} x peer (at most {bound})" if peer is not None else ""
        of_best = [mine / best for mine, best in zip(runs["ours"], runs["optimum"], strict=True)]
        lag_ms, ratio = row["ours"] * 1000, statistics.median(of_best)
        print(f"{name:24} {lag_ms:5.0f} ms, {ratio:.2f} x optimum{against}", flush=True)
    return result


async def first(count: int = 60) -> Json:
    """From the model's first token to the platform's acknowledgement, each beside a bare post into the same chat.

    On a busy machine waiting for the processor is most of what differs; the processor's own time says what is ours.
    """
    async with platform() as server, client(server.url) as bot, adapter(bot) as ours:
        chats = list(range(1, count + 1))
        await server.people(chats)
        extra, trips, bare_cpu, our_cpu = [], [], [], []
        for chat in chats:
            began, cpu = time.monotonic(), time.process_time()
            await bot.send_message(chat, "w000")
            trips.append((time.monotonic() - began) * 1000)
            bare_cpu.append((time.process_time() - cpu) * 1000)
            cpu = time.process_time()
            shown = await show(ours, chat, even(1, 100))
            our_cpu.append((time.process_time() - cpu) * 1000)
            assert shown.delivery is not None
            assert shown.delivery.first_visible_at is not None
            extra.append((shown.delivery.first_visible_at - shown.arrivals[0][0]) * 1000)
    result = {
        "first_visible_p50_ms": statistics.median(extra),
        "first_visible_p95_ms": _p95(extra),
        "round_trip_p50_ms": statistics.median(trips),
        "round_trip_p95_ms": _p95(trips),
        "holds": _p95(extra) <= _p95(trips) + 10,
        "more_than_the_post_beside_it_p50_ms": statistics.median(
            mine - trip for mine, trip in zip(extra, trips, strict=True)
        ),
        "cpu_p50_ms": statistics.median(our_cpu),
        "cpu_of_a_bare_post_p50_ms": statistics.median(bare_cpu),
        "count": count,
    }
    print(json.dumps(result), flush=True)
    return result


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


async def crowd(count: int = 500) -> Json:
    """Many answers at once under the bot's limit."""
    async with platform() as server, client(server.url) as bot, adapter(bot) as ours:
        chats = list(range(1, count + 1))
        await server.people(chats)
        trace = even(100, 20)
        shown = await asyncio.gather(*(show(ours, chat, trace) for chat in chats))
        finished_at = time.monotonic()
        calls = await server.get("calls")
        last_words = [(await server.versions(chat))[-1][1].split()[-1] for chat in chats]
        whole = last_words.count(trace[-1][1].strip())
    visible = sorted(
        s.delivery.first_visible_at - s.arrivals[0][0] for s in shown if s.delivery and s.delivery.first_visible_at
    )
    result = {
        "finals": whole,
        "refused": sum(1 for call in calls if call["status"] == 429),
        "calls": len([call for call in calls if call["method"] != "getUpdates"]),
        "first_visible_p50_s": visible[len(visible) // 2],
        "first_visible_p95_s": visible[int(0.95 * len(visible))],
        "first_bound_p95_s": max(0.0, (0.95 * count - 30) / 30),
        "last_final_s": finished_at - min(s.arrivals[0][0] for s in shown),
        "last_final_bound_s": (2 * count - 30) / 30,
    }
    print(json.dumps(result))
    return result


async def streams(count: int = 2000, tokens: int = 400) -> Json:
    """Many live messages in one process, each at 20 tokens a second; they begin within 3 s and differ in length."""
    async with platform() as server, client(server.url) as bot, adapter(bot) as ours:
        await server.people(range(1, count + 1))
        late_ms: list[float] = []
        watching = asyncio.create_task(_watch(late_ms))
        began, began_cpu = time.monotonic(), time.process_time()
        groups = 200
        feeds = (
            _feed(ours, range(g + 1, count + 1, groups), tokens - 100 + g, 3.0 * g / groups) for g in range(groups)
        )
        lives = [pair for pairs in await asyncio.gather(*feeds) for pair in pairs]
        busy = (time.process_time() - began_cpu) / (time.monotonic() - began)
        streaming = sorted(late_ms)
        deliveries = await asyncio.gather(*(finishing for _, finishing in lives))
        watching.cancel()
        refused = sum(1 for call in await server.get("calls") if call["status"] == 429)
    late_ms.sort()
    result = {
        "delivered": sum(1 for d in deliveries if not d.is_gone),
        "refused": refused,
        "cpu_while_streaming": busy,
        "loop_lag_p50_while_streaming_ms": streaming[len(streaming) // 2],
        "loop_lag_p99_while_streaming_ms": streaming[int(0.99 * len(streaming))],
        "loop_lag_p99_ms": late_ms[int(0.99 * len(late_ms))],
        "loop_lag_max_ms": late_ms[-1],
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result))
    return result


async def _feed(
    ours: TelegramPlatform, chats: range, tokens: int, offset_s: float
) -> list[tuple[int, asyncio.Task[Delivery]]]:
    """Ten streams in step: this bench's own timers should not be what is measured."""
    due = time.monotonic() + offset_s
    await asyncio.sleep(offset_s)
    lives = [
        ours.open_message(
            Inbound(platform="telegram", conversation=str(c), sender=str(c), text="?", event_id=str(c), received_at=0)
        )
        for c in chats
    ]
    for n in range(tokens):
        due += 0.05
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        for live in lives:
            live.append(f"w{n:03} ")
    final = Final(text="".join(f"w{n:03} " for n in range(tokens)))
    return [(chat, asyncio.create_task(live.finish(final))) for chat, live in zip(chats, lives, strict=True)]


async def _watch(late_ms: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        late_ms.append((time.monotonic() - began - 0.005) * 1000)


async def _main(arguments: argparse.Namespace) -> None:
    wanted = arguments.only.split(",")
    result: Json = {}
    if "lag" in wanted:
        result["lag"] = await lag(arguments.peer, arguments.repeats)
    if "first" in wanted:
        result["first"] = await first()
    if "crowd" in wanted:
        result["crowd"] = await crowd()
    if "streams" in wanted:
        result["streams"] = await streams()
    if arguments.json:
        await asyncio.to_thread(arguments.json.write_text, json.dumps(result, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="lag,first,crowd,streams")
    parser.add_argument("--json", type=Path)
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
