from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

from tests.emulators.telegram import TelegramEmulator
from tests.support.telegram_chat import BotInChats, chatting


@pytest.fixture
async def emu() -> AsyncIterator[TelegramEmulator]:
    """A Telegram server with its published limits."""
    async with TelegramEmulator() as emulator:
        emulator.user()
        yield emulator


@pytest.fixture
async def bot(emu: TelegramEmulator) -> AsyncIterator[Bot]:
    """A real client of that server."""
    bot = Bot(emu.token, session=AiohttpSession(api=TelegramAPIServer.from_base(emu.url)))
    yield bot
    await bot.session.close()


@pytest.fixture
async def chats(emu: TelegramEmulator, bot: Bot) -> AsyncIterator[BotInChats]:
    """A bot that answers in chats of that server."""
    async with chatting(emu, bot) as chats:
        yield chats
