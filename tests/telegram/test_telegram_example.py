from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiogram import Bot

from tests.emulators.telegram import TelegramEmulator

PAGE = Path(__file__).parents[2] / "docs" / "live-messages.md"


async def pieces() -> AsyncIterator[str]:
    for word in ["Anything", "that", "**streams**", "can", "be", "shown."]:
        yield f"{word} "


async def test_the_example_in_the_docs_streams_into_a_chat(bot: Bot, emu: TelegramEmulator) -> None:
    """The code in docs/live-messages.md runs as it stands, and is as short as it looks."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    delivery = await names["stream"](bot, 1001, pieces())
    (message,) = emu.from_bot(1001)
    assert message.text == "Anything that streams can be shown."
    assert delivery.first_visible_at is not None
    body = code[code.index("budget =") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20
