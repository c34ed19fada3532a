"""The store's side that keeps FAQs (`rag.cache.faq.FaqStore`): each call one transaction of `faqs`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rag.cache.faq import Faq, PutOutcome
from rag.stores.neo4j import faqs
from rag.stores.neo4j.connection import Connection


class FaqNodes(ABC):
    """FAQs of a database, for a class that has a connection to it."""

    _connection: Connection

    @abstractmethod
    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises what is wrong."""

    async def put_faq(self, faq: Faq) -> None:
        """Add a FAQ, or replace the one with its id."""
        await self.open()
        await self._connection.write(lambda t: faqs.put(t, faq))

    async def put_faq_if(self, faq: Faq, *, epoch: int, former: Faq | None) -> PutOutcome:
        """The same, if neither the collection's documents nor the FAQ changed meanwhile."""
        await self.open()
        return await self._connection.write(lambda t: faqs.put_if(t, faq, epoch, former))

    async def remove_faq(self, faq_id: str) -> Faq | None:
        """Remove and return a FAQ; None if there is none."""
        await self.open()
        return await self._connection.write(lambda t: faqs.remove(t, faq_id))

    async def faq(self, faq_id: str) -> Faq | None:
        """The FAQ with this id; None if there is none."""
        await self.open()
        found = faqs.all_of(await self._connection.read(faqs.ONE, {"id": faq_id}))
        return found[0] if found else None

    async def faqs(self) -> tuple[Faq, ...]:
        """All FAQs."""
        await self.open()
        return faqs.all_of(await self._connection.read(faqs.EVERYTHING))

    async def faq_version(self) -> int:
        """Grows with every change to any FAQ."""
        await self.open()
        rows = await self._connection.read(faqs.VERSION)
        return int(rows[0][0]) if rows else 0
