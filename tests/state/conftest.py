"""Stores for the tests of the state: memory, a file, a Redis of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.support.redis_server import VERSIONS, RedisServer, client_of, redis_server


@pytest.fixture(scope="session")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(params=VERSIONS)
async def redis(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RedisServer]:
    """A Redis that the test may stop."""
    async with redis_server(tmp_path, request.param) as server:
        yield server


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    client = client_of(redis.url)
    yield client
    await client.aclose()
