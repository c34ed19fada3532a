"""Throw-away Neo4j databases: a real server, emptied before each test, and stores on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from neo4j import AsyncDriver, AsyncGraphDatabase, NotificationMinimumSeverity

from rag.stores.neo4j import Neo4jStore
from tests.support.services import Neo4jServer


def noon() -> datetime:
    return datetime(2026, 11, 20, 12, tzinfo=UTC)


class EmptyNeo4j:
    """A server with nothing in it, and handles on it as processes would have them."""

    def __init__(self, server: Neo4jServer, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    def driver(self, *, password: str | None = None, uri: str | None = None, pool_size: int = 8) -> AsyncDriver:
        """Made as in `bot/wiring.py`, but with a pool for few."""
        driver = AsyncGraphDatabase.driver(
            uri or self.server.uri,
            auth=(self.server.username, password or self.server.password),
            max_connection_pool_size=pool_size,
            connection_acquisition_timeout=2.0,
            connection_timeout=1.0,
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
            await (await session.run("MATCH (n) DETACH DELETE n")).consume()
