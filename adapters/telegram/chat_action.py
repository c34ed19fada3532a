"""An answer that shows "typing" until its first words are there."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from aiogram import Bot
from aiogram.enums import ChatAction
from aiogram.exceptions import AiogramError

from adapters.live.errors import Throttled
from adapters.live.publisher import Publisher
from adapters.ports import Budget, Call, Delivery, Final, Priority
from adapters.telegram.live import meaning
from adapters.telegram.render import TelegramScreen

_EVERY_S = 4.5
"""A chat action is shown for five seconds (https://core.telegram.org/bots/api#sendchataction)."""


class Typing:
    """The chat action of one chat or topic: sent if a call is free at that moment, and never waited for."""

    def __init__(self, bot: Bot, *, chat_id: int, thread_id: int | None, budget: Budget) -> None:
        self._bot = bot
        self._chat_id = chat_id
        self._thread_id = thread_id
        self._budget = budget
        self._call = Call(ticket=secrets.token_hex(8), chat=str(chat_id), method="action", priority=Priority.ACTION)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._send()
            await asyncio.sleep(_EVERY_S)

    async def _send(self) -> None:
        if (await self._budget.take(self._call)).wait_s > 0:
            return
        try:
            await self._bot.send_chat_action(
                self._chat_id, ChatAction.TYPING, message_thread_id=self._thread_id, request_timeout=5
            )
        except (AiogramError, OSError) as error:
            if isinstance(refused := meaning(error), Throttled):
                await self._budget.throttled(self._call, refused.retry_after_s)


class TelegramLiveMessage(Publisher[TelegramScreen]):
    """A live message that shows "typing" while there are no words yet."""

    def __init__(self, *, typing: Typing, **options: Any) -> None:
        super().__init__(**options)
        self._typing = typing
        self._is_typing: asyncio.Task[None] | None = None

    def status(self, text: str) -> None:  # noqa: ARG002 - the action says enough
        """Work goes on."""
        if self._is_typing is None and self._task is None:
            self._is_typing = self._spawn(self._typing.run())

    def append(self, text: str) -> None:
        """More of the answer."""
        super().append(text)
        self._end_typing()

    async def finish(self, final: Final) -> Delivery:
        """See `Publisher.finish`."""
        self._end_typing()
        return await super().finish(final)

    async def close(self) -> None:
        """See `Publisher.close`."""
        self._end_typing()
        await super().close()

    def _end_typing(self) -> None:
        if self._is_typing is not None:
            self._is_typing.cancel()
