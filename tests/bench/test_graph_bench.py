"""The comparison on Neo4j (`bench.graph`) on a handful of documents, without the peers' packages."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.graph import Options, run_server
from bench.graph_contestants import fused
from bench.graph_data import LARGE, REAL, fill, recall_at_5
from bench.graph_light import light_graph, light_passages
from bench.graph_peers import NEIGHBOURS, keywords
from bench.graph_table import HYBRID, Tally, rows_of, verdicts
from bench.retrieval import like_originals, make_document, names
from rag.embeddings.minilm import MiniLM
from rag.evaluate import AskedQuestion
from rag.stores.neo4j.connection import Connection
from tests.support.neo4j import empty_neo4j

DOCUMENTS = {
    "Tiger/Line": "Tiger/Line is a map format that Ada Lovelace described in London. It holds the streets of a town.",
    "Ada Lovelace": "Ada Lovelace wrote the first program for the Analytical Engine. She lived in London for years.",
    "Analytical Engine": "The Analytical Engine was designed by Charles Babbage and was never finished in his life.",
    "Charles Babbage": "Charles Babbage was born in London and taught mathematics at Cambridge for eleven years.",
}
WORDS = ["".join(letters) for letters in product("bdfk", "aeo", "lmnr")]
SENTENCES = [f"Nobody saw the {word} for years{'' if at % 3 else '.'}" for at, word in enumerate(WORDS)]
"""Of which each has a word of its own, and most do not end as sentences do, so that several are taken for one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = [json.dumps({"id": title, "title": title, "text": text}) for title, text in DOCUMENTS.items()]
    folder.joinpath("corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    question = {
        "question": "Who designed the engine that Ada Lovelace wrote a program for?",
        "relevant": ["Analytical Engine", "Ada Lovelace"],
    }
    folder.joinpath("questions.jsonl").write_text(json.dumps(question), encoding="utf-8")
    return folder


@pytest.fixture
async def embedder() -> AsyncIterator[MiniLM]:
    embedder = MiniLM.load(threads=1)
    yield embedder
    await embedder.close()


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.parametrize("version", ["5", "2026"])
async def test_all_contestants_answer_on_both_collections(
    version: str, folder: Path, embedder: MiniLM, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small run ends with a table for each collection, in which ours and the bare call find the evidence."""
    options = Options(data=folder, folder=folder, socket=folder / "none", chunks=40, rounds=1)
    tables = await run_server(version, options, embedder)
    contestants = {"bare", "ours", "bare, embedding included", "ours, embedding included"}
    for collection in (REAL, LARGE):
        assert {(row["clients"], row["name"]) for row in tables[collection]} == {
            (clients, name) for clients in (1, 50) for name in contestants
        }
    assert {row["recall_at_5"] for row in tables[REAL]} == {1.0}
    printed = capsys.readouterr().out
    assert printed.count("load average") == 2
    assert "goal: ours at most 1.5 x bare, 50 clients: p50" in printed


@pytest.mark.services
async def test_what_the_peers_are_given_fits_the_graph(folder: Path, embedder: MiniLM) -> None:
    """The peers' query finds linked passages in the stored graph; LightRAG's passages name their documents."""
    async with empty_neo4j("2026") as neo4j:
        store = await neo4j.open_store()
        connection = Connection(neo4j.driver(), address=neo4j.server.uri, database="neo4j", pool_size=8)
        await fill(store, connection, embedder, folder, 0)
        rows = await connection.read("MATCH (node:Chunk) WITH node, 1.0 AS score " + NEIGHBOURS)
        linked = {str(row[0]): {name for name, _ in row[3]} for row in rows}
        graph = await light_graph(store, REAL)
        passages, vectors = await light_passages(store, REAL)
        await store.close()
    assert linked["Ada Lovelace"] == {"Analytical Engine"}
    paths = {chunk["content"].split("\n")[0]: chunk["file_path"] for chunk in graph["chunks"]}
    assert {title: graph["documents"][int(path)] for title, path in paths.items()} == {name: name for name in DOCUMENTS}
    assert passages == {"documents": graph["documents"], "chunks": graph["chunks"]}
    nearest = (await embedder.embed([chunk["content"] for chunk in passages["chunks"]]) @ vectors.T).argmax(axis=1)
    assert nearest.tolist() == list(range(len(DOCUMENTS)))
    described = {entity["entity_name"] for entity in graph["entities"]}
    assert {link[end] for link in graph["relationships"] for end in ("src_id", "tgt_id")} <= described
    assert ("Ada Lovelace", "Analytical Engine") in {
        (link["src_id"], link["tgt_id"]) for link in graph["relationships"]
    }


def test_each_generated_chunk_has_the_vectors_of_its_own_sentences() -> None:
    """Sentences that were cut elsewhere than they were joined still get the vector of what they are made of."""
    originals = np.eye(len(SENTENCES), dtype=np.float32)
    chance, noise = random.Random(1), np.random.default_rng(1)
    document, origin = make_document(1, SENTENCES, names(chance), chance)
    texts = [chunk.text[each.start : each.end] for chunk in document.chunks for each in chunk.sentences]
    vectors = like_originals(tuple(texts), origin, originals, noise)[1:]
    assert any(text not in SENTENCES for text in texts)
    assert all(WORDS[int(vector.argmax())] in text for text, vector in zip(texts, vectors, strict=True))


def test_evidence_counts_as_found_among_the_first_five_documents() -> None:
    """Several passages of a document count once; of two documents with the evidence, half is half."""
    question = AskedQuestion(
        text="?", relevant=(frozenset({"a"}), frozenset({"b"})), type="all", language=None, collections=frozenset()
    )
    assert recall_at_5([question], [["c", "c", "d", "e", "f", "a", "b"]]) == (0.5, 0.0)
    assert recall_at_5([question], [["b", "b", "b", "b", "b", "a"]]) == (1.0, 1.0)


def test_ranks_of_both_searches_are_summed() -> None:
    """A document in both lists comes before one that is first in one of them."""
    assert fused([[1, "", 0.9, None], [2, "", 0.8, None], [2, "", None, 7.0], [3, "", None, 5.0]])[0] == "2"


def test_goals_compare_the_same_number_of_clients() -> None:
    """Each goal is stated with its ratio, and whether it was met, at one and at 50 clients."""
    tallies = {clients: {name: Tally() for name in ("bare", "ours", HYBRID)} for clients in (1, 50)}
    for clients, factor in ((1, 0.6), (50, 0.6)):
        for name, ms in (("bare", 5.0), ("ours", 10.0 * factor), (HYBRID, 10.0)):
            tallies[clients][name].add({"ms": [ms] * 4, "cpu_s": 0.1, "found": [["a"]] * 4}, 0.1, 1)
    assert verdicts(rows_of(tallies, None)) == [
        "goal: ours at most 1.5 x bare, 1 client: p50 1.20, p95 1.20 (met)",
        "goal: ours at most 1.5 x bare, 50 clients: p50 1.20, p95 1.20 (met)",
        f"goal: ours at most 0.7 x {HYBRID}, 1 client: p95 0.60 (met)",
        f"goal: ours at most 0.5 x {HYBRID}, 50 clients: p95 0.60 (missed)",
    ]


def test_lightrag_is_given_keywords_for_every_question() -> None:
    """Names are its concrete keywords; a question without any is a keyword itself, so that no model is asked."""
    assert keywords("Did Ada Lovelace visit Cambridge?")["low_level_keywords"] == ["Did Ada Lovelace", "Cambridge"]
    assert keywords("is it so?") == {"high_level_keywords": ["is it so?"], "low_level_keywords": ["is it so?"]}
