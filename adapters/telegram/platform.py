"""Telegram as the process sees it: runs the poller, opens live messages, closes cleanly."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from aiogram import Bot, Dispatcher
from aiogram.exceptions import AiogramError, TelegramNotFound, TelegramUnauthorizedError
from aiogram.types import BotCommand, Message, Update

from adapters.live.budget import LocalBudget
from adapters.live.pacer import backoff_s
from adapters.live.publisher import Publisher
from adapters.ports import Budget, Final, Inbound
from adapters.telegram.handlers import Accept, Handlers, Stop
from adapters.telegram.inbound import conversation_of, place_of
from adapters.telegram.limits import charges
from adapters.telegram.live import TelegramTransport
from adapters.telegram.polling import Poller, TokenRefused
from adapters.telegram.render import TelegramRenderer, TelegramScreen
from adapters.telegram.words import LANGUAGES, words

log = logging.getLogger(__name__)

TelegramLiveMessage = Publisher[TelegramScreen]


class TelegramPlatform:
    """One bot.

    Args:
        bot: The client, made and closed by the caller.
        accept: Takes a question; has recorded it durably when it returns. May be called again with the same event id.
        stop: Stops the answer being written in a lane.
        budget: What calls may be spent; None: Telegram's limits, counted in this process.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        accept: Accept,
        stop: Stop,
        budget: Budget | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._now = now
        self._budget = budget or LocalBudget(charges, now=now)
        self._tasks: set[asyncio.Task[None]] = set()
        self._dispatcher = Dispatcher()
        self._dispatcher.include_router(Handlers(accept=accept, stop=stop, say=self._say, now=now).router())

    async def identify(self) -> str:
        """The bot's user name; raises `TokenRefused`, or `ConnectionError` if Telegram cannot be reached."""
        try:
            me = await self._bot.me()
        except (TelegramUnauthorizedError, TelegramNotFound):
            raise TokenRefused from None
        except (AiogramError, OSError) as error:
            raise ConnectionError(f"Telegram does not answer ({type(error).__name__})") from None
        return me.username or str(me.id)

    async def run(self) -> None:
        """Receive updates by long polling until cancelled; raises `TokenRefused`. Waits out everything else."""
        await self._introduce()
        poller = Poller(self._bot, self.feed, allowed_updates=self._dispatcher.resolve_used_update_types())
        await poller.run()

    async def feed(self, update: Update) -> None:
        """Handle one update; when this returns, a question in it is recorded. Raises if it could not be."""
        await self._dispatcher.feed_update(self._bot, update)

    def open_message(
        self,
        inbound: Inbound,
        *,
        on_posted: Callable[[str], Awaitable[None]] | None = None,
        on_delivered: Callable[[], Awaitable[None]] | None = None,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> TelegramLiveMessage:
        """A message that will grow where the question was asked."""
        return self._message(inbound, None, on_posted, on_delivered, permit)

    def reopen_message(
        self,
        inbound: Inbound,
        message_id: str,
        *,
        on_posted: Callable[[str], Awaitable[None]] | None = None,
        on_delivered: Callable[[], Awaitable[None]] | None = None,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> TelegramLiveMessage:
        """The message that an interrupted answer was growing in; `message_id` is what `on_posted` was told last."""
        return self._message(inbound, message_id, on_posted, on_delivered, permit)

    async def close(self) -> None:
        """Cut off what is still being delivered; the questions stay owed."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _message(
        self,
        inbound: Inbound,
        reopen: str | None,
        on_posted: Callable[[str], Awaitable[None]] | None,
        on_delivered: Callable[[], Awaitable[None]] | None,
        permit: Callable[[], Awaitable[bool]] | None,
    ) -> TelegramLiveMessage:
        chat_id, thread_id = place_of(inbound.conversation)
        reply_to = int(inbound.reply_to) if inbound.reply_to is not None else None
        return Publisher(
            chat=str(chat_id),
            renderer=TelegramRenderer(words(inbound.language_hint), inbound.sender),
            transport=TelegramTransport(bot=self._bot, chat_id=chat_id, thread_id=thread_id, reply_to=reply_to),
            budget=self._budget,
            now=self._now,
            on_posted=on_posted,
            on_delivered=on_delivered,
            permit=permit,
            reopen=reopen,
            spawn=self._spawn,
        )

    def _say(self, message: Message, text: str) -> None:
        chat_id, thread_id = place_of(conversation_of(message))
        live = Publisher(
            chat=str(chat_id),
            renderer=TelegramRenderer(words(None), ""),
            transport=TelegramTransport(bot=self._bot, chat_id=chat_id, thread_id=thread_id),
            budget=self._budget,
            now=self._now,
            give_up_s=60.0,
            spawn=self._spawn,
        )
        self._spawn(_show(live, text))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _introduce(self) -> None:
        """Learn our own name, which groups mention, and publish the commands; wait for Telegram if need be."""
        failures = 0
        while True:
            try:
                name = await self.identify()
            except ConnectionError as error:
                failures += 1
                if failures in {1, 10, 100, 1000}:
                    log.warning("%s; trying again", error)
                await asyncio.sleep(backoff_s(failures))
            else:
                break
        log.info("Telegram: listening as @%s", name)
        try:
            for language, sentences in LANGUAGES.items():
                commands = [BotCommand(command=c, description=d) for c, d in sentences.commands.items()]
                await self._bot.set_my_commands(commands, language_code=None if language == "en" else language)
        except (AiogramError, OSError) as error:
            log.warning("the list of commands could not be published (%s)", type(error).__name__)


async def _show(live: TelegramLiveMessage, text: str) -> None:
    await live.finish(Final(text=text))
