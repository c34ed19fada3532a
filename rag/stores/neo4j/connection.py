"""One driver, few moods: reads and writes under a deadline, a fair queue before the pool, errors in our own words."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from neo4j import READ_ACCESS, WRITE_ACCESS, AsyncDriver, AsyncManagedTransaction, AsyncTransaction, Query
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    ConnectionAcquisitionTimeoutError,
    DriverError,
    Neo4jError,
)

from rag.errors import LoginRefused, StoreError, StoreUnavailable

READ_S = 5.0
"""Of a read whose caller has no deadline of its own."""
COLD_S = 20.0
"""Of what may meet a server that was just started: its first query of a kind takes 3 s on an idle machine."""
WRITE_S = 120.0
_ATTEMPTS = 4
"""Of a write that lost a race or met a server that was just starting; it had changed nothing."""
_FIRST_PAUSE_S = 0.2

_CLIENT_ERRORS = {
    "DatabaseNotFound": "has no such database; check NEO4J_DATABASE.",
    "AuthenticationRateLimit": "locked the login after wrong passwords; check NEO4J_PASSWORD, then wait a little.",
    "CredentialsExpired": "wants its first password changed before it can be used.",
}
"""What the configuration can mend."""

Row = list[Any]
Transaction = AsyncTransaction | AsyncManagedTransaction
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolGauges:
    """How the connections are doing. See `/monitoring/pool-status`."""

    limit: int
    """Queries that may be under way at once."""
    in_use: int
    idle: int
    """Open connections that wait for work."""
    waiting: int
    """Callers that wait for their turn."""
    wait_ms: float
    """How long the latest one waited."""
    longest_wait_ms: float
    """Since the start."""


class Connection:
    """A database of a server."""

    def __init__(self, driver: AsyncDriver, *, address: str, database: str, pool_size: int) -> None:
        """`address`: for messages, without credentials. `pool_size`: what the driver was made with."""
        self._driver = driver
        self._address = address
        self._database = database
        # Below the pool's size: the pool's own queue is not first come, first served, and its tail grew threefold
        # under 50 clients. Few at once are as fast as many: the server's cores are the limit.
        self.limit = max(1, min(pool_size - 1, 16))
        self._turn = asyncio.Semaphore(self.limit)
        self._in_use = 0
        self._waiting = 0
        self._wait_ms = 0.0
        self._longest_ms = 0.0
        self._is_closed = False

    @property
    def gauges(self) -> PoolGauges:
        """The present state."""
        return PoolGauges(
            limit=self.limit,
            in_use=self._in_use,
            idle=max(0, _open_connections(self._driver) - self._in_use),
            waiting=self._waiting,
            wait_ms=round(self._wait_ms, 1),
            longest_wait_ms=round(self._longest_ms, 1),
        )

    async def read(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        seconds: float = READ_S,
        is_beside: bool = False,
    ) -> list[Row]:
        """All rows of one query, in one round trip. Raises a `StoreError`.

        `is_beside`: without waiting for a turn, to find out why those whose turn it is do not get on.
        """
        async with self.bounded(seconds), contextlib.nullcontext() if is_beside else self._slot():
            session = self._driver.session(database=self._database, default_access_mode=READ_ACCESS)
            async with session:
                result = await session.run(query, dict(parameters or {}))
                return [list(record.values()) async for record in result]

    async def write(self, work: Callable[[Transaction], Awaitable[_Answer]], *, seconds: float = WRITE_S) -> _Answer:
        """`work` in one transaction, again if it lost a race; all or nothing. Raises a `StoreError`."""
        pause = _FIRST_PAUSE_S
        async with self.bounded(seconds):
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return await self._write_once(work)
                except Neo4jError as error:
                    # Only what the server itself took back. A connection that broke at the commit leaves open
                    # whether it happened.
                    if not error.is_retryable() or attempt == _ATTEMPTS:
                        raise
                    await asyncio.sleep(pause)
                    pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _write_once(self, work: Callable[[Transaction], Awaitable[_Answer]]) -> _Answer:
        async with self._slot():
            session = self._driver.session(database=self._database, default_access_mode=WRITE_ACCESS)
            async with session, await session.begin_transaction() as transaction:
                answer = await work(transaction)
                await transaction.commit()
                return answer

    async def change_schema(self, *statements: str, seconds: float = 600.0) -> None:
        """Statements that need transactions of their own, one after the other. Raises a `StoreError`."""
        async with self.bounded(seconds), self._slot():
            session = self._driver.session(database=self._database, default_access_mode=WRITE_ACCESS)
            async with session:
                for statement in statements:
                    result = await session.run(Query(statement))
                    await result.consume()

    async def close(self) -> None:
        """Close the driver, and refuse what comes later."""
        self._is_closed = True
        await self._driver.close()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        started = time.perf_counter()
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
            self._wait_ms = (time.perf_counter() - started) * 1000
            self._longest_ms = max(self._longest_ms, self._wait_ms)
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            self._turn.release()

    @asynccontextmanager
    async def bounded(self, seconds: float) -> AsyncIterator[None]:
        """What is done inside has so much time, all of it together. Raises a `StoreError`."""
        if self._is_closed:
            raise StoreUnavailable(f"the connection to Neo4j at {self._address} is closed.")
        with self._explained():
            try:
                # A server that is frozen answers no timeout of its own: only the loop's clock is sure.
                async with asyncio.timeout(seconds):
                    yield
            except TimeoutError as error:
                raise StoreUnavailable(f"Neo4j at {self._address} did not answer within {seconds:.1f} s.") from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (Neo4jError, DriverError, OSError) as error:
            raise self._in_our_words(error) from error

    def _in_our_words(self, error: Neo4jError | DriverError | OSError) -> StoreError:
        place = f"Neo4j at {self._address}"
        if isinstance(error, AuthError):
            return LoginRefused(f"{place} refuses the login; check NEO4J_USERNAME and NEO4J_PASSWORD.")
        if isinstance(error, ConnectionAcquisitionTimeoutError):
            return StoreUnavailable(f"{place}: no connection became free in time; raise NEO4J_POOL_SIZE or ask less.")
        if isinstance(error, ConfigurationError):
            return StoreUnavailable(f"{place} cannot be used as configured ({error}); check NEO4J_URI.")
        if isinstance(error, ClientError):
            code = error.code or ""
            said = next((said for part, said in _CLIENT_ERRORS.items() if part in code), None)
            return StoreUnavailable(f"{place} {said}") if said else ServerRefused(f"{place} refused a query ({code}).")
        if isinstance(error, Neo4jError):
            return StoreUnavailable(f"{place} cannot serve now ({error.code}).")
        return StoreUnavailable(f"{place} cannot be reached ({type(error).__name__}); is it running?")


class ServerRefused(StoreError):
    """The server understood, but would not: a missing index, a schema that another writer just changed."""


def _open_connections(driver: AsyncDriver) -> int:
    pool = getattr(driver, "_pool", None)
    connections: Mapping[object, Any] = getattr(pool, "connections", {})
    return sum(len(each) for each in connections.values())
