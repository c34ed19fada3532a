"""Fixed texts and changes of buttons, all within the same budget as the answers."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiogram import Bot
from aiogram.exceptions import AiogramError

from adapters.live.errors import Throttled, Unavailable
from adapters.live.pacer import backoff_s
from adapters.live.publisher import Publisher, Spawn
from adapters.live.surface import Part
from adapters.ports import Budget, Call, Final, Priority
from adapters.telegram.inbound import place_of
from adapters.telegram.keyboards import Rows
from adapters.telegram.live import TelegramTransport, markup, meaning
from adapters.telegram.render import TelegramScreen

log = logging.getLogger(__name__)

_WORTH_S = 60.0
"""A reply to a command that comes later than that is of no use."""


@dataclass(frozen=True, slots=True)
class _As:
    """Renders one screen, whatever is to be shown: our own texts are no Markdown, and their commands are live."""

    screen: TelegramScreen

    def render(self, part: Part) -> TelegramScreen:  # noqa: ARG002 - the protocol's
        return self.screen

    def plain(self, part: Part) -> TelegramScreen:  # noqa: ARG002
        return TelegramScreen(self.screen.text, (), self.screen.rows)


class Speech:
    """Says things some time soon; nobody waits for it, and nothing it meets is raised.

    Args:
        bot: The client.
        budget: What calls may be spent.
        spawn: Starts background work.
        now: Monotonic seconds.
    """

    def __init__(self, bot: Bot, *, budget: Budget, spawn: Spawn, now: Callable[[], float] = time.monotonic) -> None:
        self._bot = bot
        self._budget = budget
        self._spawn = spawn
        self._now = now

    def say(self, conversation: str, text: str, rows: Rows = (), *, reply_to: int | None = None) -> None:
        """Post one of our own sentences; its commands can be tapped."""
        self.show(conversation, TelegramScreen(text, (), rows), reply_to=reply_to)

    def show(self, conversation: str, screen: TelegramScreen, *, reply_to: int | None = None) -> None:
        """Post a message."""
        self._spawn(self._publish(conversation, screen, None, reply_to))

    def replace(self, conversation: str, message_id: int, screen: TelegramScreen) -> None:
        """Let a message of ours show something else."""
        self._spawn(self._publish(conversation, screen, str(message_id), None))

    def set_buttons(self, conversation: str, message_id: int, rows: Rows) -> None:
        """Give a message of ours other buttons."""
        self._spawn(self._set_buttons(place_of(conversation)[0], message_id, rows))

    async def _publish(
        self, conversation: str, screen: TelegramScreen, message_id: str | None, reply_to: int | None
    ) -> None:
        chat_id, thread_id = place_of(conversation)
        live = Publisher(
            chat=str(chat_id),
            renderer=_As(screen),
            transport=TelegramTransport(bot=self._bot, chat_id=chat_id, thread_id=thread_id, reply_to=reply_to),
            budget=self._budget,
            now=self._now,
            give_up_s=_WORTH_S,
            reopen=message_id,
            spawn=self._spawn,
        )
        await live.finish(Final(text=screen.text))

    async def _set_buttons(self, chat_id: int, message_id: int, rows: Rows) -> None:
        call = Call(ticket=secrets.token_hex(8), chat=str(chat_id), method="edit", priority=Priority.REPLY)
        until, failures = self._now() + _WORTH_S, 0
        while self._now() < until:
            if (wait_s := (await self._budget.take(call)).wait_s) > 0:
                await asyncio.sleep(wait_s)
                continue
            try:
                await self._bot.edit_message_reply_markup(
                    chat_id=chat_id, message_id=message_id, reply_markup=markup(rows)
                )
            except (AiogramError, OSError) as error:
                match meaning(error):
                    case Throttled(retry_after_s=seconds):
                        await self._budget.throttled(call, seconds)
                    case Unavailable():
                        failures += 1
                        await asyncio.sleep(backoff_s(failures))
                    case other:  # not modified, gone, or not ours to change any more
                        log.debug("buttons were not changed: %s", other)
                        return
            else:
                return
