"""Neo4j pauses for twenty seconds in the middle of questions and of an ingest: the processes live through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from tests.support.neo4j import EmptyNeo4j, empty_neo4j
from tests.support.process import Finished, grapevine, serving
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(300)]

PAUSE_S = 20.0
DEADLINE_S = "4"
DOCUMENTS = 40
FEES = "What does cancelling cost?"
_HALF_WRITTEN = """
MATCH (d:Document)
WITH d, COUNT { (d)-[:HAS]->(:Chunk) } AS held
WITH count(CASE WHEN held <> d.chunks THEN 1 END) AS documents
OPTIONAL MATCH (c:Chunk) WHERE (c.embedding IS NULL) <> c:Pending
RETURN documents, count(c)
"""
_COUNTED = "MATCH (k:Collection {name: 'public'}) RETURN k.documents, 0 < k.pending < k.chunks"


def write_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "fees.md").write_text("# Fees\n\nCancelling costs ten euros.\n", encoding="utf-8")
    for at in range(DOCUMENTS):
        sections = "\n\n".join(
            f"## Part {part}\n\n" + f"Hall {at} has room {part} for {part + at} guests. " * 12 for part in range(4)
        )
        (folder / f"hall-{at}.md").write_text(f"# Hall {at}\n\n{sections}\n", encoding="utf-8")


async def until_vectors_come(neo4j: EmptyNeo4j, ingest: asyncio.Task[Finished]) -> None:
    """All texts are in, some vectors too, and others are still to come."""
    while not ingest.done():
        counted = await neo4j.run(_COUNTED)
        if counted == [[DOCUMENTS + 1, True]]:
            return
    raise AssertionError(f"the ingest was over before the pause: {ingest.result()}")


@asynccontextmanager
async def proxied(neo4j: EmptyNeo4j) -> AsyncIterator[Proxy]:
    """Pausing the server itself would pause it for everybody else who tests with it."""
    target = urlsplit(neo4j.server.uri)
    proxy = Proxy(target.hostname or "", target.port or 0)
    await proxy.up()
    try:
        yield proxy
    finally:
        proxy.thaw()
        await proxy.down()


async def ask(client: ClientSession, question: str) -> tuple[int, dict[str, Any]]:
    async with client.post("/api/v1/ask", json={"question": question}) as response:
        found: dict[str, Any] = await response.json()
        return response.status, found


async def test_a_pause_of_twenty_seconds(tmp_path: Path) -> None:
    """Questions end in time and say so, FAQs are answered, an ingest goes on, nothing is half written or restarted"""
    async with empty_neo4j("5") as neo4j, proxied(neo4j) as proxy:
        settings = {
            "NEO4J_URI": proxy.uri,
            "NEO4J_PASSWORD": neo4j.server.password,
            "GRAPEVINE_DEADLINE_S": DEADLINE_S,
        }
        data = tmp_path / "data"
        write_folder(tmp_path / "folder")
        done = await grapevine(
            "faq", "add", "Opening hours?", "--answer", "Nine to five.", data=data, stdin=b"", **settings
        )
        assert done.code == 0, done.err
        async with serving(data, **settings) as server, ClientSession(server.address) as client:
            ingest = asyncio.create_task(
                grapevine("ingest", str(tmp_path / "folder"), data=data, stdin=b"", **settings)
            )
            await until_vectors_come(neo4j, ingest)
            under_way = asyncio.create_task(ask(client, FEES))
            await asyncio.sleep(0)
            proxy.freeze()
            pause = asyncio.create_task(asyncio.sleep(PAUSE_S))
            asked = [ask(client, f"How many guests fit into hall {at}?") for at in range(3)]
            for status, said in await asyncio.gather(under_way, *asked):
                # Whichever of the two clocks strikes first; both say what to do.
                assert (status, said["error"]["code"]) in {(504, "timeout"), (503, "store_unavailable")}
                assert "Please try again" in said["error"]["message"]
            status, said = await ask(client, "Opening hours?")
            assert (status, said["answer"]) == (200, "Nine to five.")
            assert await neo4j.run(_HALF_WRITTEN) == [[0, 0]]
            assert not pause.done()
            assert not ingest.done()
            await pause
            proxy.thaw()
            status, said = await ask(client, FEES)
            assert status == 200
            assert "ten euros" in said["answer"]
            done = await ingest
            assert done.code == 0, done.err
        assert await neo4j.run(_HALF_WRITTEN) == [[0, 0]]
        assert await neo4j.run("MATCH (k:Collection) RETURN k.name, k.pending") == [["public", 0]]
