"""What people can say and press: questions, /start, /help, /stop, and the stop button."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from aiogram import F, Router
from aiogram.exceptions import AiogramError
from aiogram.filters import Command
from aiogram.types import CallbackQuery, Message, Update

from adapters.ports import Inbound, StopOutcome, StopRequest
from adapters.telegram.inbound import conversation_of, sender_of, to_inbound
from adapters.telegram.words import words

Accept = Callable[[Inbound], Awaitable[None]]
"""Records the question as owed and queues it; raises if it could not be recorded."""
Stop = Callable[[StopRequest], Awaitable[StopOutcome]]


class Say(Protocol):
    """Shows a fixed text in answer to a message, some time soon."""

    def __call__(self, message: Message, text: str) -> None: ...


class Handlers:
    """What happens to each kind of update. None of these waits for an answer to be written.

    Args:
        accept: Takes a question.
        stop: Stops an answer.
        say: Shows a fixed text.
        now: Monotonic seconds.
    """

    def __init__(self, *, accept: Accept, stop: Stop, say: Say, now: Callable[[], float] = time.monotonic) -> None:
        self._accept = accept
        self._stop = stop
        self._say = say
        self._now = now

    def router(self) -> Router:
        """The handlers in the order in which they are asked."""
        router = Router(name="telegram")
        router.message.register(self.on_start, Command("start", ignore_case=True))
        router.message.register(self.on_help, Command("help", ignore_case=True))
        router.message.register(self.on_stop, Command("stop", ignore_case=True))
        router.message.register(self.on_question, F.text)
        router.callback_query.register(self.on_stop_button, F.data.startswith("stop:"))
        router.callback_query.register(self.on_unknown_button)
        return router

    async def on_start(self, message: Message) -> None:
        self._say(message, words(_language(message)).start)

    async def on_help(self, message: Message) -> None:
        self._say(message, words(_language(message)).help)

    async def on_stop(self, message: Message) -> None:
        person = sender_of(message)
        if person is None:
            return
        request = StopRequest(platform="telegram", conversation=conversation_of(message), asker=person, presser=person)
        if await self._stop(request) == "idle":
            self._say(message, words(_language(message)).nothing_to_stop)

    async def on_question(self, message: Message, event_update: Update) -> None:
        assert message.bot is not None
        me = await message.bot.me()
        inbound = to_inbound(message, update_id=event_update.update_id, me=me, received_at=self._now())
        if inbound is None:
            return
        if inbound.text:
            await self._accept(inbound)
        else:
            self._say(message, words(inbound.language_hint).help)

    async def on_stop_button(self, query: CallbackQuery) -> None:
        text = words(query.from_user.language_code)
        outcome: StopOutcome = "idle"
        try:
            if isinstance(query.message, Message) and query.data is not None:
                outcome = await self._stop(
                    StopRequest(
                        platform="telegram",
                        conversation=conversation_of(query.message),
                        asker=query.data.removeprefix("stop:"),
                        presser=str(query.from_user.id),
                    )
                )
        finally:
            shown = {"stopped": text.stopped, "idle": text.nothing_to_stop, "refused": text.not_yours}[outcome]
            await _answer(query, shown, is_alert=outcome == "refused")

    async def on_unknown_button(self, query: CallbackQuery) -> None:
        await _answer(query, None)


async def _answer(query: CallbackQuery, text: str | None, *, is_alert: bool = False) -> None:
    """Every press gets its answer, or the button shows an hourglass; one that comes too late is no loss."""
    with suppress(AiogramError, OSError):
        await query.answer(text, show_alert=is_alert)


def _language(message: Message) -> str | None:
    return message.from_user.language_code if message.from_user else None
