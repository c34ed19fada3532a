"""Telegram as the process sees it: runs the poller, opens live messages, closes cleanly."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal

from aiogram import Bot, Dispatcher, Router
from aiogram.exceptions import AiogramError, TelegramNotFound, TelegramUnauthorizedError
from aiogram.types import Update

from adapters.desk import Desk, NoDesk
from adapters.live.budget import LocalBudget
from adapters.live.pacer import backoff_s
from adapters.ports import Budget, Inbound
from adapters.telegram import menu
from adapters.telegram.backlog import Backlog
from adapters.telegram.chat_action import TelegramLiveMessage, Typing
from adapters.telegram.draft import RENEW_S, DraftTransport, is_draft
from adapters.telegram.handlers import Handlers
from adapters.telegram.inbound import place_of
from adapters.telegram.limits import charges
from adapters.telegram.live import TelegramTransport
from adapters.telegram.polling import Poller, TokenRefused
from adapters.telegram.ports import Accept, Stop
from adapters.telegram.render import TelegramRenderer
from adapters.telegram.speech import Speech
from adapters.telegram.updates import is_understood, parse
from adapters.telegram.webhook import Webhook, WebhookKeeper, WebhookNote, was_ours
from adapters.telegram.words import words

log = logging.getLogger(__name__)

_MOST_HANDLED = 10_000

Introduction = Callable[[Bot], Awaitable[None]]


class TelegramPlatform:
    """One bot.

    Args:
        bot: The client, made and closed by the caller.
        accept: Takes a question; has recorded it durably when it returns. May be called again with the same event id.
        stop: Stops the answer being written in a lane.
        desk: Knows what was said and what the documents say.
        routers: Asked before our own handlers, e.g. those of admins.
        introductions: Called at the start, once Telegram answers, e.g. to publish commands of admins.
        budget: What calls may be spent; None: Telegram's limits, counted in this process.
        streaming: How answers grow in private chats: in a message, or in a native draft.
        backlog_s: The age in seconds from which a waiting question gets an apology instead of an answer; 0: never.
        is_temporary: Whether what `accept` raised will pass; while it does not, polling waits and leaves nothing out.
        server_time: Seconds since the epoch, by Telegram's clock.
        webhook_note: Remembers the webhook that was set last.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        accept: Accept,
        stop: Stop,
        desk: Desk | None = None,
        routers: Sequence[Router] = (),
        introductions: Sequence[Introduction] = (),
        budget: Budget | None = None,
        streaming: Literal["edit", "draft"] = "edit",
        backlog_s: float = 0.0,
        is_temporary: Callable[[Exception], bool] = lambda _: False,
        server_time: Callable[[], float] = time.time,
        webhook_note: WebhookNote | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._now = now
        self._is_temporary = is_temporary
        self._server_time = server_time
        self._webhook_note = webhook_note
        self._backlog = Backlog(accept, limit_s=backlog_s, server_time=server_time)
        self._has_drafts = streaming == "draft"
        self._handled: OrderedDict[int, None] = OrderedDict()
        self._budget = budget or LocalBudget(charges, now=now)
        self._tasks: set[asyncio.Task[None]] = set()
        self._introductions = (menu.publish, *introductions)
        self._desk = desk or NoDesk()
        self.speech = Speech(bot, budget=self._budget, spawn=self._spawn, now=now)
        """For routers that were passed in."""
        self._dispatcher = Dispatcher()
        handlers = Handlers(
            accept=self._backlog.accept, stop=stop, desk=self._desk, speech=self.speech, first=routers, now=now
        )
        self._dispatcher.include_router(handlers.router())

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
        poller = Poller(
            self._bot,
            self.feed,
            allowed_updates=self.update_kinds,
            is_ours=self._was_ours,
            is_temporary=self._is_temporary,
            now=self._server_time,
        )
        await poller.run()

    async def keep_webhook(self, url: str, secret: str) -> None:
        """Have updates delivered to `receive` by way of `url` until cancelled; raises `TokenRefused`."""
        await self._introduce()
        webhook = Webhook(url=url, secret=secret, allowed_updates=tuple(self.update_kinds))
        await WebhookKeeper(self._bot, webhook, note=self._webhook_note).run()

    @property
    def update_kinds(self) -> list[str]:
        """The kinds of updates that are used; Telegram need not send others."""
        return self._dispatcher.resolve_used_update_types()

    async def receive(self, raw: dict[str, Any]) -> None:
        """Handle one delivery of a webhook, as `feed`; a repeated one, or one of an unknown kind, is left out."""
        update = parse(raw, self._bot)
        if update.update_id in self._handled or not is_understood(update):
            return
        await self.feed(update)
        # Questions are claimed, which holds across replicas and starts; this spares people a command done twice.
        self._handled[update.update_id] = None
        if len(self._handled) > _MOST_HANDLED:
            self._handled.popitem(last=False)

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
        self._backlog.tell()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _moved(self, old: int, new: int) -> None:
        await self._desk.moved("telegram", str(old), str(new))

    async def _was_ours(self, url: str) -> bool:
        return self._webhook_note is not None and was_ours(url, await self._webhook_note.read())

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
        real = TelegramTransport(
            bot=self._bot, chat_id=chat_id, thread_id=thread_id, reply_to=reply_to, on_moved=self._moved
        )
        # A draft that was begun is also ended, whatever the setting is now.
        has_draft = (self._has_drafts and inbound.is_private) or is_draft(reopen)
        return TelegramLiveMessage(
            typing=Typing(self._bot, chat_id=chat_id, thread_id=thread_id, budget=self._budget),
            chat=str(chat_id),
            renderer=TelegramRenderer(words(inbound.language_hint), inbound.sender),
            transport=DraftTransport(real=real) if has_draft else real,
            renew_s=RENEW_S if has_draft else None,
            budget=self._budget,
            now=self._now,
            on_posted=on_posted,
            on_delivered=on_delivered,
            permit=permit,
            reopen=reopen,
            spawn=self._spawn,
        )

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
        for introduce in self._introductions:
            await introduce(self._bot)
