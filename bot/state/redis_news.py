"""What other replicas did to our lanes and turns, as Redis tells it: pub/sub on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

News = Literal["claimed", "stop", "lane", "loose"]
"""An event was claimed; it is to be stopped; a lane has changed; a turn was handed over."""
Tell = Callable[[News, str], None]
_AGAIN_S = 0.5


class RedisNews:
    """Listens until cancelled; while nothing can be heard, `is_listening` is False and others should look themselves.

    Args:
        client: A client of its own, without a time-out for reading.
        tell: Called with each piece of news; must neither block nor raise.
        prefix: As in `RedisTurns`.
    """

    def __init__(self, client: Redis, tell: Tell, *, prefix: str = "{grapevine}") -> None:
        self._client = client
        self._tell = tell
        self._channel = f"{prefix}:news"
        self.is_listening = False

    async def run(self) -> None:
        """Subscribe, listen, and begin again whenever the connection is lost."""
        while True:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await self._listen()
            self.is_listening = False
            await asyncio.sleep(_AGAIN_S)

    async def _listen(self) -> None:
        async with self._client.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            async for message in subscription.listen():
                if message["type"] == "subscribe":
                    self.is_listening = True
                elif message["type"] == "message":
                    what, _, which = message["data"].decode("utf-8", "surrogatepass").partition(" ")
                    self._tell(cast(News, what), which)
