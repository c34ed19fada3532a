"""What Telegram delivers: proved by its secret before it is read, recorded before it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import Any

import orjson
import structlog
from aiohttp import web

from bot.state.sqlite import StateError
from bot.web.errors import ApiError

log = structlog.get_logger(__name__)

MAX_BODY = 1024 * 1024
"""An update holds at most a few messages, each with up to 32,768 characters at six bytes (`\\uXXXX`)."""
_BODY_S = 20.0
_ATTEMPTS = 8
"""How often an update that fails by a bug is taken back, before it lets its chat's others pass."""
_TELL_EVERY_S = 60.0


class TelegramDoor:
    """The webhook.

    Args:
        path: Where it listens.
        secret: What Telegram sends in `X-Telegram-Bot-Api-Secret-Token`.
        receive: Handles one update; has recorded a question in it when it returns.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        path: str,
        secret: str,
        receive: Callable[[dict[str, Any]], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._secret = secret.encode()
        self._receive = receive
        self._clock = clock
        self._refused = 0
        self._told_at = float("-inf")
        self._failures: OrderedDict[int, int] = OrderedDict()

    async def handle(self, request: web.Request) -> web.Response:
        """One delivery.

        Raises:
            ApiError: 401 without the secret; 400 if it is no update.
            StateError: If it could not be recorded; Telegram delivers it again, for up to 24 hours.
        """
        given = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
        if not compare_digest(given.encode("utf-8", "surrogateescape"), self._secret):
            self._note_refused()
            # The connection is closed: what a stranger may still be sending is not waited for.
            raise ApiError(401, "unauthorized", "This address is for Telegram only.", headers={"Connection": "close"})
        update = _parsed(await _body(request))
        try:
            await self._receive(update)
        except StateError:
            raise
        except Exception as error:
            if not self._is_hopeless(update["update_id"]):
                raise
            # Without its message, which may quote somebody; where it happened was logged at each attempt.
            log.error("telegram_update_left_out", attempts=_ATTEMPTS, error=type(error).__qualname__)  # noqa: TRY400
        return web.Response()

    def _is_hopeless(self, update_id: int) -> bool:
        self._failures[update_id] = self._failures.pop(update_id, 0) + 1
        if len(self._failures) > 1000:
            self._failures.popitem(last=False)
        return self._failures[update_id] >= _ATTEMPTS

    def _note_refused(self) -> None:
        self._refused += 1
        if self._clock() - self._told_at >= _TELL_EVERY_S:
            self._told_at = self._clock()
            log.warning(
                "telegram_webhook_refused",
                count=self._refused,
                reason="the secret is missing or wrong; if it was Telegram: `grapevine telegram-webhook set`",
            )
            self._refused = 0


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY, actual_size=request.content_length or 0)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY, actual_size=len(body))
    except TimeoutError:
        headers = {"Connection": "close"}
        raise ApiError(408, "too_slow", "The request took too long to arrive.", headers=headers) from None
    return bytes(body)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        update = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(400, "invalid_json", "The body is not valid JSON in UTF-8.") from None
    if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
        raise ApiError(400, "invalid_update", "The body must be an update, an object with an `update_id`.")
    return update
