"""Whether the knowledge store is there: a database may come after the bot, and the bot does not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from rag.errors import LoginRefused, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from rag.ports import Embedder, KnowledgeStore

RETRY_S = 1.0
RETRY_LOGIN_S = 30.0
"""Three wrong passwords lock a login for five seconds, for everybody who uses it."""

log = structlog.get_logger(__name__)


class Presence:
    """A store, and what keeps it from being used, if anything does."""

    def __init__(self, store: KnowledgeStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self.problem: str | None = None
        """One line for operators; None: the store was there and fitted when last looked."""

    async def connect(self) -> None:
        """Open the store, and see whether its vectors come from this embedder. Raises a `StoreError`."""
        await self._store.open()
        await self._store.check_embedding(self._embedder.name, self._embedder.dimensions)
        self.problem = None

    async def connect_or_wait(self) -> None:
        """The same, but a store that cannot be reached is only noted; `follow` goes on trying."""
        try:
            await self.connect()
        except LoginRefused:  # waiting mends no password
            raise
        except StoreUnavailable as error:
            self.problem = str(error)

    async def follow(
        self, load: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Return once the store is there and `load` has made it ready."""
        pause_s = RETRY_S
        while self.problem is not None:
            await sleep(pause_s)
            try:
                await self.connect()
                await load()
            except StoreError as error:
                if self.problem != str(error):
                    log.warning("store_away", cause=str(error))
                self.problem = str(error)
                pause_s = RETRY_LOGIN_S if isinstance(error, LoginRefused) else RETRY_S
            else:
                log.info("store_connected")
