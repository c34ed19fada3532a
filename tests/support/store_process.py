"""A second process on a store, for tests: `python -m tests.support.store_process ingest|remove DATABASE ...`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rag.stores.embedded import EmbeddedStore
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed, make_document

PARTS = 6
"""Chunks of each document."""


async def ingest(database: Path, first: int, last: int) -> None:
    """Write documents and their vectors alternately; a line on standard output after each that is acknowledged."""
    store = EmbeddedStore(database)
    for number in range(first, last):
        await store.put([make_document(f"d{number}", *(f"Part {part} of {number}." for part in range(PARTS)))])
        say(f"written {number}")
        waiting = await store.pending(2)
        await store.attach(EMBEDDER, DIMENSIONS, [(each.key, embed(each.texts)) for each in waiting])
        say(f"embedded {number}")
    await store.close()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def remove(database: Path, *ids: str) -> None:
    store = EmbeddedStore(database)
    await store.remove("public", ids)
    await store.close()


if __name__ == "__main__":
    command, path, *rest = sys.argv[1:]
    asyncio.run(ingest(Path(path), int(rest[0]), int(rest[1])) if command == "ingest" else remove(Path(path), *rest))
