"""What the benches of live messages stand on: the strict emulator as a process, the product's client and adapter."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

from adapters.ports import Delivery, Final, Inbound, StopOutcome, StopRequest
from adapters.telegram.platform import TelegramPlatform
from tests.emulators.telegram import TOKEN
from tests.support.live_stories import Trace

LATENCY_S = 0.05
Json = dict[str, Any]


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
