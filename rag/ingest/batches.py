"""Documents of many files into few transactions; a file's outcome is told once all of it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from rag.ingest.meter import Meter
from rag.ingest.outcome import FileOutcome
from rag.records import Document

_CHUNKS = 512
_SECONDS = 0.5
"""A document waits at most so long for others to share its transaction."""


@dataclass(slots=True, kw_only=True)
class Batches:
    """What waits to be written. Memory is bounded: whoever fills a batch writes it before reading on."""

    put: Callable[[Sequence[Document]], Awaitable[None]]
    meter: Meter
    clock: Callable[[], float]
    _documents: list[Document] = field(default_factory=list)
    _chunks: int = 0
    _settled: list[tuple[FileOutcome, int]] = field(default_factory=list)
    _written_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def add(self, document: Document) -> None:
        """Write `document` with the next batch, now if that is full."""
        self._documents.append(document)
        self._chunks += len(document.chunks)
        if self._chunks >= _CHUNKS:
            await self.flush()

    async def settle(self, outcome: FileOutcome, size: int) -> None:
        """A file is done; tell so once everything added before is written."""
        self._settled.append((outcome, size))
        if not self._documents or self.clock() - self._written_at > _SECONDS:
            await self.flush()

    async def flush(self) -> None:
        """Write the batch in one transaction, then tell what became of its files. Raises a `StoreError`."""
        async with self._lock:
            documents, self._documents, self._chunks = self._documents, [], 0
            settled, self._settled = self._settled, []
            if documents:
                await self.put(documents)
            self.meter.chunks += sum(len(document.chunks) for document in documents)
            self._written_at = self.clock()
        for outcome, size in settled:
            self.meter.settled(outcome, size)
