"""Polling through a state file that cannot be written, bugs, and answers that are not Telegram's."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from aiogram import Bot
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramNetworkError
from aiohttp import web

from adapters.telegram.platform import TelegramPlatform
from adapters.telegram.polling import Poller
from adapters.telegram.session import TelegramSession
from adapters.telegram.webhook import Webhook, WebhookKeeper
from bot.settings import load
from bot.state.sqlite import SqliteState, StateError
from bot.wiring.application import open_application
from bot.wiring.platforms import is_temporary
from tests.emulators.telegram import TelegramEmulator
from tests.telegram_webhook.conftest import SECRET, Owing, cancelled

NOT_TEXT = "<p>Địa chỉ không tồn tại</p>".encode("utf-16")
ADDRESS = "http://127.0.0.1:9/ours"


async def test_a_question_outlives_any_time_that_the_state_file_is_locked(
    emu: TelegramEmulator,
    platform: TelegramPlatform,
    bot: Bot,
    owing: Owing,
    state: SqliteState,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It stays unconfirmed while it cannot be recorded, tried at most 30 s apart, and is accepted once it can."""
    caplog.set_level(logging.INFO)
    await state.run(lambda db: db.execute("PRAGMA busy_timeout=0"))
    waits: list[float] = []
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            assert emu.updates.confirmed == []
            if len(waits) == 25:
                other.execute("ROLLBACK")
            await asyncio.sleep(0)

        poller = Poller(bot, platform.feed, allowed_updates=["message"], is_temporary=is_temporary, sleep=sleep)
        emu.say("Is my bicycle covered?")
        running = asyncio.create_task(poller.run())
        await emu.wait_for(lambda e: e.updates.confirmed)
        await cancelled(running)
    assert [inbound.text for inbound in owing.accepted] == ["Is my bicycle covered?"]
    assert len(waits) == 25
    assert max(waits) == 30.0
    assert caplog.text.count("cannot be recorded now (StateError)") == 2  # the first and the tenth time
    assert caplog.text.count("can be recorded again") == 1


async def test_an_update_that_meets_a_bug_is_polled_for_eight_times(
    emu: TelegramEmulator, platform: TelegramPlatform, bot: Bot, owing: Owing, caplog: pytest.LogCaptureFixture
) -> None:
    """Then it is left out: one that can never succeed does not silence the bot."""
    owing.bug = ZeroDivisionError()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            owing.bug = None
        await asyncio.sleep(0)

    emu.say("the one that fails")
    emu.say("the next one")
    poller = Poller(bot, platform.feed, allowed_updates=["message"], is_temporary=is_temporary, sleep=sleep)
    running = asyncio.create_task(poller.run())
    await emu.wait_for(lambda e: len(e.updates.confirmed) == 2)
    await cancelled(running)
    assert [inbound.text for inbound in owing.accepted] == ["the next one"]
    assert "(ZeroDivisionError), attempt 8 of 8" in caplog.text


@pytest.fixture
async def proxied() -> AsyncIterator[Bot]:
    """A client between which and Telegram something answers with a page of its own."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(status=502, body=NOT_TEXT, content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api = TelegramAPIServer.from_base(f"http://127.0.0.1:{runner.addresses[0][1]}")
    session = TelegramSession(api=api, connect=lambda tracing: aiohttp.ClientSession(trace_configs=[tracing]))
    yield Bot("1:token-of-a-bot", session=session)
    await session.close()
    await runner.cleanup()


async def test_a_page_that_is_not_text_counts_as_no_answer(proxied: Bot) -> None:
    """A proxy's page in another encoding is one more way in which Telegram does not answer: it is waited out."""
    with pytest.raises(TelegramNetworkError, match="the answer is not text"):
        await proxied.get_me()


async def test_polling_goes_on_after_a_page_that_is_not_text(proxied: Bot, caplog: pytest.LogCaptureFixture) -> None:
    """It needs no restart."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise asyncio.CancelledError

    async def handle(_: object) -> None:
        raise AssertionError

    with pytest.raises(asyncio.CancelledError):
        await Poller(proxied, handle, allowed_updates=["message"], sleep=sleep).run()
    assert caplog.text.count("Telegram does not answer (TelegramNetworkError); trying again") == 1


@pytest.mark.parametrize("code", [400, 403])
async def test_a_refused_look_at_the_webhook_does_not_end_looking(
    emu: TelegramEmulator, bot: Bot, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Told once; what is wrong with the deliveries afterwards is told as ever."""
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            emu.fail("getWebhookInfo", code=code, description="Bad Request: strange", times=3)
        if looks == 4:
            emu.updates.webhook_url = "http://127.0.0.1:9/somebody-else"
        if looks == 6:
            raise asyncio.CancelledError

    webhook = Webhook(url=ADDRESS, secret=SECRET, allowed_updates=("message",))
    with pytest.raises(asyncio.CancelledError):
        await WebhookKeeper(bot, webhook, sleep=sleep).run()
    assert caplog.text.count("strange") == 1
    assert caplog.text.count("another program with this bot's token") == 1


async def test_the_served_bot_waits_for_its_state_file(emu: TelegramEmulator, tmp_path: Path) -> None:
    """What `serve` builds knows a state file that cannot be written from a bug."""
    names = {
        "GRAPEVINE_DATA": str(tmp_path),
        "TELEGRAM_BOT_TOKEN": emu.token,
        "TELEGRAM_API_URL": emu.url,
    }
    async with open_application(load(names, None)[0], write_turn=lambda _: None) as app:
        assert app.telegram is not None
        assert app.telegram._is_temporary(StateError("state.db cannot be written (database or disk is full)"))
        assert not app.telegram._is_temporary(ZeroDivisionError())
