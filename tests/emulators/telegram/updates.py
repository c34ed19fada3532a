"""Updates on their way to the bot: the queue, long polling and webhook deliveries."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.emulators.telegram.checks import parsed
from tests.emulators.telegram.errors import bad_request, conflict
from tests.emulators.telegram.world import Json

NOT_BY_DEFAULT = {"chat_member", "message_reaction", "message_reaction_count"}


class Updates:
    """Unconfirmed updates in order. An update is kept until it is confirmed: by a later offset or by a 2xx."""

    def __init__(self, changed: Callable[[], None], *, webhook_retry_s: float = 0.05) -> None:
        self._changed = changed
        self.pending: list[Json] = []
        self.confirmed: list[int] = []
        """Update ids in the order in which the bot confirmed them."""
        self.allowed: list[str] = []
        self.webhook_url = ""
        self.webhook_secret = ""
        self.last_error = ""
        self.last_error_date = 0
        self._ids = itertools.count(700_000_001)
        self._news = asyncio.Event()
        self._poller: asyncio.Future[None] | None = None
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._webhook_retry_s = webhook_retry_s

    def add(self, kind: str, body: Json, *, key: str) -> int:
        """Queue an update; `key` is the order it must keep on a webhook (the chat, or the presser of a button)."""
        update_id = next(self._ids)
        wanted = kind in self.allowed if self.allowed else kind not in NOT_BY_DEFAULT
        if wanted:
            self.pending.append({"update_id": update_id, kind: body, "_key": key})
            self._news.set()
            self._deliver()
        return update_id

    def replay(self, update: Json) -> None:
        """Deliver an update again, as the server does after a lost acknowledgement."""
        self.pending.append(dict(update))
        self._news.set()
        self._deliver()

    @property
    def is_polled(self) -> bool:
        """Whether a getUpdates is waiting right now."""
        return self._poller is not None and not self._poller.done()

    async def poll(self, params: Json) -> list[Json]:
        """getUpdates; the later of two pollers wins, the earlier gets the 409."""
        if self.webhook_url:
            raise conflict("can't use getUpdates method while webhook is active; use deleteWebhook first")
        if "allowed_updates" in params:
            self.allowed = list(parsed(params["allowed_updates"], "allowed updates") or [])
        if self._poller is not None and not self._poller.done():
            self._poller.set_result(None)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._poller = turn
        self._confirm(int(params.get("offset") or 0))
        self._changed()
        limit = max(1, min(100, int(params.get("limit") or 100)))
        if not self.pending:
            await self._wait_news(turn, float(params.get("timeout") or 0))
        if turn.done():
            raise conflict("terminated by other getUpdates request; make sure that only one bot instance is running")
        turn.set_result(None)
        return [_public(update) for update in self.pending[:limit]]

    async def _wait_news(self, turn: asyncio.Future[None], timeout_s: float) -> None:
        self._news.clear()
        news = asyncio.create_task(self._news.wait())
        waiting: set[asyncio.Future[Any]] = {news, turn}
        try:
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    def _confirm(self, offset: int) -> None:
        if offset < 0:
            dropped, self.pending = self.pending[:offset], self.pending[offset:]
        else:
            dropped = [u for u in self.pending if u["update_id"] < offset]
            self.pending = [u for u in self.pending if u["update_id"] >= offset]
        self.confirmed += [update["update_id"] for update in dropped]

    def set_webhook(self, params: Json) -> None:
        """setWebhook; pending updates are delivered at once."""
        url = str(params.get("url") or "")
        if url and not url.startswith(("https://", "http://127.0.0.1")):
            raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
        self.webhook_url, self.webhook_secret = url, str(params.get("secret_token") or "")
        if "allowed_updates" in params:
            self.allowed = list(parsed(params["allowed_updates"], "allowed updates") or [])
        if params.get("drop_pending_updates") in {True, "true", "True"}:
            self.pending.clear()
        self._deliver()

    def webhook_info(self) -> Json:
        return {
            "url": self.webhook_url,
            "has_custom_certificate": False,
            "pending_update_count": len(self.pending),
            **(
                {"last_error_message": self.last_error, "last_error_date": self.last_error_date}
                if self.last_error
                else {}
            ),
            **({"allowed_updates": self.allowed} if self.allowed else {}),
        }

    def _deliver(self) -> None:
        """One task per key delivers that key's updates in order; keys go side by side."""
        if not self.webhook_url:
            return
        for key in {update["_key"] for update in self.pending}:
            if key not in self._deliveries or self._deliveries[key].done():
                self._deliveries[key] = asyncio.create_task(self._deliver_key(key))

    async def _deliver_key(self, key: str) -> None:
        async with aiohttp.ClientSession() as session:
            while self.webhook_url and (mine := [u for u in self.pending if u["_key"] == key]):
                headers = {"X-Telegram-Bot-Api-Secret-Token": self.webhook_secret} if self.webhook_secret else {}
                try:
                    async with session.post(self.webhook_url, json=_public(mine[0]), headers=headers) as response:
                        status = response.status
                except aiohttp.ClientError:
                    self._failed("Connection refused")
                    status = 0
                if 200 <= status < 300:
                    self.pending.remove(mine[0])
                    self.confirmed.append(mine[0]["update_id"])
                    self._changed()
                    continue
                if status:
                    self._failed(f"Wrong response from the webhook: {status}")
                await asyncio.sleep(self._webhook_retry_s)

    def _failed(self, what: str) -> None:
        self.last_error, self.last_error_date = what, int(time.time())
        self._changed()

    async def close(self) -> None:
        """Let a waiting poll go and stop deliveries."""
        self.webhook_url = ""
        if self._poller is not None and not self._poller.done():
            self._poller.set_result(None)
        for task in self._deliveries.values():
            task.cancel()
        await asyncio.gather(*self._deliveries.values(), return_exceptions=True)


def _public(update: Json) -> Json:
    return {name: value for name, value in update.items() if name != "_key"}
