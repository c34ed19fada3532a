"""Claims about the figures of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag.errors import InputError
from rag.evaluate import collections_of, evaluate, evaluate_folder, read_questions
from rag.ingest.sandbox import ParserPool
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from tests.retrieval.conftest import Library, WordCounts, document


def written(folder: Path, name: str, *lines: object) -> None:
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def question(text: str, *relevant: object, kind: str = "single") -> dict[str, object]:
    return {"question": text, "answer": "", "relevant": list(relevant), "type": kind if relevant else "null"}


async def test_a_folder_is_ingested_and_its_questions_are_counted(tmp_path: Path, store: EmbeddedStore) -> None:
    texts = {"20260101_1000": "The lamp costs five coins.", "chairs": "A chair costs nine coins."}
    written(tmp_path, "corpus.jsonl", *({"id": name, "title": name, "text": text} for name, text in texts.items()))
    written(
        tmp_path,
        "questions.jsonl",
        question("What does the lamp cost?", "20260101_10:00"),
        question("What do lamp and chair cost?", "20260101_1000", "chairs", kind="multi"),
        question("Which planet has the most moons in orbit?"),
    )
    embedder = WordCounts()
    async with ParserPool(processes=1) as pool:
        result = await evaluate_folder(
            tmp_path, store=store, retriever=Search(store, embedder), embedder=embedder, pool=pool
        )
    assert result.documents == 2
    assert result.recall.questions == 2
    assert result.recall.at[5] == 1
    assert result.recall.all_evidence == 1
    assert set(result.by_type) == {"single", "multi"}
    assert result.refusals is not None
    assert (result.refusals.recall, result.refusals.answered) == (1, 1)
    assert len(result.retrieve_ms) == 3


async def test_any_of_several_documents_may_meet_one_need(tmp_path: Path, library: Library) -> None:
    search = await library(document("a", "The lamp costs five coins."))
    written(tmp_path, "questions.jsonl", question("What does the lamp cost?", ["a", "its-translation"]))
    result = await evaluate(read_questions(tmp_path, ["public"]), search, documents=1)
    assert result.recall.at[2] == 1
    assert result.refusals is None


@pytest.mark.parametrize("line", ['{"question": "x"}', "[]", "{", '{"question": "x", "relevant": 5}'])
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "questions.jsonl").write_text(json.dumps(question("ok")) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2: .*; want"):
        read_questions(tmp_path, ["public"])


def test_a_folder_without_documents_or_questions_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither corpus\.jsonl"):
        collections_of(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_questions(tmp_path, [])
    (tmp_path / "questions.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds no question"):
        read_questions(tmp_path, [])


def test_each_folder_is_a_collection_unless_there_is_a_corpus_file(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "staff").mkdir()
    assert set(collections_of(tmp_path)) == {"public", "staff"}
    written(tmp_path, "corpus.jsonl", {})
    assert collections_of(tmp_path) == {"public": tmp_path / "corpus.jsonl"}
