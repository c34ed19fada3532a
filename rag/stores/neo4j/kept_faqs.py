"""A copy of the FAQs on this machine, so that a process that starts without its database still answers them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import orjson

from rag.cache.faq import Faq, FaqStore, PutOutcome
from rag.errors import StoreUnavailable
from rag.stores.neo4j.faqs import faq_of, properties_of

_NEVER_READ = -1


class KeptFaqs:
    """A `FaqStore` over another one; reads the copy only as long as that one has not been reached yet."""

    def __init__(self, store: FaqStore, path: Path) -> None:
        """`path`: the copy, readable by its owner only."""
        self._store = store
        self._path = path
        self._is_read = False

    async def faq_version(self) -> int:
        """The store's; one of its own for the copy. Raises a `StoreError`."""
        try:
            return await self._store.faq_version()
        except StoreUnavailable:
            if self._is_read:
                raise
            return _NEVER_READ

    async def faqs(self) -> tuple[Faq, ...]:
        """The store's, or the copy's. Raises a `StoreError`."""
        try:
            found = await self._store.faqs()
        except StoreUnavailable:
            if self._is_read:
                raise
            self._is_read = True
            return await asyncio.to_thread(self._copied)
        self._is_read = True
        await asyncio.to_thread(self._copy, found)
        return found

    async def faq(self, faq_id: str) -> Faq | None:
        """See `FaqStore`."""
        return await self._store.faq(faq_id)

    async def put_faq(self, faq: Faq) -> None:
        """See `FaqStore`."""
        await self._store.put_faq(faq)

    async def put_faq_if(self, faq: Faq, *, epoch: int, former: Faq | None) -> PutOutcome:
        """See `FaqStore`."""
        return await self._store.put_faq_if(faq, epoch=epoch, former=former)

    async def remove_faq(self, faq_id: str) -> Faq | None:
        """See `FaqStore`."""
        return await self._store.remove_faq(faq_id)

    def _copied(self) -> tuple[Faq, ...]:
        try:
            return tuple(faq_of(values) for values in orjson.loads(self._path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or cut short: as if there were no FAQs
            return ()

    def _copy(self, faqs: tuple[Faq, ...]) -> None:
        content = orjson.dumps([properties_of(faq) for faq in faqs])
        part = self._path.with_suffix(".part")
        try:
            if self._path.exists() and self._path.read_bytes() == content:
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            part.replace(self._path)
        except OSError:  # a full disk takes no FAQ away: the copy is only a little older
            part.unlink(missing_ok=True)
