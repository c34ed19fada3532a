"""Keys that all replicas use alike: the first one's, kept in Redis, and on every disk for when Redis is away."""

from __future__ import annotations

from typing import cast

from bot.state.redis_link import RedisAway, RedisLink
from bot.state.sqlite import SqliteState


async def agreed_secret(state: SqliteState, link: RedisLink | None, name: str) -> bytes:
    """The key of this name: what one replica signs or counts under, the others recognise.

    Without Redis, and where it cannot be reached, what this folder has: agreed on before, if it ever was.
    """
    own = await state.kept_secret(name)
    if link is None:
        return own
    try:
        kept = await link.insist(link.client.set(f"{link.prefix}:kept:{name}", own, nx=True, get=True))
    except RedisAway:
        return own
    agreed = own if kept is None else cast("bytes", kept)
    if agreed != own:
        await state.keep_secret(name, agreed)
    return agreed
