"""An admin's chat on an emulated server without limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.emulators.telegram import Limits, TelegramEmulator
from tests.support.telegram_admin import Office, office


@pytest.fixture
async def emu() -> AsyncIterator[TelegramEmulator]:
    """A Telegram server."""
    async with TelegramEmulator(limits=Limits(private=None, group=None, bot=None)) as emulator:
        yield emulator


@pytest.fixture
async def chat(tmp_path: Path, emu: TelegramEmulator) -> AsyncIterator[Office]:
    """The admin's chat."""
    async with office(tmp_path, emu) as made:
        yield made
