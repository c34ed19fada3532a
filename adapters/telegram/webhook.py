"""Deliveries by webhook: telling Telegram where to deliver, and seeing to it that it stays told.

Who set the webhook last wins, as with pollers; two deployments with one token would take it from each other for ever.
So it is set when a process begins to lead, and afterwards only looked at: see docs/decisions/0148.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from hmac import new as hmac
from typing import Protocol

from aiogram import Bot
from aiogram.exceptions import (
    AiogramError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import WebhookInfo

from adapters.live.pacer import backoff_s
from adapters.telegram.polling import TokenRefused

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
MAX_CONNECTIONS = 100
"""How many deliveries Telegram makes at once, the most it offers: one takes us a few milliseconds."""


class WebhookNote(Protocol):
    """Remembers one fingerprint from one start to the next."""

    async def read(self) -> str | None: ...

    async def write(self, value: str) -> None: ...


class WebhookRefused(Exception):
    """Telegram does not accept the webhook; the message says why, in its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where Telegram is to deliver, what it proves itself with, and which kinds of updates are used."""

    url: str
    secret: str
    allowed_updates: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Tells one webhook from another without giving the secret away."""
        return _digest(self.url) + _digest(self.url, self.secret, *sorted(self.allowed_updates))

    def is_set(self, info: WebhookInfo, *, last_set: str | None) -> bool:
        """Whether nothing is left to tell Telegram. It never tells the secret; `last_set` is our own note of it."""
        is_same = info.url == self.url and same_kinds(info.allowed_updates, self.allowed_updates)
        return is_same and last_set == self.fingerprint


def was_ours(url: str, last_set: str | None) -> bool:
    """Whether the fingerprint that was noted last is of a webhook at this address."""
    return last_set is not None and last_set.startswith(_digest(url))


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def same_kinds(set_there: Collection[str] | None, wanted: Collection[str]) -> bool:
    """Whether Telegram sends the kinds of updates that are wanted."""
    return set(set_there or ()) == set(wanted)


def secret_of(token: str) -> str:
    """The secret where none is configured: the same on every replica, and no way back to the token."""
    return hmac(token.encode(), b"grapevine telegram webhook secret", "sha256").hexdigest()


async def set_webhook(bot: Bot, webhook: Webhook, *, drop_pending: bool = False) -> None:
    """Tell Telegram. Raises `TokenRefused`, `WebhookRefused`, `ConnectionError`."""
    try:
        await bot.set_webhook(
            webhook.url,
            secret_token=webhook.secret,
            allowed_updates=list(webhook.allowed_updates),
            max_connections=MAX_CONNECTIONS,
            drop_pending_updates=drop_pending,
        )
    except (AiogramError, OSError) as error:
        raise _meaning(error) from None


async def webhook_info(bot: Bot) -> WebhookInfo:
    """What Telegram knows. Raises `TokenRefused`, `WebhookRefused`, `ConnectionError`."""
    try:
        return await bot.get_webhook_info()
    except (AiogramError, OSError) as error:
        raise _meaning(error) from None


async def delete_webhook(bot: Bot, *, drop_pending: bool = False) -> None:
    """Let Telegram deliver nowhere. Raises `TokenRefused`, `ConnectionError`."""
    try:
        await bot.delete_webhook(drop_pending_updates=drop_pending)
    except (AiogramError, OSError) as error:
        raise _meaning(error) from None


def _meaning(error: AiogramError | OSError) -> TokenRefused | WebhookRefused | ConnectionError:
    match error:
        case TelegramUnauthorizedError() | TelegramNotFound():
            return TokenRefused()
        case TelegramBadRequest(message=words) | TelegramForbiddenError(message=words):
            return WebhookRefused(f"Telegram does not accept the webhook: {_plain(words)}")
        case TelegramRetryAfter(retry_after=seconds):
            return ConnectionError(f"Telegram asks to wait {seconds} s")
        case _:
            return ConnectionError(f"Telegram does not answer ({type(error).__name__})")


def _plain(words: str) -> str:
    """Telegram's words without its repeated prefixes."""
    return words.removeprefix("Bad Request: ").removeprefix("bad webhook: ")


class WebhookKeeper:
    """Has the webhook set, and says what Telegram says of its deliveries.

    Args:
        bot: The client.
        webhook: What is wanted.
        note: Remembers the webhook that was set last; None: nobody does.
        sleep: Waits.
    """

    def __init__(
        self,
        bot: Bot,
        webhook: Webhook,
        *,
        note: WebhookNote | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._webhook = webhook
        self._note = note
        self._sleep = sleep
        self._told: set[str] = set()

    async def run(self) -> None:
        """Set it unless it is set, then look after it until cancelled; raises `TokenRefused`."""
        await self._set()
        while True:
            await self._sleep(LOOK_EVERY_S)
            try:
                self.look(await webhook_info(self._bot))
            except ConnectionError:  # the next look may succeed; answers that cannot be sent are said elsewhere
                continue
            except WebhookRefused as error:
                self._tell("refused", f"{error}; looking again")

    async def _set(self) -> None:
        failures = 0
        while True:
            try:
                info = await webhook_info(self._bot)
                last_set = None if self._note is None else await self._note.read()
                if not self._webhook.is_set(info, last_set=last_set):
                    # The address first: set or not, after a crash in between it counts as ours, and is set again.
                    await self._write(_digest(self._webhook.url))
                    await set_webhook(self._bot, self._webhook)
                    await self._write(self._webhook.fingerprint)
                    log.info("Telegram: the webhook is set")
            except (ConnectionError, WebhookRefused) as error:
                failures += 1
                if failures in {1, 10, 100, 1000}:
                    log.warning("%s; trying again", error)
                await self._sleep(backoff_s(failures))
            else:
                return

    async def _write(self, value: str) -> None:
        if self._note is not None:
            await self._note.write(value)

    def look(self, info: WebhookInfo) -> None:
        """Say what is wrong with the deliveries, each thing once."""
        if info.url != self._webhook.url:
            where = "somewhere else" if info.url else "nowhere"
            self._tell(
                f"moved {info.url}",
                f"Telegram delivers {where} now: another program with this bot's token has changed the webhook; "
                "stop it and restart, or run `grapevine telegram-webhook set`",
            )
        elif info.last_error_message and info.last_error_date:
            what = f"Telegram could not deliver: {info.last_error_message} ({info.pending_update_count} updates wait)"
            self._tell(f"error {info.last_error_message}", what)
        else:
            self._told.clear()

    def _tell(self, key: str, what: str) -> None:
        if key not in self._told:
            self._told.add(key)
            log.warning("%s", what)
