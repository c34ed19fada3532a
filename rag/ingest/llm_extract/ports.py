"""What extraction needs of a store and of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rag.extracted import UnreadChunk
from rag.generate.llm import Completion
from rag.generate.prompt import Message
from rag.resilience.deadline import Deadline
from rag.transfer.ports import Dumped, DumpPage, Embedding


class Model(Protocol):
    """A language model with its own retries."""

    @property
    def model(self) -> str: ...

    async def complete(self, messages: Sequence[Message], *, deadline: Deadline) -> Completion:
        """The whole answer. Raises a `ModelError`."""
        ...


class ExtractionStore(Protocol):
    """Where chunks are, and what was found in them. Every method may raise a `StoreError`."""

    async def unread(self, collection: str, limit: int, *, after: int = 0) -> tuple[UnreadChunk, ...]:
        """Up to `limit` chunks above the key `after` that no model has read, equal ones only once."""
        ...

    async def keep_extracted(self, collection: str, found: Mapping[str, str]) -> None:
        """Keep what was found (`rag.extracted.encoded`) with all chunks of the collection that have the digest."""
        ...

    async def extracted(self, collection: str) -> Mapping[str, str]:
        """By digest, what was found in this collection."""
        ...

    async def dump(self, collections: frozenset[str], *, after: int = 0, limit: int = 512) -> DumpPage: ...

    async def enrich(self, documents: Sequence[Dumped], embedding: Embedding | None) -> None:
        """Write documents whose sentences got other names: all or none, but not those that changed meanwhile.

        Their text is what it was, so no answer that cites them goes stale.
        """
        ...
