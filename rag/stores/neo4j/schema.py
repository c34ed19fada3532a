"""Constraints and indexes: made where they are missing, in numbered steps; one pair of search indexes a collection.

The embedding's dimensions are known when the first vectors come, so a collection's vector index is made then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rag.errors import InputError, StoreTooNew, StoreUnavailable
from rag.stores.neo4j.connection import COLD_S, Connection

VERSION = 3
OLDEST = (5, 26)

_NAME = re.compile(r"[a-z0-9_]{1,40}")

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE CONSTRAINT grapevine_store IF NOT EXISTS FOR (n:Grapevine) REQUIRE n.id IS UNIQUE",
        "CREATE CONSTRAINT grapevine_collection IF NOT EXISTS FOR (n:Collection) REQUIRE n.name IS UNIQUE",
        (
            "CREATE CONSTRAINT grapevine_document IF NOT EXISTS FOR (n:Document)"
            " REQUIRE (n.collection, n.source, n.id) IS UNIQUE"
        ),
        "CREATE CONSTRAINT grapevine_document_number IF NOT EXISTS FOR (n:Document) REQUIRE n.number IS UNIQUE",
        "CREATE INDEX grapevine_document_id IF NOT EXISTS FOR (n:Document) ON (n.collection, n.id)",
        "CREATE CONSTRAINT grapevine_chunk IF NOT EXISTS FOR (n:Chunk) REQUIRE n.key IS UNIQUE",
        "CREATE INDEX grapevine_chunk_digest IF NOT EXISTS FOR (n:Chunk) ON (n.digest)",
        "CREATE INDEX grapevine_chunk_passage IF NOT EXISTS FOR (n:Chunk) ON (n.passage_id)",
        "CREATE INDEX grapevine_pending IF NOT EXISTS FOR (n:Pending) ON (n.key)",
        "CREATE CONSTRAINT grapevine_entity IF NOT EXISTS FOR (n:Entity) REQUIRE (n.collection, n.name) IS UNIQUE",
        "CREATE INDEX grapevine_entity_name IF NOT EXISTS FOR (n:Entity) ON (n.name)",
        "CREATE INDEX grapevine_statistics IF NOT EXISTS FOR (n:Statistics) ON (n.collection)",
        "CREATE CONSTRAINT grapevine_faq IF NOT EXISTS FOR (n:Faq) REQUIRE n.id IS UNIQUE",
        "MERGE (m:Grapevine {id: 0}) ON CREATE SET m.version = 0, m.next = 1, m.faq_version = 0",
    ),
    ("CREATE INDEX grapevine_related IF NOT EXISTS FOR ()-[r:RELATED]-() ON (r.chunk)",),
    # From format 3 on new vectors are bytes. Lists of floats stay as they are, and are found beside them; what read
    # only those must not read on. Chunks say what is shown of their document, and documents where they begin.
    (
        (
            "MATCH (d:Document) WHERE d.card IS NOT NULL CALL (d) { MATCH (d)-[:HAS]->(c:Chunk) WHERE c.origin IS NULL"
            " SET c.origin = d.card } IN TRANSACTIONS OF 100 ROWS"
        ),
        (
            "MATCH (d:Document) WHERE d.card IS NOT NULL CALL (d) {"
            " OPTIONAL MATCH (d)-[:HAS]->(c:Chunk {ordinal: 0}) WHERE NOT c:Stale"
            " SET d.first = c.key REMOVE d.card } IN TRANSACTIONS OF 1000 ROWS"
        ),
        (
            "MATCH (c:Chunk) WHERE c.extracted IS NOT NULL AND NOT c:Stale WITH DISTINCT c.collection AS name"
            " MATCH (k:Collection {name: name}) SET k.extracted = true"
        ),
    ),
)
"""Step n leads from version n to n + 1. Every statement may be repeated: two processes may start at once."""
_OF_FORMAT_2 = "MATCH (d:Document) WHERE d.card IS NOT NULL RETURN 1 LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorOptions:
    """How vectors are indexed: more connections find more of the true neighbours, and cost time on writing."""

    m: int = 16
    ef_construction: int = 200
    """100, the server's default, finds .02 to .04 less."""
    quantisation: str = "none"
    """`none` or `scalar` (a quarter of the memory; costs .03 of recall on 5.26, nothing on 2026.x) or `binary`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the server is."""

    version: tuple[int, int]
    name: str

    @property
    def has_search_clause(self) -> bool:
        """Whether Cypher 25's `SEARCH` is there; the procedures that it replaces are to go."""
        return self.version >= (2026, 1)

    @property
    def has_quantisation_type(self) -> bool:
        return self.version >= (2026, 6)


async def inspect(connection: Connection) -> Server:
    """Ask for the version. Raises `StoreUnavailable` for a server that is too old, or none."""
    rows = await connection.read(
        "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions",
        seconds=COLD_S,
    )
    return server_of(str(rows[0][0][0]) if rows else "?")


def server_of(name: str) -> Server:
    """From a version's name. Raises `StoreUnavailable` if it is too old."""
    found = re.match(r"(\d+)\.(\d+)", name)
    version = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    if version < OLDEST:
        raise StoreUnavailable(f"Neo4j {name} is too old: 5.26 LTS or newer is needed (NEO4J_URI).")
    return Server(version=version, name=name)


