"""A Lua script that Redis keeps by its hash."""

from __future__ import annotations

from hashlib import sha1
from typing import Any

from redis.exceptions import NoScriptError

from bot.state.redis_link import Client


class Script:
    """Runs in one round trip; a Redis that does not know it (any more) is sent the whole text, in a second one.

    It gets one key: the prefix, with a hash tag. All keys that it makes begin with it, and so lie on one node.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._hash = sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Client, prefix: str, *arguments: str | bytes) -> Any:
        """What the script returns."""
        try:
            return await client.execute_command("EVALSHA", self._hash, 1, prefix, *arguments)
        except NoScriptError:
            return await client.execute_command("EVAL", self._text, 1, prefix, *arguments)
