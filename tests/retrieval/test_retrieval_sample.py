"""The sample knowledge base as a regression test: real parsing, real embeddings, its own questions and others."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.embeddings.minilm import MiniLM
from rag.evaluate import Evaluation, evaluate, evaluate_folder, read_questions
from rag.ingest.sandbox import ParserPool
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore

SAMPLE = Path(__file__).parents[2] / "bot" / "sample"
OTHERS = Path(__file__).parent / "data"
"""74 Vietnamese questions to the sample that it was not written with: 24 it answers, 20 about neighbouring subjects it
is silent on (health insurance, fines, An Lộ's director), 30 about anything else."""


async def evaluated(store: EmbeddedStore) -> tuple[Evaluation, Evaluation]:
    embedder = await MiniLM.open()
    search = Search(store, embedder)
    try:
        async with ParserPool() as pool:
            own = await evaluate_folder(SAMPLE, store=store, retriever=search, embedder=embedder, pool=pool)
        others = await evaluate(read_questions(OTHERS, ["public"]), search, documents=own.documents)
    finally:
        await embedder.close()
    return own, others


@pytest.mark.slow
async def test_the_sample_answers_its_own_questions_and_refuses_the_others(store: EmbeddedStore) -> None:
    """Measured 2026-11-20: R@5 .98 (Vietnamese .97), 48 of 50 answered, all ten unanswerable refused."""
    own, others = await evaluated(store)
    assert own.recall.at[5] >= 0.93
    assert own.by_language["vi"].at[5] >= 0.9
    assert own.recall.answered >= 0.95
    assert own.refusals is not None
    assert own.refusals.recall == 1
    # Measured: all 24 answered, 36 of 50 refused (10 of the 20 near ones). The floor was chosen on these, too.
    assert others.recall.answered >= 0.95
    assert others.refusals is not None
    assert others.refusals.recall >= 0.65


def test_the_sample_has_sixty_questions_of_which_ten_have_no_answer() -> None:
    questions = read_questions(SAMPLE, ["public", "staff"])
    assert len(questions) == 60
    assert sum(not question.relevant for question in questions) == 10
