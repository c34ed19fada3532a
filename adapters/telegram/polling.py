"""Long polling that loses nothing: an update is confirmed only after its handler has returned.

A webhook takes the updates away from whoever polls. One that we have set ourselves, or that nobody answers at, is
removed; another may be a running deployment's, and taking it down would be an outage there: docs/decisions/0148.

aiogram's own loop counts an update whose handler failed as done, logs exceptions whose text may hold the address with
the token, and retries a refused token for ever; so the loop is ours, the dispatching aiogram's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from aiogram import Bot
from aiogram.exceptions import (
    AiogramError,
    ClientDecodeError,
    TelegramConflictError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import Update, WebhookInfo

from adapters.live.pacer import backoff_s
from adapters.telegram.updates import is_understood, parse

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
_POLL_S = 25
_LOOK_AGAIN_S = 15.0
_DEAD_WITHIN_S = 600.0
"""A webhook at which a delivery failed within this time, with updates still waiting, is nobody's."""
_ATTEMPTS = 8
"""How often an update is tried, over a minute and a half, before one that can never succeed lets the others pass."""


class TokenRefused(Exception):
    """Telegram does not know the token."""

    def __init__(self) -> None:
        super().__init__(
            "Telegram refused the bot token: set TELEGRAM_BOT_TOKEN to the token that @BotFather shows for your bot"
        )


class Poller:
    """Fetches updates and hands them over one after the other.

    Args:
        bot: The client.
        handle: Takes one update; raises if it could not (then the update is tried again).
        allowed_updates: What to ask for.
        is_ours: Whether this installation has set a webhook at that address.
        is_temporary: Whether what `handle` raised will pass; then the update is tried until it is taken, and the others
            wait behind it.
        now: Seconds since the epoch, by Telegram's clock.
        sleep: Waits.
    """

    def __init__(
        self,
        bot: Bot,
        handle: Callable[[Update], Awaitable[object]],
        *,
        allowed_updates: Sequence[str],
        is_ours: Callable[[str], Awaitable[bool]] | None = None,
        is_temporary: Callable[[Exception], bool] = lambda _: False,
        now: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._handle = handle
        self._allowed = list(allowed_updates)
        self._is_ours = is_ours
        self._is_temporary = is_temporary
        self._now = now
        self._sleep = sleep
        self._has_told_webhook = False
        self._offset: int | None = None
        self._failures = 0

    async def run(self) -> None:
        """Poll until cancelled; raises `TokenRefused`."""
        while True:
            try:
                updates = await self._fetch()
            except (AiogramError, OSError) as error:
                await self._after_error(error)
                continue
            if self._failures:
                log.info("Telegram answers again")
                self._failures = 0
            for update in updates:
                await self._take(update)
                self._offset = update.update_id + 1

    async def _fetch(self) -> list[Update]:
        try:
            return await self._bot.get_updates(
                offset=self._offset, timeout=_POLL_S, allowed_updates=self._allowed, request_timeout=_POLL_S + 10
            )
        except ClientDecodeError as error:
            # One update of a kind that this client does not understand must not hide the others.
            if not isinstance(error.data, dict) or not isinstance(error.data.get("result"), list):
                raise
            return [parse(raw, self._bot) for raw in error.data["result"]]

    async def _take(self, update: Update) -> None:
        if not is_understood(update):
            return
        failures = waits = 0
        while failures < _ATTEMPTS:
            try:
                await self._handle(update)
            except Exception as error:  # noqa: BLE001 - the edge that must not die: the update stays unconfirmed meanwhile
                # By type: neither a message nor a traceback, which could quote somebody.
                kind = type(error).__name__
                if self._is_temporary(error):
                    waits += 1
                    if waits in {1, 10, 100, 1000}:
                        log.error("an update cannot be recorded now (%s); trying until it can", kind)  # noqa: TRY400
                    await self._sleep(backoff_s(waits))
                else:
                    failures += 1
                    log.error("an update could not be accepted (%s), attempt %d of %d", kind, failures, _ATTEMPTS)  # noqa: TRY400
                    await self._sleep(backoff_s(failures))
            else:
                if waits:
                    log.info("updates can be recorded again")
                return

    async def _after_error(self, error: AiogramError | OSError) -> None:
        match error:
            case TelegramUnauthorizedError() | TelegramNotFound():
                raise TokenRefused from None
            case TelegramRetryAfter(retry_after=seconds):
                await self._sleep(float(seconds))
            case TelegramConflictError() if "webhook" in error.message.lower():
                await self._clear_webhook()
            case _:
                self._failures += 1
                if isinstance(error, TelegramConflictError):
                    what = "another process polls with the same bot token; stop it, or wait: trying again"
                else:
                    what = f"Telegram does not answer ({type(error).__name__}); trying again"
                if self._failures in {1, 10, 100, 1000}:
                    log.warning("%s", what)
                await self._sleep(backoff_s(self._failures))

    async def _clear_webhook(self) -> None:
        with suppress(AiogramError, OSError):
            info = await self._bot.get_webhook_info()
            is_ours = self._is_ours is not None and await self._is_ours(info.url)
            if may_remove(info, is_ours=is_ours, now=self._now()):
                log.warning("a webhook was still set for this bot: it is removed, because this process polls")
                await self._bot.delete_webhook()
                self._has_told_webhook = False
                return
        if not self._has_told_webhook:
            self._has_told_webhook = True
            log.error(
                "Telegram delivers to a webhook that this bot did not set, perhaps of another deployment: nothing "
                "arrives here; `grapevine telegram-webhook delete` takes it away"
            )
        await self._sleep(_LOOK_AGAIN_S)


def may_remove(info: WebhookInfo, *, is_ours: bool, now: float) -> bool:
    """Whether nobody misses this webhook: it is our own of before, or nobody answers at it."""
    failed_at = info.last_error_date.timestamp() if info.last_error_date is not None else 0.0
    return is_ours or (info.pending_update_count > 0 and now - failed_at < _DEAD_WITHIN_S)
