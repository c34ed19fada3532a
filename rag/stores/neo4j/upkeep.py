"""The search indexes of collections: made when they are first of use, anew when they have grown in too many steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rag.stores.neo4j import reader, schema
from rag.stores.neo4j.connection import Connection
from rag.stores.neo4j.ledger import State
from rag.stores.neo4j.schema import Server, VectorOptions

REBUILD_FROM = 256
REBUILD_SHARE = 0.25
"""Of a collection's vectors: so many that came since its index was made are worth making it anew."""

_STATES = """
UNWIND $names AS name
MATCH (k:Collection {name: name})
RETURN name, k.vectors, k.pending, k.chunks
"""


def is_due(state: State, attached: int) -> bool:
    """Whether a collection that just got vectors, `attached` since its index was made, is to have it made (anew).

    An index that grew by single commits is many small ones inside: it took 22 ms a question on 5.26 instead of 3.3
    until it was made anew (50,000 chunks), and 17 instead of 3 with 1,125 chunks. Questions are answered from words
    alone meanwhile: a second for a thousand chunks. A share, because what comes in parts that are each complete (an
    import) would otherwise have it made again and again.
    """
    if not state.has_index:
        return True
    return not state.pending and attached >= max(REBUILD_FROM, REBUILD_SHARE * state.chunks)


class Upkeep:
    """What one process makes of indexes."""

    def __init__(self, connection: Connection, options: VectorOptions) -> None:
        self._connection = connection
        self._options = options
        self._has_text: set[str] = set()
        self._attached: Counter[str] = Counter()

    async def texts(self, collections: Iterable[str]) -> None:
        """Full-text indexes, before the first text comes in."""
        for name in collections:
            if name not in self._has_text:
                await schema.make_text_index(self._connection, name)
                self._has_text.add(name)

    async def vectors(
        self,
        server: Server,
        changed: Mapping[str, int],
        dimensions: int,
        states: Mapping[str, State] | None = None,
    ) -> None:
        """After so many chunks of collections got vectors. `states`: of these collections, if known."""
        self._attached.update(changed)
        states = states if states is not None else await self._states(changed)
        for name, state in states.items():
            if is_due(state, self._attached[name]):
                if state.has_index:
                    await schema.drop_vector_index(self._connection, name)
                await schema.make_vector_index(self._connection, server, name, dimensions, self._options)
                self._attached[name] = 0

    async def make_lost(self, server: Server) -> None:
        """Indexes that somebody dropped, or never came to make."""
        text, vectors = await schema.lost_indexes(self._connection)
        for name in text:
            await schema.make_text_index(self._connection, name)
        known = await reader.embedding(self._connection)
        if known is None:
            return
        for name in vectors:
            await schema.drop_vector_index(self._connection, name)  # other processes have to notice that it is new
            await schema.make_vector_index(self._connection, server, name, known[1], self._options)

    async def _states(self, collections: Iterable[str]) -> dict[str, State]:
        if not collections:
            return {}
        rows = await self._connection.read(_STATES, {"names": sorted(collections)})
        return {name: State(*state) for name, *state in rows}
