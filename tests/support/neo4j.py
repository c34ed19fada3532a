"""Throw-away Neo4j databases: a real server, emptied before each test, and stores on it."""

from __future__ import annotations

import asyncio
import fcntl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from neo4j import AsyncDriver, AsyncGraphDatabase, NotificationMinimumSeverity

from rag.stores.neo4j import Neo4jStore
from tests.support.services import Neo4jServer, neo4j_server


def noon() -> datetime:
    return datetime(2026, 11, 20, 12, tzinfo=UTC)


@asynccontextmanager
async def empty_neo4j(version: str, *, keep: bool = False) -> AsyncIterator[EmptyNeo4j]:
    """The server of a version, emptied (unless `keep`); nobody else's until the end, in whatever process they test."""
    server = neo4j_server(version)
    lock = Path(tempfile.gettempdir(), f"grapevine-test-{urlsplit(server.uri).netloc.replace(':', '-')}.lock")
    with lock.open("w") as file:  # noqa: ASYNC230 - a moment, and only in tests
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        async with AsyncExitStack() as stack:
            neo4j = EmptyNeo4j(server, stack)
            if not keep:
                await neo4j.empty()
            yield neo4j


class EmptyNeo4j:
    """A server with nothing in it, and handles on it as processes would have them."""

    def __init__(self, server: Neo4jServer, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    def driver(
        self, *, password: str | None = None, uri: str | None = None, pool_size: int = 8, acquisition_s: float = 2.0
    ) -> AsyncDriver:
        """Made as in `bot/wiring/`, but with a pool for few."""
        driver = AsyncGraphDatabase.driver(
            uri or self.server.uri,
            auth=(self.server.username, password or self.server.password),
            max_connection_pool_size=pool_size,
            connection_acquisition_timeout=acquisition_s,
            connection_timeout=min(1.0, acquisition_s),
            max_transaction_retry_time=0,
            notifications_min_severity=NotificationMinimumSeverity.OFF,
            telemetry_disabled=True,
        )
        self._stack.push_async_callback(driver.close)
        return driver

    def store(self, *, now: Callable[[], datetime] = noon, driver: AsyncDriver | None = None) -> Neo4jStore:
        """Another handle."""
        return Neo4jStore(driver or self.driver(), address=self.server.uri, pool_size=8, now=now)

    async def open_store(self) -> Neo4jStore:
        """Another handle, connected."""
        store = self.store()
        await store.open()
        return store

    async def empty(self) -> None:
        """Forget all data; indexes stay, as they take longer to make."""
        driver = self.driver()
        async with driver.session(database="neo4j") as session:
            found = await session.run("SHOW INDEXES YIELD name, type WHERE type = 'VECTOR' RETURN name")
            for (name,) in [record.values() async for record in found]:
                await (await session.run(f"DROP INDEX {name} IF EXISTS")).consume()
            # In parts, because all at once what a benchmark left is more than a transaction may hold.
            forget = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 2000 ROWS"
            await (await session.run(forget)).consume()

    async def run(self, query: str) -> list[list[object]]:
        """What an operator would type."""
        async with self.driver().session(database="neo4j") as session:
            result = await session.run(query)
            return [list(record.values()) async for record in result]
