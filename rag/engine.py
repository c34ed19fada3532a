"""One question to its answer, as a stream of events: look it up, or retrieve, write, check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal

from rag.asked import LONGEST_QUESTION, cleaned, has_words
from rag.errors import EmbeddingError, InputError, ModelError, ModelInterrupted, ModelTruncated, StoreError
from rag.generate import phrases
from rag.generate.prompt import within_budget
from rag.generate.writing import Writing
from rag.language import detect
from rag.ports import Answerer, GenerationRequest, InstantAnswers, InstantHit, Retrieved, Retriever, Rewriter
from rag.types import (
    AnswerEvent,
    Delta,
    Done,
    Failed,
    Figures,
    Language,
    Question,
    Rewritten,
    Sources,
    Status,
    Timings,
    Usage,
)


class Engine:
    """Answers questions. It holds no state between them and logs nothing: what is worth knowing is in its events."""

    def __init__(
        self,
        retriever: Retriever,
        answerer: Answerer,
        *,
        contact: str | None = None,
        instant: InstantAnswers | None = None,
        rewriter: Rewriter | None = None,
        passages: int = 8,
        token_budget: int = 4_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from what `retriever` finds, in `answerer`'s words.

        At most `passages` of them within `token_budget` tokens are given to the answerer. `contact` is named where the
        documents have no answer. `instant` is asked before anything else. `rewriter` makes follow-ups stand alone;
        without it every question is taken to do so.
        """
        self._retriever = retriever
        self._answerer = answerer
        self._contact = contact
        self._instant = instant
        self._rewriter = rewriter
        self._passages = passages
        self._token_budget = token_budget
        self._clock = clock

    async def answer(self, question: Question) -> AsyncGenerator[AnswerEvent, None]:
        """Events up to exactly one `Done` or `Failed`. Closing the generator at any point stops the model at once.

        Nothing that is wrong with a question, the store or the model is raised; what was shown before a failure stays,
        as an `incomplete` answer.
        """
        text = cleaned(question.text)
        language = question.language or detect(text)
        unfit = self._unfit(text, language)
        if unfit is not None:
            for event in _whole(unfit, Done(outcome="refused", answer=unfit)):
                yield event
            return
        hit = await self._look_up(text, question, language)
        if hit is not None:
            for event in _whole(hit.answer, _instantly(hit)):
                yield event
            return
        yield Status(key="retrieving")
        asked = await self._understand(text, question, language)
        async with aclosing(self._from_documents(asked, question, language)) as events:
            async for event in events:
                yield event

    async def _from_documents(
        self, asked: _Asked, question: Question, language: Language
    ) -> AsyncGenerator[AnswerEvent, None]:
        if asked.usage.llm_calls:
            yield Figures(timings=asked.timings, usage=asked.usage)
        hit = None
        if asked.standalone and asked.by == "model":
            # What a model has made whole may be a question that is answered already.
            hit = await self._look_up(asked.standalone, question, language)
        if asked.standalone and hit is not None:
            yield Rewritten(text=asked.standalone, by=asked.by)
            done = replace(_instantly(hit), timings=asked.timings, usage=asked.usage)
            for event in _whole(hit.answer, done):
                yield event
            return
        asked, retrieved = await self._find(asked, question)
        if asked.standalone:
            yield Rewritten(text=asked.standalone, by=asked.by)
        if isinstance(retrieved, Failed):
            yield retrieved
            return
        # Retrieval knows the documents' language, which decides for a question that gives no hint ("TN-01?").
        language = question.language or retrieved.language
        chosen = within_budget(retrieved.passages[: self._passages], tokens=self._token_budget)
        if not chosen or not retrieved.is_relevant:
            refusal = phrases.not_found(language, self._contact)
            done = Done(
                outcome="refused",
                answer=refusal,
                timings=retrieved.timings,
                usage=asked.usage,
                epoch=retrieved.epoch,
            )
            for event in _whole(refusal, done):
                yield event
            return
        request = GenerationRequest(
            question=asked.text,
            language=language,
            passages=chosen,
            deadline=question.deadline,
            history=question.history,
            standalone=asked.standalone,
        )
        yield Sources(passages=chosen)
        yield Status(key="generating")
        async with aclosing(self._generate(request, retrieved, asked.usage)) as events:
            async for event in events:
                yield event

    async def _understand(self, text: str, question: Question, language: Language) -> _Asked:
        """What the question asks in its conversation."""
        if self._rewriter is None or not question.history:
            return _Asked(text=text)
        started = self._clock()
        rewrite = await self._rewriter.rewrite(text, question.history, language=language, deadline=question.deadline)
        return _Asked(
            text=text,
            standalone=rewrite.text,
            by=rewrite.by,
            timings=Timings(rewrite_ms=self._ms_since(started)),
            usage=rewrite.usage,
        )

    def _unfit(self, text: str, language: Language) -> str | None:
        """What to say to a message that is no question; None for one that is."""
        if not has_words(text):
            return phrases.no_words(language)
        if len(text) > LONGEST_QUESTION:
            return phrases.too_long(language, characters=len(text), limit=LONGEST_QUESTION)
        return None

    async def _look_up(self, text: str, question: Question, language: Language) -> InstantHit | None:
        if self._instant is None:
            return None
        try:
            return await self._instant.lookup(text, collections=question.audience.collections, language=language)
        except StoreError:
            # Ready answers save time; without them the question is answered all the same.
            return None

    async def _find(self, asked: _Asked, question: Question) -> tuple[_Asked, Retrieved | Failed]:
        """Passages, and what found them: where what the rule has joined finds nothing, the words as they are."""
        retrieved = await self._retrieve(asked, question)
        if asked.standalone and asked.by == "rule" and isinstance(retrieved, Retrieved) and not retrieved.is_relevant:
            alone = replace(asked, standalone=None)
            found = await self._retrieve(alone, question)
            if isinstance(found, Retrieved) and found.is_relevant:
                return alone, found
        return asked, retrieved

    async def _retrieve(self, asked: _Asked, question: Question) -> Retrieved | Failed:
        started = self._clock()
        text = asked.standalone or asked.text
        try:
            async with asyncio.timeout(question.deadline.remaining_s(started)):
                retrieved = await self._retriever.retrieve(
                    text, collections=question.audience.collections, k=self._passages, deadline=question.deadline
                )
        except TimeoutError:
            failed = Failed(code="timeout", cause="retrieval took until the deadline")
        except StoreError as error:
            failed = Failed(code="store_unavailable", cause=str(error))
        except EmbeddingError as error:
            failed = Failed(code="embedding_unavailable", cause=str(error))
        except InputError as error:
            failed = Failed(code="internal", cause=str(error))
        else:
            return replace(retrieved, timings=asked.timings.merged(retrieved.timings))
        timings = asked.timings.merged(Timings(retrieve_ms=self._ms_since(started)))
        return replace(failed, timings=timings, usage=asked.usage)

    async def _generate(
        self, request: GenerationRequest, retrieved: Retrieved, before: Usage
    ) -> AsyncGenerator[AnswerEvent, None]:
        writing = Writing(passages=request.passages, usage=Usage(model=self._answerer.model), before=before)
        started = self._clock()
        trouble: ModelError | None = None
        try:
            async with aclosing(self._answerer.stream(request)) as pieces:
                async for piece in pieces:
                    if writing.first_ms is None:
                        writing.begin(piece, after_ms=self._ms_since(started))
                        yield Figures(timings=_timings(writing, retrieved), usage=writing.spent, epoch=retrieved.epoch)
                    if isinstance(piece, Usage):
                        writing.usage = piece
                        continue
                    if shown := writing.take(piece):
                        yield Delta(text=shown)
                    if writing.is_done_refusing:
                        break
        except ModelError as error:
            trouble = error
        if shown := writing.finish(is_cut=trouble is not None):
            yield Delta(text=shown)
        timings = _timings(writing, retrieved)
        if writing.is_refused:
            refusal = phrases.not_found(request.language, self._contact)
            yield Delta(text=refusal)
            yield Done(
                outcome="refused",
                answer=refusal,
                passages=len(request.passages),
                timings=timings,
                usage=writing.spent,
                epoch=retrieved.epoch,
            )
        elif not writing.text:
            yield _failed(trouble, timings, writing.spent)
        else:
            yield Done(
                outcome="incomplete" if trouble else "answered",
                answer=writing.text.rstrip(),
                citations=writing.checker.citations,
                passages=len(request.passages),
                timings=timings,
                usage=writing.spent,
                error=trouble.code if trouble else None,
                cause=str(trouble) if trouble else None,
                epoch=retrieved.epoch,
            )

    def _ms_since(self, started: float) -> float:
        return (self._clock() - started) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question and what it asks in its conversation."""

    text: str
    standalone: str | None = None
    by: Literal["model", "rule"] = "rule"
    timings: Timings = field(default_factory=Timings)
    usage: Usage = field(default_factory=Usage)


def _timings(writing: Writing, retrieved: Retrieved) -> Timings:
    # An extractive answer has no first token worth a figure.
    first_ms = writing.first_ms if writing.usage.llm_calls else None
    return retrieved.timings.merged(Timings(llm_first_token_ms=first_ms))


def _whole(text: str, done: Done) -> tuple[AnswerEvent, ...]:
    return Delta(text=text), done


def _instantly(hit: InstantHit) -> Done:
    return Done(
        outcome="answered",
        answer=hit.answer,
        citations=hit.citations,
        cache=hit.cache,
        similarity=hit.similarity,
        epoch=hit.epoch,
    )


def _failed(trouble: ModelError | None, timings: Timings, usage: Usage) -> Failed:
    if trouble is None:
        cause = "the answer held nothing that can be shown"
        return Failed(code="model_unavailable", cause=cause, timings=timings, usage=usage)
    # Nothing was shown, so to the asker it is the same as a model that never answered.
    is_cut = isinstance(trouble, ModelInterrupted | ModelTruncated)
    code = "model_unavailable" if is_cut else trouble.code
    return Failed(code=code, cause=str(trouble), timings=timings, usage=usage)
