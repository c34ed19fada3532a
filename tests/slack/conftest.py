from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from adapters.live.budget import Limit, LocalBudget, per_chat
from adapters.slack.platform import SlackPlatform
from tests.emulators.slack import APP_TOKEN, BOT_TOKEN, SlackEmulator
from tests.support.slack import Process


@pytest.fixture
async def slack() -> AsyncIterator[SlackEmulator]:
    """A workspace without limits, unless a test sets them."""
    async with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
def process(slack: SlackEmulator) -> Process:
    return Process(slack=slack)


@pytest.fixture
async def platform(
    slack: SlackEmulator, process: Process, request: pytest.FixtureRequest
) -> AsyncIterator[SlackPlatform]:
    """The adapter, connected. Quick, unless a test asks for the real pace."""
    client = AsyncWebClient(BOT_TOKEN, base_url=f"{slack.url}/api/", retry_handlers=[])
    app = AsyncApp(client=client)
    quick = None if "real_pace" in request.fixturenames else LocalBudget(per_chat(Limit(20, 1)))
    platform = SlackPlatform(
        app,
        socket=AsyncSocketModeHandler(app, APP_TOKEN),
        accept=process.accept,
        stop=process.stop,
        budget=quick,
    )
    running = asyncio.create_task(platform.run())
    yield platform
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await platform.close()


@pytest.fixture
def real_pace() -> None:
    """Ask for the pace that the product has."""
