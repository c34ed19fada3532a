"""How well a folder's questions are answered from its documents: recall, all evidence found, refusals.

The folder holds `corpus.jsonl` (or folders `public/`, `staff/`, ..., one per collection) and `questions.jsonl`
(`question`, `relevant`, `type`; optionally `language`, `collections`). Everything goes through the real ingest, store
and retriever; nothing is measured that a user would not meet.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.ingest.pipeline import IngestOptions, OnProgress, ingest
from rag.ingest.sandbox import ParserPool
from rag.ports import Embedder, KnowledgeStore, Retriever
from rag.types import Mode, Passage

CUTS = (2, 5, 10)
"""k of the recalls."""
EVIDENCE_CUT = 5
_DEPTH = 10
"""Documents looked at; passages of one document count once, so more passages are fetched than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """One line of `questions.jsonl`."""

    text: str
    relevant: tuple[frozenset[str], ...]
    """What has to be found: each is met by any of its document ids. Empty: the documents do not answer it."""
    type: str
    language: str | None
    collections: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Of a group of answerable questions, as means over them."""

    questions: int
    at: Mapping[int, float]
    """Share of a question's relevant documents among the first k documents, by k."""
    all_evidence: float
    """Share of questions all of whose documents are among the first five."""
    answered: float
    """Share of questions that the relevance floor lets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """Unanswerable is the positive class."""

    unanswerable: int
    precision: float
    recall: float
    f1: float
    answered: float
    """Share of the answerable questions that are still answered: without it the others say little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result."""

    documents: int
    recall: Recall
    by_type: Mapping[str, Recall]
    by_language: Mapping[str, Recall]
    refusals: Refusals | None
    """None if no question is unanswerable."""
    retrieve_ms: Sequence[float]
    """Question embedding included, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    question: AskedQuestion
    found: tuple[str, ...]
    """Document ids, best first, each once."""
    is_relevant: bool
    milliseconds: float


def collections_of(folder: Path) -> dict[str, Path]:
    """What to ingest: collection name to file or folder. Raises `InputError` if there is nothing."""
    corpus = folder / "corpus.jsonl"
    if corpus.is_file():
        return {"public": corpus}
    found = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()} if folder.is_dir() else {}
    if not found:
        raise InputError(f"{folder} holds neither corpus.jsonl nor a folder of documents per collection.")
    return found


_WANTED = 'want {"question": text, "relevant": [ids], "type": text} on each line'


def read_questions(folder: Path, collections: Iterable[str]) -> list[AskedQuestion]:
    """The questions of a folder. Raises `InputError` naming the line that is wrong."""
    path = folder / "questions.jsonl"
    everything = frozenset(collections)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    questions = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            questions.append(_question(json.loads(line), everything))
        except KeyError as error:
            raise InputError(f"{path}, line {number}: {error} is missing; {_WANTED}.") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, line {number}: is not as it should be; {_WANTED}.") from error
    if not questions:
        raise InputError(f"{path} holds no question.")
    return questions


def _question(fields: Mapping[str, Any], everything: frozenset[str]) -> AskedQuestion:
    wanted = tuple(frozenset(item if isinstance(item, list) else [item]) for item in fields["relevant"])
    return AskedQuestion(
        text=str(fields["question"]),
        relevant=wanted,
        type=str(fields.get("type") or "all"),
        language=fields.get("language"),
        collections=frozenset(fields.get("collections") or everything),
    )


def known_ids(questions: Sequence[AskedQuestion], ids: frozenset[str]) -> list[AskedQuestion]:
    """The questions with evidence ids as the corpus spells them (LiHua-World: 20260121_10:00 for 20260121_1000)."""

    def spelt(name: str) -> str:
        return name if name in ids else name.replace(":", "")

    return [
        AskedQuestion(
            text=q.text,
            relevant=tuple(frozenset(map(spelt, names)) for names in q.relevant),
            type=q.type,
            language=q.language,
            collections=q.collections,
        )
        for q in questions
    ]


