"""One contract for claims, owed turns and lanes, over every place that keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.state.ports import TurnStore
from bot.state.redis_turns import RedisTurns
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns
from tests.state.contract import TurnStoreContract


class TestMemory(TurnStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[TurnStore]:
        state = SqliteState.in_memory()
        yield SqliteTurns(state)
        await state.close()


class TestSqlite(TurnStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[TurnStore]:
        state = await SqliteState.open(tmp_path / "state.db")
        yield SqliteTurns(state)
        await state.close()


@pytest.mark.services
class TestRedis(TurnStoreContract):
    @pytest.fixture
    def store(self, client: Redis) -> TurnStore:
        return RedisTurns(client)
