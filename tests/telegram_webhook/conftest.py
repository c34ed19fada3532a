"""Deliveries of the emulated Telegram to the real door, over HTTP, into a real state file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web

from adapters.ports import Inbound, StopOutcome, StopRequest
from adapters.telegram.platform import TelegramPlatform
from adapters.telegram.session import TelegramSession
from bot.intake import lane_of
from bot.outbox import Outbox
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns
from bot.web.errors import errors
from bot.web.telegram import TelegramDoor
from tests.emulators.telegram import Limits, TelegramEmulator

SECRET = "the-secret-of-the-webhook"
PATH = "/telegram/webhook"


@dataclass(slots=True)
class Owing:
    """What accepts questions: they are owed in the state file, and answered by nobody."""

    outbox: Outbox
    accepted: list[Inbound] = field(default_factory=list)
    stops: list[StopRequest] = field(default_factory=list)
    bug: Exception | None = None

    async def accept(self, inbound: Inbound) -> None:
        if self.bug is not None:
            raise self.bug
        if await self.outbox.owe(inbound, lane_of(inbound.platform, inbound.conversation, inbound.event_id)):
            self.accepted.append(inbound)

    async def stop(self, request: StopRequest) -> StopOutcome:
        self.stops.append(request)
        return "stopped"


@dataclass(slots=True, kw_only=True)
class Door:
    """The webhook's address, and what Telegram would send there."""

    url: str
    http: aiohttp.ClientSession

    async def post(self, body: bytes | dict[str, Any], *, secret: str | None = SECRET) -> int:
        headers = {"Content-Type": "application/json"}
        if secret is not None:
            headers["X-Telegram-Bot-Api-Secret-Token"] = secret
        sent: dict[str, Any] = {"json": body} if isinstance(body, dict) else {"data": BytesIO(body)}
        async with self.http.post(self.url, headers=headers, **sent) as response:
            return response.status


@pytest.fixture
async def emu() -> AsyncIterator[TelegramEmulator]:
    """A Telegram server without limits."""
    async with TelegramEmulator(limits=Limits(private=None, group=None, bot=None)) as emulator:
        emulator.user()
        yield emulator


@pytest.fixture
async def bot(emu: TelegramEmulator) -> AsyncIterator[Bot]:
    api = TelegramAPIServer.from_base(emu.url)
    bot = Bot(emu.token, session=TelegramSession(api=api, connect=lambda t: aiohttp.ClientSession(trace_configs=[t])))
    yield bot
    await bot.session.close()


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqliteState]:
    state = await SqliteState.open(tmp_path / "state.db")
    yield state
    await state.close()


@pytest.fixture
def owing(state: SqliteState) -> Owing:
    return Owing(Outbox(SqliteTurns(state)))


@pytest.fixture
async def platform(bot: Bot, owing: Owing) -> AsyncIterator[TelegramPlatform]:
    platform = TelegramPlatform(bot, accept=owing.accept, stop=owing.stop, backlog_s=600.0)
    yield platform
    await platform.close()


@pytest.fixture
async def door(platform: TelegramPlatform) -> AsyncIterator[Door]:
    """The webhook, served."""
    app = web.Application(middlewares=[errors])
    app.router.add_post(PATH, TelegramDoor(path=PATH, secret=SECRET, receive=platform.receive).handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as http:
        yield Door(url=f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}", http=http)
    await runner.cleanup()


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