async def evaluate_folder(
    folder: Path,
    *,
    store: KnowledgeStore,
    retriever: Retriever,
    embedder: Embedder | None,
    pool: ParserPool,
    mode: Mode = "hybrid",
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Ingest a folder's documents into `store` (an empty one, `retriever` searches it) and ask its questions.

    Raises `InputError` (also if a document could not be read), `StoreError`, `EmbeddingError`.
    """
    sources = collections_of(folder)
    read_questions(folder, sources)  # what is wrong in it is told before the work
    for collection, path in sources.items():
        report = await ingest(
            [path],
            store=store,
            embedder=embedder,
            options=IngestOptions(collection=collection),
            pool=pool,
            on_progress=on_progress,
        )
        if not report.is_complete:
            raise InputError(f"Not every document of {path} could be read: run `grapevine ingest {path}` to see why.")
    await store.refresh()
    counts = await store.counts()
    documents = sum(counts[name].documents for name in sources if name in counts)
    return await evaluate(await questions_of(folder, store), retriever, documents=documents, mode=mode)


async def questions_of(folder: Path, store: KnowledgeStore) -> list[AskedQuestion]:
    """The questions of a folder whose documents are in `store`, with evidence ids as the store spells them."""
    sources = collections_of(folder)
    return known_ids(read_questions(folder, sources), await _ids(store, frozenset(sources)))


async def _ids(store: KnowledgeStore, collections: frozenset[str]) -> frozenset[str]:
    ids: set[str] = set()
    after: str | None = None
    while True:
        page = await store.documents(collections, after=after, limit=1000)
        ids.update(document.id for document in page.documents)
        after = page.after
        if after is None:
            return frozenset(ids)


async def evaluate(
    questions: Sequence[AskedQuestion],
    retriever: Retriever,
    *,
    documents: int,
    mode: Mode = "hybrid",
) -> Evaluation:
    """Ask every question, one after the other, and count. The documents have been ingested before."""
    outcomes = [await _asked(question, retriever, mode) for question in questions]
    return summarised(outcomes, documents)


async def _asked(question: AskedQuestion, retriever: Retriever, mode: Mode) -> _Outcome:
    result = await retriever.retrieve(question.text, collections=question.collections, k=_DEPTH, mode=mode)
    timings = result.timings
    return _Outcome(
        question=question,
        found=_documents(result.passages),
        is_relevant=result.is_relevant,
        milliseconds=(timings.embed_ms or 0.0) + (timings.retrieve_ms or 0.0),
    )


def _documents(passages: Sequence[Passage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(passage.document for passage in passages))


def summarised(outcomes: Sequence[_Outcome], documents: int) -> Evaluation:
    """The figures of all outcomes."""
    answerable = [outcome for outcome in outcomes if outcome.question.relevant]
    types: dict[str, list[_Outcome]] = defaultdict(list)
    languages: dict[str, list[_Outcome]] = defaultdict(list)
    for outcome in answerable:
        types[outcome.question.type].append(outcome)
        if outcome.question.language:
            languages[outcome.question.language].append(outcome)
    return Evaluation(
        documents=documents,
        recall=_recall(answerable),
        by_type={name: _recall(group) for name, group in sorted(types.items())},
        by_language={name: _recall(group) for name, group in sorted(languages.items())},
        refusals=_refusals(outcomes) if len(answerable) < len(outcomes) else None,
        retrieve_ms=tuple(sorted(outcome.milliseconds for outcome in outcomes)),
    )


def _recall(outcomes: Sequence[_Outcome]) -> Recall:
    count = max(1, len(outcomes))
    shares = {cut: sum(_share(outcome, cut) for outcome in outcomes) / count for cut in CUTS}
    return Recall(
        questions=len(outcomes),
        at=shares,
        all_evidence=sum(_share(outcome, EVIDENCE_CUT) == 1 for outcome in outcomes) / count,
        answered=sum(outcome.is_relevant for outcome in outcomes) / count,
    )


def _share(outcome: _Outcome, cut: int) -> float:
    first = frozenset(outcome.found[:cut])
    wanted = outcome.question.relevant
    return sum(bool(any_of & first) for any_of in wanted) / len(wanted)


def _refusals(outcomes: Sequence[_Outcome]) -> Refusals:
    unanswerable = [outcome for outcome in outcomes if not outcome.question.relevant]
    refused = sum(not outcome.is_relevant for outcome in outcomes)
    rightly = sum(not outcome.is_relevant for outcome in unanswerable)
    answerable = len(outcomes) - len(unanswerable)
    return Refusals(
        unanswerable=len(unanswerable),
        precision=rightly / refused if refused else 0.0,
        recall=rightly / len(unanswerable),
        f1=2 * rightly / (refused + len(unanswerable)),
        answered=1 - (refused - rightly) / answerable if answerable else 0.0,
    )