async def prepare(connection: Connection) -> None:
    """Bring the database to this version. Raises `StoreTooNew`, `StoreUnavailable`."""
    rows = await connection.read("MATCH (m:Grapevine {id: 0}) RETURN m.version", seconds=COLD_S)
    version = int(rows[0][0]) if rows else 0
    if version > VERSION:
        raise StoreTooNew(
            f"the database in Neo4j comes from a newer version of Grapevine (its format is {version}, this version "
            f"reads {VERSION}). Update Grapevine, or choose another NEO4J_DATABASE."
        )
    for number in range(version, VERSION):
        await connection.change_schema(*_STEPS[number])
        await connection.change_schema(
            f"MATCH (m:Grapevine {{id: 0}}) WHERE m.version < {number + 1} SET m.version = {number + 1}"
        )
    # A process of an earlier version that still ran has written on in its own format.
    if await connection.read(_OF_FORMAT_2, seconds=COLD_S):
        await connection.change_schema(*_STEPS[2])


def checked(collection: str) -> str:
    """The name, fit to be part of a label and of an index's name. Raises `InputError`."""
    if not _NAME.fullmatch(collection):
        raise InputError(f"{collection!r} is no collection: 1 to 40 of a-z, 0-9 and _")
    return collection


def label(collection: str) -> str:
    """The label of its chunks."""
    return f"In_{checked(collection)}"


def text_index(collection: str) -> str:
    return f"grapevine_text_{checked(collection)}"


def vector_index(collection: str) -> str:
    return f"grapevine_vector_{checked(collection)}"


async def make_text_index(connection: Connection, collection: str) -> None:
    """The full-text index of a collection, over our own terms: Lucene only splits them at blanks."""
    await connection.change_schema(
        f"CREATE FULLTEXT INDEX {text_index(collection)} IF NOT EXISTS FOR (n:{label(collection)})"
        " ON EACH [n.marked, n.folded] OPTIONS {indexConfig: {`fulltext.analyzer`: 'whitespace'}}",
        f"CALL db.awaitIndex('{text_index(collection)}', 300)",
    )


async def make_vector_index(
    connection: Connection, server: Server, collection: str, dimensions: int, options: VectorOptions
) -> None:
    """The vector index of a collection, ready to be asked when this returns."""
    settings: dict[str, Any] = {
        "vector.dimensions": dimensions,
        "vector.similarity_function": "'cosine'",
        "vector.hnsw.m": options.m,
        "vector.hnsw.ef_construction": options.ef_construction,
    }
    # Explicit, because the default changed from scalar to binary in 2026.08.
    if server.has_quantisation_type:
        settings["vector.quantization.type"] = f"'{options.quantisation}'"
    else:
        settings["vector.quantization.enabled"] = "false" if options.quantisation == "none" else "true"
    config = ", ".join(f"`{name}`: {value}" for name, value in settings.items())
    await connection.change_schema(
        f"CREATE VECTOR INDEX {vector_index(collection)} IF NOT EXISTS FOR (n:{label(collection)})"
        f" ON (n.embedding) OPTIONS {{indexConfig: {{{config}}}}}",
        f"CALL db.awaitIndex('{vector_index(collection)}', 600)",
        f"MATCH (m:Grapevine {{id: 0}}), (k:Collection {{name: '{collection}'}}) WHERE m.dimensions = {dimensions}"
        " SET k.vectors = true",
    )
    if not await connection.read(f"MATCH (m:Grapevine {{id: 0}}) WHERE m.dimensions = {dimensions} RETURN 1"):
        await drop_vector_index(connection, collection)  # another model took over meanwhile


async def drop_vector_index(connection: Connection, collection: str) -> None:
    """Questions are answered from words alone until it is made again."""
    await connection.change_schema(
        f"MATCH (k:Collection {{name: '{checked(collection)}'}}) SET k.vectors = false",
        f"DROP INDEX {vector_index(collection)} IF EXISTS",
    )


async def collections(connection: Connection) -> tuple[str, ...]:
    """All that there ever were: emptied ones keep their indexes."""
    return tuple(row[0] for row in await connection.read("MATCH (k:Collection) RETURN k.name ORDER BY k.name"))


async def online_indexes(connection: Connection) -> frozenset[str]:
    """The names of our indexes that can be asked."""
    rows = await connection.read(
        "SHOW INDEXES YIELD name, state WHERE name STARTS WITH 'grapevine' AND state = 'ONLINE' RETURN name",
        is_beside=True,
    )
    return frozenset(row[0] for row in rows)


async def lost_indexes(connection: Connection) -> tuple[list[str], list[str]]:
    """Collections without their full-text index, and those without a vector index though there are vectors."""
    there = await connection.read("SHOW INDEXES YIELD name WHERE name STARTS WITH 'grapevine' RETURN name")
    names = {row[0] for row in there}
    held = await connection.read("MATCH (k:Collection) RETURN k.name, k.chunks > k.pending")
    return (
        [name for name, _ in held if text_index(name) not in names],
        [name for name, has_vectors in held if has_vectors and vector_index(name) not in names],
    )


async def check_indexes(connection: Connection) -> None:
    """Raises `StoreUnavailable` naming an index of ours that is not ready."""
    rows = await connection.read(
        "SHOW INDEXES YIELD name, state, populationPercent WHERE name STARTS WITH 'grapevine' AND state <> 'ONLINE'"
        " RETURN name, state, populationPercent"
    )
    for name, state, percent in rows:
        if state == "POPULATING":
            raise StoreUnavailable(f"Neo4j is still building the index {name} ({percent:.0f} %): wait a little.")
        raise StoreUnavailable(
            f"the index {name} in Neo4j has failed: drop it (`DROP INDEX {name}`), then start `grapevine serve` again."
        )
    text, vectors = await lost_indexes(connection)
    if text or vectors:
        lost = ", ".join([*map(text_index, text), *map(vector_index, vectors)])
        raise StoreUnavailable(f"Neo4j lacks the index {lost}: start `grapevine serve` again, it makes them anew.")
