"""Live messages over loopback: lag against foresight and a peer, 500 answers at once, 2,000 streams, rendering.

    python -m bench.live [--peer FOLDER] [--repeats 3] [--only lag,first,crowd,streams,render] [--json FILE]

The platform is the strict emulator of the tests in a process of its own, with Telegram's published limits and 50 ms of
latency. `--peer` names a folder where `npm i @chat-adapter/telegram@4.41.1 chat@4.41.1` was run (`make bench-live`
makes one); without it the peer is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from adapters.live.markdown import heal
from adapters.live.surface import Part
from adapters.telegram.render import TelegramRenderer
from adapters.telegram.words import words
from bench.live_load import crowd, streams
from bench.live_rig import LATENCY_S, Json, adapter, client, platform, show
from tests.emulators.telegram import TOKEN
from tests.support.live_stories import TRACES, Trace, even
from tests.support.optimum import World, least_lag_s

_DENSE = (
    "**Bold** and *italic*, `code`, a [link](https://example.com/a) and 1.500.000 ₫.\n\n- an item\n- another [1]\n\n"
)
PEER_AT_MOST = {
    "600 tokens at 90/s": 0.75,
    "600 tokens at 50/s": 0.75,
    "40 tokens at 50/s": 0.6,
    "40 tokens at 20/s": 0.6,
    "42 tokens, 6 s pause": 0.2,
}


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
                peers = [] if peer is None else [("peer", 2, True), ("peer, no placeholder", 3, False)]
                # Side by side, in chats of their own: what else the machine does meets all alike.
                showing = asyncio.create_task(show(ours, 1, trace))
                theirs = await asyncio.gather(
                    *(show_by_peer(peer, server.url, chat, trace, placeholder=p) for _, chat, p in peers if peer)
                )
                shown = await showing
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
                for (label, chat, _), arrivals in zip(peers, theirs, strict=True):
                    texts = [(at, t.replace("\\", "")) for at, t in await server.versions(chat) if "w" in t]
                    runs.setdefault(label, []).append(screen_lag_s(arrivals, texts, trace))
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
            shown = await show(ours, chat, even(4, 100))
            our_cpu.append((time.process_time() - cpu) * 1000 / 2)  # a post and an edit
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
        "cpu_per_call_p50_ms": statistics.median(our_cpu),
        "cpu_of_a_bare_post_p50_ms": statistics.median(bare_cpu),
        "count": count,
    }
    print(json.dumps(result), flush=True)
    return result


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


def render() -> Json:
    """Healing and rendering 4,000 characters full of formatting, in milliseconds of the processor's time."""
    renderer = TelegramRenderer(words("en"), "1001")
    text = (_DENSE * 60)[:4000]
    took = []
    for n in range(220):
        began = time.thread_time()
        renderer.render(Part(markdown=heal(f"{n} {text}"[:4000]).markdown, is_growing=True))
        took.append((time.thread_time() - began) * 1000)
    result = {"heal_and_render_4k_p50_ms": statistics.median(took[20:]), "p95_ms": _p95(took[20:])}
    print(json.dumps(result), flush=True)
    return result


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
    if "render" in wanted:
        result["render"] = render()
    if arguments.json:
        await asyncio.to_thread(arguments.json.write_text, json.dumps(result, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="lag,first,crowd,streams,render")
    parser.add_argument("--json", type=Path)
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
