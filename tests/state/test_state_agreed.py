"""Keys that replicas have in common, so that what one signs or counts under, another one recognises."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.state.agreed import agreed_secret
from bot.state.redis_link import RedisLink
from bot.state.sqlite import SqliteState
from tests.support.redis_server import RedisServer, client_of

pytestmark = pytest.mark.services


async def test_replicas_agree_on_a_key_and_keep_it(redis: RedisServer, tmp_path: Path) -> None:
    """Two folders with keys of their own use one as soon as they share Redis, and still do when Redis is gone"""
    one, other = [await SqliteState.open(tmp_path / name / "state.db") for name in ("one", "other")]
    client = client_of(redis.url)
    link = RedisLink(client, timeout_s=5.0)
    try:
        assert await one.kept_secret("key") != await other.kept_secret("key")
        await link.connect()
        agreed = [await agreed_secret(state, link, "key") for state in (one, other, one)]
        assert len(set(agreed)) == 1
        assert await agreed_secret(other, link, "another key") != agreed[0]
        await redis.kill()
        assert await agreed_secret(other, link, "key") == agreed[0]
        assert await other.kept_secret("key") == agreed[0]
    finally:
        await client.aclose()
        await one.close()
        await other.close()


async def test_without_redis_a_folder_has_its_own_key(tmp_path: Path) -> None:
    """Each folder makes a key once and keeps it"""
    state = await SqliteState.open(tmp_path / "state.db")
    try:
        assert await agreed_secret(state, None, "key") == await agreed_secret(state, None, "key")
    finally:
        await state.close()
