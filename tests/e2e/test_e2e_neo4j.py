"""The bot over Neo4j, as a process: ingest, ask, export, and a start before the database is there."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from tests.support.neo4j import EmptyNeo4j, empty_neo4j
from tests.support.process import grapevine, serving
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(300)]


def login(neo4j: EmptyNeo4j, uri: str | None = None) -> dict[str, str]:
    return {"NEO4J_URI": uri or neo4j.server.uri, "NEO4J_PASSWORD": neo4j.server.password}


async def test_a_start_without_the_database(tmp_path: Path) -> None:
    """Without its database the bot starts, answers FAQs it knows, says it is not ready, and connects when it comes"""
    async with empty_neo4j("5") as neo4j:
        target = urlsplit(neo4j.server.uri)
        proxy = Proxy(target.hostname or "", target.port or 0)
        data = tmp_path / "data"
        (tmp_path / "fees.md").write_text("# Fees\n\nCancelling costs ten euros.\n", encoding="utf-8")
        done = await grapevine("ingest", str(tmp_path / "fees.md"), data=data, stdin=b"", **login(neo4j))
        assert done.code == 0, done.err
        done = await grapevine(
            "faq", "add", "Opening hours?", "--answer", "Nine to five.", data=data, stdin=b"", **login(neo4j)
        )
        assert done.code == 0, done.err
        async with serving(data, **login(neo4j)) as server, ClientSession(server.address) as client:
            assert (await ask(client, "Opening hours?"))["answer"] == "Nine to five."
            assert "ten euros" in (await ask(client, "What does cancelling cost?"))["answer"]
        try:
            async with (
                serving(data, **login(neo4j, proxy.uri)) as server,
                ClientSession(server.address) as client,
            ):
                async with client.get("/readyz") as response:
                    assert response.status == 503
                    assert "knowledge store" in json.dumps(await response.json())
                assert (await ask(client, "Opening hours?"))["answer"] == "Nine to five."
                await proxy.up()
                while True:
                    async with client.get("/readyz") as response:
                        if response.status == 200:
                            break
                assert "ten euros" in (await ask(client, "What does cancelling cost?"))["answer"]
        finally:
            await proxy.down()


async def test_growing_from_the_file_to_the_database(tmp_path: Path) -> None:
    """An export of the embedded store, imported into Neo4j, answers the same question from the same passage"""
    (tmp_path / "fees.md").write_text("# Fees\n\nCancelling costs ten euros.\n", encoding="utf-8")
    small, moved = tmp_path / "small", tmp_path / "all.jsonl"
    assert (await grapevine("ingest", str(tmp_path / "fees.md"), data=small)).code == 0
    assert (await grapevine("export", str(moved), data=small)).code == 0
    async with empty_neo4j("2026") as neo4j:
        done = await grapevine("import", str(moved), data=tmp_path / "large", stdin=b"", **login(neo4j))
        assert done.code == 0, done.err
        question = ("ask", "--passages", "-k", "1", "--json", "What does cancelling cost?")
        before = await grapevine(*question, data=small)
        after = await grapevine(*question, data=tmp_path / "large", stdin=b"", **login(neo4j))
        assert after.code == 0, after.err
        ids = [json.loads(each.out)[0]["passage_id"] for each in (before, after)]
        assert ids[0] == ids[1]


async def ask(client: ClientSession, question: str) -> dict[str, str]:
    async with client.post("/api/v1/ask", json={"question": question}) as response:
        found: dict[str, str] = await response.json()
        return found


async def test_how_the_pool_does_is_shown_to_admins(tmp_path: Path) -> None:
    """Connections in use, idle and waited for at /monitoring/pool-status; nothing without the admin token"""
    token = "a-token-for-one-test-only-0123456789"
    async with empty_neo4j("2026") as neo4j:
        settings = login(neo4j) | {"GRAPEVINE_ADMIN_TOKEN": token}
        async with serving(tmp_path / "data", **settings) as server, ClientSession(server.address) as client:
            async with client.get("/monitoring/pool-status") as response:
                assert response.status == 401
            await ask(client, "What does cancelling cost?")
            async with client.get("/monitoring/pool-status", headers={"Authorization": f"Bearer {token}"}) as response:
                pool = (await response.json())["pools"]["neo4j"]
    assert pool.keys() == {"limit", "in_use", "idle", "waiting", "wait_ms", "longest_wait_ms"}
    assert pool["idle"] >= 1
    assert pool["in_use"] == pool["waiting"] == 0
    assert pool["limit"] >= 1
