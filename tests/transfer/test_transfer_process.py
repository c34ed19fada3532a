"""`grapevine export` and `grapevine import` as processes."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from rag.ingest.vectors import attach_pending
from rag.ports import Vectors
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from tests.retrieval.conftest import WordCounts, document
from tests.support.neo4j import empty_neo4j
from tests.support.process import COMMAND, environment, grapevine
from tests.transfer.conftest import exported, without_vectors

MODEL = "openai:word-counts"
PUBLIC = frozenset({"public"})


class Endpoint(WordCounts):
    """Vectors as if from an endpoint, so that an import that needed any would find nobody there."""

    name = MODEL

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        return await super().embed(texts, urgent=urgent)


async def library(path: Path, count: int) -> None:
    store = EmbeddedStore(path)
    try:
        await store.put([document(f"d{at}", f"Number {at} is kept in hall {at}.") for at in range(count)])
        await attach_pending(store, Endpoint())
    finally:
        await store.close()


async def test_one_command_out_and_one_command_in(tmp_path: Path) -> None:
    """Nothing is embedded again (there is no endpoint), and the same export comes out of the new store"""
    data, other = tmp_path / "data", tmp_path / "other"
    await library(data / "knowledge.db", 3)
    out = await grapevine("export", "all.jsonl", "--json", data=data)
    assert out.code == 0, out.err
    assert json.loads(out.out)["documents"] == 3
    file = tmp_path / "all.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done = await grapevine("import", "all.jsonl", data=other, EMBEDDING_MODEL=MODEL)
    assert (done.code, done.out) == (0, "imported 3 documents, 3 chunks, 0 FAQs\n"), done.err
    assert '"action": "import"' in done.err
    piped = await grapevine("export", "-", data=other)
    assert piped.out.encode() == file.read_bytes()
    again = await grapevine("import", "-", stdin=piped.out.encode(), data=other, EMBEDDING_MODEL=MODEL)
    assert again.out == "imported 3 documents (3 were there already), 3 chunks, 0 FAQs\n"


async def test_errors_are_one_line_with_the_cure(tmp_path: Path) -> None:
    """A cut file, another model than the configured one, a missing file: exit code 1, and nothing is imported"""
    data, other = tmp_path / "data", tmp_path / "other"
    await library(data / "knowledge.db", 3)
    await grapevine("export", "all.jsonl", data=data)
    content = (tmp_path / "all.jsonl").read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(content[: len(content) // 2])
    for file, said in [
        ("cut.jsonl", "grapevine: cut.jsonl, line 3: the file ends within this line: it was cut off; "),
        ("all.jsonl", f"grapevine: the vectors in all.jsonl come from {MODEL} (256 dimensions), but EMBEDDING_MODEL"),
        ("none.jsonl", "grapevine: none.jsonl: No such file"),
    ]:
        done = await grapevine("import", file, data=other)
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
        assert done.err.startswith(said)
    store = EmbeddedStore(other / "knowledge.db")
    assert await store.counts() == {}
    await store.close()


async def test_an_unfinished_export_leaves_no_file(tmp_path: Path) -> None:
    """A collection that does not exist: neither FILE nor a half of it, and a former FILE stays"""
    data = tmp_path / "data"
    await library(data / "knowledge.db", 1)
    (tmp_path / "all.jsonl").write_text("former")
    done = await grapevine("export", "all.jsonl", "--collection", "nix", data=data)
    assert (done.code, done.err) == (1, "grapevine: there is no collection nix; there are: public.\n")
    assert (tmp_path / "all.jsonl").read_text() == "former"
    assert await asyncio.to_thread(os.listdir, tmp_path) in (["all.jsonl", "data"], ["data", "all.jsonl"])


async def test_a_killed_import_is_finished_by_the_next(tmp_path: Path) -> None:
    """Killed without warning in the midst of writing, run again: every document is there, whole, exactly once"""
    data, other = tmp_path / "data", tmp_path / "other"
    await library(data / "knowledge.db", 3000)
    source, target = EmbeddedStore(data / "knowledge.db"), EmbeddedStore(other / "knowledge.db")
    try:
        content = await exported(source)
        (tmp_path / "all.jsonl").write_bytes(content)
        killed = await asyncio.create_subprocess_exec(
            *(*COMMAND, "import", "all.jsonl"),
            env=environment(other, EMBEDDING_MODEL=MODEL),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(60):
            while not await target.counts():
                await asyncio.sleep(0.005)
        killed.kill()
        await killed.wait()
        assert (await target.counts())["public"].pending == 0
        done = await grapevine("import", "all.jsonl", data=other, EMBEDDING_MODEL=MODEL)
        assert done.code == 0, done.err
        assert await exported(target) == content
    finally:
        await source.close()
        await target.close()


@pytest.mark.services
@pytest.mark.parametrize("version", ["5", "2026"])
async def test_to_neo4j_and_back_nothing_is_embedded_again(tmp_path: Path, version: str) -> None:
    """Two commands there and two back, with no endpoint to embed at: documents, names, FAQs and answers are equal"""
    first, last = tmp_path / "first", tmp_path / "last"
    await library(first / "knowledge.db", 20)
    asked = await grapevine("faq", "add", "Opening hours?", "--answer", "Nine to five.", data=first)
    assert asked.code == 0, asked.err
    async with empty_neo4j(version) as neo4j:
        graph = {"NEO4J_URI": neo4j.server.uri, "NEO4J_PASSWORD": neo4j.server.password, "EMBEDDING_MODEL": MODEL}
        for arguments, data, settings in (
            (("export", "out.jsonl"), first, {}),
            (("import", "out.jsonl"), tmp_path / "graph", graph),
            (("export", "back.jsonl"), tmp_path / "graph", graph),
            (("import", "back.jsonl"), last, {"EMBEDDING_MODEL": MODEL}),
        ):
            done = await grapevine(*arguments, data=data, stdin=b"", **settings)
            assert done.code == 0, done.err
    stores = [EmbeddedStore(data / "knowledge.db") for data in (first, last)]
    try:
        before, after = [await exported(store) for store in stores]
        assert without_vectors(after) == without_vectors(before)
        found = [
            [
                (passage.document, pytest.approx(passage.score, abs=1e-3))
                for passage in (await Search(store, Endpoint()).retrieve(text, collections=PUBLIC)).passages
            ]
            for store in stores
            for text in ("Which number is kept in hall 7?", "hall 13")
        ]
        assert found[0]
        assert found[:2] == found[2:]
    finally:
        for store in stores:
            await store.close()
