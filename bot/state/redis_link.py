"""One Redis that may be slow or gone: every call is answered in time or not at all, and nobody asks in vain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

T = TypeVar("T")

TIMEOUT_S = 0.02
"""How long a call on the way of a message may take; then the process goes by its own state."""
_PATIENT_S = 1.0
_PROBE_S = 0.5
_HELD_UP_S = 0.005


class RedisAway(Exception):
    """Redis did not answer in time, or refused to."""


class Client(Protocol):
    """What is needed of `redis.asyncio.Redis`."""

    async def execute_command(self, *args: Any, **options: Any) -> Any: ...


class RedisLink:
    """Whether Redis answers. After one call without an answer it counts as away until a probe succeeds.

    Args:
        client: Made without retries and with time-outs of its own above `timeout_s`.
        prefix: Under which everything is kept; in braces, so that a cluster keeps it on one node.
        timeout_s: How long `call` waits.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str = "{grapevine}",
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.prefix = prefix
        self._timeout_s = timeout_s
        self._is_away = True
        self._away_since = clock()
        self._clock = clock
        self._has_been_here = False
        self._failure: str | None = None
        self._lost = asyncio.Event()
        self._returning: list[Callable[[], Awaitable[None]]] = []

    @property
    def is_away(self) -> bool:
        """Whether calls are not even tried."""
        return self._is_away

    @property
    def away_s(self) -> float:
        """For how long it has been away; 0.0 if it is there."""
        return self._clock() - self._away_since if self._is_away else 0.0

    def on_return(self, work: Callable[[], Awaitable[None]]) -> None:
        """Have this done each time before and right after Redis counts as there; `RedisAway` from it means not yet."""
        self._returning.append(work)

    async def call(self, work: Awaitable[T]) -> T:
        """The result of one exchange with Redis, on the way of a message.

        Raises:
            RedisAway: If it is not there within the time, at once where Redis is away already.
        """
        task = asyncio.ensure_future(work)
        if self._is_away:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise RedisAway
        return await self._exchange(task, self._timeout_s)

    async def insist(self, work: Awaitable[T]) -> T:
        """The same for work that nobody waits for: it is tried in any case, and given a second."""
        return await self._exchange(asyncio.ensure_future(work), _PATIENT_S)

    async def _exchange(self, task: asyncio.Future[T], timeout_s: float) -> T:
        loop = asyncio.get_running_loop()
        try:
            for _ in range(3):
                deadline = loop.time() + timeout_s
                await asyncio.wait({task}, timeout=timeout_s)
                # Where this process itself was held up, the answer may lie there unread: that is not Redis's fault.
                if task.done() or loop.time() - deadline < _HELD_UP_S:
                    break
        finally:
            if not task.done():
                task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if (current := asyncio.current_task()) is not None and current.cancelling():
                raise
            self._lose("no answer in time")
        except (RedisError, OSError, TimeoutError) as error:
            self._lose(type(error).__name__)
        raise RedisAway

    async def connect(self) -> None:
        """Try once; a Redis that is away now may come later."""
        await self._attempt()
        if self._is_away:
            log.error("redis_away", reason="not reached at the start", effect="this process goes by its own state")

    async def run(self) -> None:
        """Watch until cancelled: while Redis is away, see whether it is back."""
        while True:
            self._lost.clear()
            if not self._is_away:
                await self._lost.wait()
            await asyncio.sleep(_PROBE_S)
            await self._attempt()

    async def _attempt(self) -> None:
        """See whether it is there. Nothing ends the watching: what is done on return uses the disk, too."""
        try:
            await self._try()
        except RedisAway:
            return
        except Exception as error:  # an edge that must not die: Redis would count as away until a restart
            reason = f"{type(error).__name__} in what is done on its return"
            self._lose(reason)
            if reason != self._failure:  # twice a second is too often to say the same
                log.exception("redis_return_failed", effect="Redis counts as away; tried again")
            self._failure = reason
        else:
            self._failure = None

    async def _try(self) -> None:
        # Connections that lie idle since before may be dead, each of them worth one failure.
        await self.client.connection_pool.disconnect(inuse_connections=False)
        # A write: a replica that may only be read, or one without memory left, is no use to us.
        await self.insist(self.client.set(f"{self.prefix}:probe", b"1", px=1000))
        for work in self._returning:
            await work()
        self._is_away = False
        if self._has_been_here:
            log.info("redis_back")
        self._has_been_here = True
        # Once more for what was written between the first time and now.
        for work in self._returning:
            await work()

    def _lose(self, reason: str) -> None:
        if not self._is_away:
            self._away_since = self._clock()
            log.error("redis_away", reason=reason, effect="this process goes by its own state")
        self._is_away = True
        self._lost.set()
