"""Many live messages at once: 500 answers under the bot's limit, 2,000 streams in one process."""

from __future__ import annotations

import asyncio
import json
import resource
import time

from adapters.ports import Delivery, Final, Inbound
from adapters.telegram.platform import TelegramPlatform
from bench.live_rig import Json, adapter, client, platform, show
from tests.support.live_stories import even


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
