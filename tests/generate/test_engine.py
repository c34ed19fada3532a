"""One question to its answer, with stand-ins only for the store and the server: scripted, but speaking our ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from openai import AsyncOpenAI

from rag.asked import LONGEST_QUESTION
from rag.engine import Engine
from rag.errors import EmbeddingError, InputError, StoreUnavailable
from rag.generate.extractive import ExtractiveAnswerer
from rag.generate.llm import OpenAIAnswerer, Patience
from rag.generate.phrases import failure_text, incomplete_mark, not_found
from rag.language import detect
from rag.ports import Answerer, InstantHit, Retrieved, Rewrite
from rag.resilience.deadline import Deadline
from rag.types import (
    AnswerEvent,
    Audience,
    Delta,
    Done,
    Exchange,
    Failed,
    Figures,
    Mode,
    Passage,
    Question,
    Rewritten,
    Sources,
    Status,
    Timings,
    Usage,
)
from tests.emulators.model import ModelServer, Reply, words
from tests.support.passages import passage

PASSAGES = (passage(1, "Floods are covered."), passage(2, "Fire is covered too. See the list."))


@dataclass(slots=True)
class Shelf:
    """A retriever over fixed passages."""

    passages: tuple[Passage, ...] = PASSAGES
    is_relevant: bool = True
    fails: Exception | None = None
    hangs: bool = False
    asked: list[tuple[str, frozenset[str]]] = field(default_factory=list)

    async def retrieve(
        self,
        text: str,
        *,
        collections: frozenset[str],
        k: int = 8,
        mode: Mode = "hybrid",
        deadline: Deadline | None = None,
    ) -> Retrieved:
        self.asked.append((text, collections))
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise self.fails
        return Retrieved(
            passages=self.passages[:k],
            is_relevant=self.is_relevant,
            language=detect(text),
            timings=Timings(embed_ms=1.0, retrieve_ms=2.0),
            epoch=7,
        )

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None:
        return next((p for p in self.passages if p.passage_id == passage_id), None)


@dataclass(slots=True)
class Faq:
    """Ready answers by exact text."""

    hit: InstantHit | None = None
    fails: Exception | None = None

    async def lookup(self, text: str, *, collections: frozenset[str], language: str) -> InstantHit | None:
        if self.fails:
            raise self.fails
        return self.hit if text == "Why?" else None


def question(
    text: str = "What is covered?",
    *,
    language: str | None = None,
    seconds: float = 30.0,
    history: tuple[Exchange, ...] = (),
) -> Question:
    return Question(
        text=text,
        audience=Audience(collections=frozenset({"public"})),
        deadline=Deadline.after(seconds),
        language=language,
        history=history,
    )


async def events(engine: Engine, asked: Question) -> list[AnswerEvent]:
    return [event async for event in engine.answer(asked)]


def text_of(found: list[AnswerEvent]) -> str:
    return "".join(event.text for event in found if isinstance(event, Delta))


def done(found: list[AnswerEvent]) -> Done:
    """The last event, which must be the only end."""
    last = found[-1]
    assert isinstance(last, Done)
    assert not any(isinstance(event, Done | Failed) for event in found[:-1])
    return last


@pytest.fixture
def engine(client: AsyncOpenAI) -> Engine:
    """An engine over the shelf and the scripted model."""
    return Engine(Shelf(), OpenAIAnswerer(client, "scripted"), contact="help@example.com")


async def test_an_answer_grows_from_sources_to_the_end(server: ModelServer, engine: Engine) -> None:
    """Status, sources, the growing text, and an end with citations, timings, usage and epoch, in this order."""
    server.script(Reply(tokens=words("Fire [2], floods [1] and [7] more [2].")))
    found = await events(engine, question())
    assert found[:3] == [Status(key="retrieving"), Sources(passages=PASSAGES), Status(key="generating")]
    assert sum(isinstance(event, Delta) for event in found) >= 3
    end = done(found)
    assert (end.outcome, end.cache, end.error, end.epoch, end.passages) == ("answered", "none", None, 7, 2)
    assert end.answer == text_of(found) == "Fire [2], floods [1] and more [2]."
    assert [citation.n for citation in end.citations] == [2, 1]
    assert (end.timings.embed_ms, end.timings.retrieve_ms) == (1.0, 2.0)
    assert end.timings.llm_first_token_ms is not None
    assert (end.usage.model, end.usage.llm_calls) == ("scripted", 1)


async def test_text_is_handed_on_while_the_model_still_writes(server: ModelServer, engine: Engine) -> None:
    """The first word is out before the second is written."""
    server.script(Reply(tokens=("Fire ", "is covered."), held=True))
    async with aclosing(engine.answer(question())) as answer:
        stream = aiter(answer)
        for _ in range(4):
            await anext(stream)
        first = asyncio.ensure_future(anext(stream))
        exchange = await server.asked()
        await exchange.release(1)
        figures = await first
        assert isinstance(figures, Figures)
        usage = figures.usage
        assert (usage.model, usage.llm_calls, usage.output_tokens, figures.epoch) == ("scripted", 1, None, 7)
        assert usage.unreported > 300
        assert figures.timings.llm_first_token_ms is not None
        assert await anext(stream) == Delta(text="Fire")
        await exchange.release()
        rest = [event async for event in stream]
    assert isinstance(rest[-1], Done)


async def test_below_the_floor_the_model_is_not_asked(server: ModelServer, client: AsyncOpenAI) -> None:
    """What the documents do not hold is said at once, in the asker's language, with the contact, without a model."""
    for shelf in (Shelf(is_relevant=False), Shelf(passages=())):
        engine = Engine(shelf, OpenAIAnswerer(client, "scripted"), contact="help@example.com")
        found = await events(engine, question("Bảo hiểm ô tô giá bao nhiêu?"))
        assert not any(isinstance(event, Sources) for event in found)
        end = done(found)
        assert end.outcome == "refused"
        assert end.answer == text_of(found) == not_found("vi", "help@example.com")
        assert "help@example.com" in end.answer
    assert server.exchanges == []


@pytest.mark.parametrize("pieces", [("NO_ANSWER",), ("NO", "_ANS", "WER"), ("**NO_ANSWER**", "\n", "Because…")])
async def test_the_model_may_say_that_it_is_not_there(
    server: ModelServer, engine: Engine, pieces: tuple[str, ...]
) -> None:
    """A model that finds nothing leads to our own sentence, and its sign is never shown."""
    server.script(Reply(tokens=pieces))
    found = await events(engine, question())
    end = done(found)
    assert (end.outcome, end.citations) == ("refused", ())
    assert end.answer == text_of(found) == not_found("en", "help@example.com")
    assert end.usage.llm_calls == 1


async def test_an_answer_that_only_begins_like_a_refusal_is_whole(server: ModelServer, engine: Engine) -> None:
    """`NO` of a sign for no answer that turns out to be a word is not lost."""
    server.script(Reply(tokens=("NO", "! Never", " [1].")))
    assert done(await events(engine, question())).answer == "NO! Never [1]."


async def test_a_ready_answer_comes_before_everything() -> None:
    """A curated answer is there at once, without status, retrieval or model, and is marked as such."""
    shelf = Shelf()
    engine = Engine(shelf, ExtractiveAnswerer(), instant=Faq(hit=InstantHit(answer="Because.", epoch=3)))
    found = await events(engine, question("  Why?\x00 "))
    assert found == [
        Delta(text="Because."),
        Done(outcome="answered", answer="Because.", cache="faq", epoch=3),
    ]
    assert shelf.asked == []
    assert done(await events(engine, question("Who?"))).cache == "none"


async def test_ready_answers_away_cost_only_time() -> None:
    """When the ready answers cannot be read the question is answered the long way."""
    engine = Engine(Shelf(), ExtractiveAnswerer(), instant=Faq(fails=StoreUnavailable("away")))
    assert done(await events(engine, question())).outcome == "answered"


async def test_without_a_model_the_documents_speak() -> None:
    """The extractive answerer's quotations are an answer, with citations and without a first-token time."""
    end = done(await events(Engine(Shelf(), ExtractiveAnswerer()), question("Are floods covered?")))
    assert end.outcome == "answered"
    assert "Floods are covered. [1]" in end.answer
    assert end.citations
    assert end.usage.llm_calls == 0
    assert end.timings.llm_first_token_ms is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "in words"),
        ("   \n\t", "in words"),
        ("🙂🙂", "in words"),
        ("???", "in words"),
        ("\ud800\x00\x07", "in words"),
        ("word " * 10_000, "too long"),
    ],
)
async def test_what_is_no_question_gets_a_kind_reply(text: str, said: str) -> None:
    """Empty, emoji-only, garbled and book-long messages are answered politely without looking anything up."""
    shelf = Shelf()
    found = await events(Engine(shelf, ExtractiveAnswerer()), question(text, language="en"))
    end = done(found)
    assert end.outcome == "refused"
    assert said in end.answer
    assert shelf.asked == []


async def test_a_garbled_question_is_cleaned_before_it_is_searched() -> None:
    """Lone surrogates, NULs and direction overrides are taken out, and decomposed letters put together."""
    shelf = Shelf()
    await events(Engine(shelf, ExtractiveAnswerer()), question("  Phi\u0301\x00 \ud83dcứu\u202e hộ?\r\n"))
    assert shelf.asked == [("Phí cứu hộ?", frozenset({"public"}))]


async def test_a_long_question_is_still_a_question() -> None:
    """A pasted letter below the limit is answered."""
    text = "Is fire covered? ".ljust(LONGEST_QUESTION, "x")
    assert done(await events(Engine(Shelf(), ExtractiveAnswerer()), question(text))).outcome == "answered"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("the database at db:7687 is away"), "store_unavailable"),
        (EmbeddingError("no answer"), "embedding_unavailable"),
        (InputError("unknown collection"), "internal"),
    ],
)
async def test_retrieval_that_fails_is_a_failure_with_its_cause(error: Exception, code: str) -> None:
    """Nothing was shown, so the end is a failure that tells the log why."""
    found = await events(Engine(Shelf(fails=error), ExtractiveAnswerer()), question())
    assert isinstance(found[-1], Failed)
    assert (found[-1].code, found[-1].cause) == (code, str(error))


async def test_retrieval_that_hangs_ends_at_the_deadline() -> None:
    """A store that never answers costs the deadline, no more."""
    found = await events(Engine(Shelf(hangs=True), ExtractiveAnswerer()), question(seconds=0.05))
    assert isinstance(found[-1], Failed)
    assert found[-1].code == "timeout"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=401, times=0), "model_refused_key"),
        (Reply(status=429, headers={"Retry-After": "60"}), "model_busy"),
        (Reply(status=404), "model_unavailable"),
        (Reply(tokens=()), "model_unavailable"),
        (Reply(tokens=("[9]",)), "model_unavailable"),
        (Reply(tokens=("NO_AN",), ending="garbage"), "model_unavailable"),
    ],
)
async def test_a_model_that_fails_before_the_first_word(
    server: ModelServer, engine: Engine, reply: Reply, code: str
) -> None:
    """Nothing was shown: the end is a failure with a code that has a kind sentence, and no secret in its cause."""
    server.script(reply)
    found = await events(engine, question("What of the xyzzy?"))
    assert isinstance(found[-1], Failed)
    assert found[-1].code == code
    assert text_of(found) == ""
    assert "sk-secret" not in found[-1].cause
    assert "xyzzy" not in found[-1].cause
    assert found[-1].usage.llm_calls >= 1
    assert failure_text(code, "en") != failure_text(code, "vi")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(tokens=words("Fire [1] is cov"), ending="close"), "model_interrupted"),
        (Reply(tokens=words("Fire [1] is cov"), ending="stall"), "model_interrupted"),
        (Reply(tokens=words("Fire [1] is cov"), finish="length"), "model_truncated"),
    ],
)
async def test_a_model_that_dies_in_the_middle_leaves_what_it_wrote(
    server: ModelServer, client: AsyncOpenAI, reply: Reply, code: str
) -> None:
    """What was received stays, every word of it, with its citations, as an incomplete answer."""
    server.script(reply)
    engine = Engine(Shelf(), OpenAIAnswerer(client, "scripted", patience=Patience(stall_s=0.3)))
    found = await events(engine, question())
    end = done(found)
    assert (end.outcome, end.error) == ("incomplete", code)
    assert end.answer == text_of(found) == "Fire [1] is cov"
    assert [citation.n for citation in end.citations] == [1]
    assert incomplete_mark("vi") == "⚠ Chưa hoàn chỉnh"


async def test_closing_the_answer_stops_the_model(server: ModelServer, engine: Engine) -> None:
    """Whoever stops reading in the middle of an answer stops the model call."""
    server.script(Reply(tokens=words("one two three four"), held=True))
    answer = engine.answer(question())
    for _ in range(4):
        await anext(answer)
    first = asyncio.ensure_future(anext(answer))
    exchange = await server.asked()
    await exchange.release(2)
    await first
    await answer.aclose()
    async with asyncio.timeout(5):
        await exchange.disconnected.wait()


async def test_cancelling_the_turn_stops_the_model(server: ModelServer, engine: Engine) -> None:
    """A cancelled turn leaves no model call behind, also while it waits for the first token."""
    server.script(Reply(tokens=("Fire",), held=True))
    reading = asyncio.create_task(events(engine, question()))
    exchange = await server.asked()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    async with asyncio.timeout(5):
        await exchange.disconnected.wait()


async def test_the_answer_is_in_the_language_asked_for(server: ModelServer, engine: Engine) -> None:
    """The question's language decides, unless the caller knows better."""
    await events(engine, question("Cháy xe có được bồi thường không?"))
    await events(engine, question("Cháy xe có được bồi thường không?", language="en"))
    assert "Answer in Vietnamese" in server.exchanges[0].prompt
    assert "Answer in English" in server.exchanges[1].prompt


async def test_only_what_fits_is_given_to_the_model(client: AsyncOpenAI, server: ModelServer) -> None:
    """The budget and the number of passages bound the prompt, and the sources are what was given."""
    many = tuple(passage(n, f"Fact {n}. " + "word " * 50) for n in range(1, 9))
    engine = Engine(Shelf(passages=many), OpenAIAnswerer(client, "scripted"), passages=5, token_budget=330)
    found = await events(engine, question())
    (sources,) = (event for event in found if isinstance(event, Sources))
    assert 1 <= len(sources.passages) < 5
    assert server.exchanges[0].prompt.count("<passage n=") == len(sources.passages)


async def test_an_uncited_answer_is_kept(server: ModelServer, engine: Engine) -> None:
    """A model that cites nothing still answered; that it cited nothing is in the event."""
    server.script(Reply(tokens=words("Fire is covered.")))
    end = done(await events(engine, question()))
    assert (end.outcome, end.answer, end.citations) == ("answered", "Fire is covered.", ())


@pytest.mark.parametrize("make", [ExtractiveAnswerer, None])
async def test_exactly_one_end(make: Callable[[], Answerer] | None, client: AsyncOpenAI, server: ModelServer) -> None:
    """Every answer ends once, whoever writes it, and its text is the joined pieces."""
    engine = Engine(Shelf(), make() if make else OpenAIAnswerer(client, "scripted"))
    found = await events(engine, question("Is fire covered?"))
    assert done(found).answer == text_of(found)


async def test_the_console_can_iterate_without_closing(engine: Engine) -> None:
    """The events are an ordinary async iterator."""
    stream: AsyncIterator[AnswerEvent] = engine.answer(question())
    assert [type(event) async for event in stream][-1] is Done


BEFORE = (Exchange(question="What does flood cover cost?", answer="It costs 5 [1]."),)


@dataclass(slots=True)
class Rewriting:
    """Makes every follow-up the same question."""

    text: str | None = "What does flood cover cost for cars?"
    by: Literal["model", "rule"] = "model"
    asked: list[str] = field(default_factory=list)

    async def rewrite(
        self, question: str, history: Sequence[Exchange], *, language: str, deadline: Deadline
    ) -> Rewrite:
        self.asked.append(question)
        calls = 1 if self.by == "model" else 0
        return Rewrite(text=self.text, by=self.by, usage=Usage(model="fast", llm_calls=calls, input_tokens=30))


async def test_a_follow_up_is_looked_up_as_what_it_means(server: ModelServer, client: AsyncOpenAI) -> None:
    """The model that answers gets the words as they were, what they mean, and the conversation; all calls count."""
    shelf = Shelf()
    asking = Engine(shelf, OpenAIAnswerer(client, "scripted"), rewriter=Rewriting())
    found = await events(asking, question("And for cars?", history=BEFORE))
    assert [text for text, _ in shelf.asked] == ["What does flood cover cost for cars?"]
    assert Rewritten(text="What does flood cover cost for cars?", by="model") in found
    prompt = server.exchanges[0].prompt
    assert "<question>\nAnd for cars?\n</question>" in prompt
    assert "In the conversation it means: What does flood cover cost for cars?" in prompt
    assert "What does flood cover cost?" in prompt
    end = done(found)
    assert (end.usage.llm_calls, end.usage.model, end.timings.rewrite_ms is not None) == (2, "scripted", True)


async def test_a_question_without_history_is_not_rewritten(server: ModelServer, client: AsyncOpenAI) -> None:
    """It costs no call and no time."""
    rewriting = Rewriting()
    found = await events(Engine(Shelf(), OpenAIAnswerer(client, "scripted"), rewriter=rewriting), question())
    assert rewriting.asked == []
    assert not any(isinstance(event, Rewritten) for event in found)
    assert done(found).timings.rewrite_ms is None


async def test_a_question_that_stands_alone_stays_as_it_is(server: ModelServer, client: AsyncOpenAI) -> None:
    """Whatever was said before it; the prompt says nothing of another meaning."""
    shelf = Shelf()
    asking = Engine(shelf, OpenAIAnswerer(client, "scripted"), rewriter=Rewriting(text=None))
    found = await events(asking, question(history=BEFORE))
    assert [text for text, _ in shelf.asked] == ["What is covered?"]
    assert not any(isinstance(event, Rewritten) for event in found)
    assert "In the conversation" not in server.exchanges[0].prompt


async def test_a_ready_answer_needs_no_rewriting() -> None:
    """A question that is a FAQ to the letter is answered as that, in the middle of a conversation, too."""
    rewriting = Rewriting()
    asking = Engine(Shelf(), ExtractiveAnswerer(), instant=Faq(InstantHit(answer="Because.")), rewriter=rewriting)
    assert done(await events(asking, question("Why?", history=BEFORE))).cache == "faq"
    assert rewriting.asked == []


@pytest.mark.parametrize(("by", "cache"), [("model", "faq"), ("rule", "none")])
async def test_a_follow_up_that_means_a_ready_question_gets_its_answer(
    by: Literal["model", "rule"], cache: str
) -> None:
    """Where a model has made it whole; what the rule joins is no question that anybody asks."""
    rewriting = Rewriting(text="Why?", by=by)
    asking = Engine(Shelf(), ExtractiveAnswerer(), instant=Faq(InstantHit(answer="Because.")), rewriter=rewriting)
    end = done(await events(asking, question("And that?", history=BEFORE)))
    assert end.cache == cache
    assert end.timings.rewrite_ms is not None


async def test_a_refused_follow_up_says_what_its_rewriting_cost() -> None:
    """Its line has the call, the tokens and the time, although no answer was written."""
    asking = Engine(Shelf(is_relevant=False), ExtractiveAnswerer(), rewriter=Rewriting())
    end = done(await events(asking, question("And for cars?", history=BEFORE)))
    assert (end.outcome, end.usage.llm_calls, end.usage.input_tokens) == ("refused", 1, 30)
    assert end.timings.rewrite_ms is not None


async def test_what_the_rule_joins_may_not_hide_what_the_words_find() -> None:
    """A question that only looked like a follow-up is answered as it is; the conversation has no part in it."""

    @dataclass(slots=True)
    class Particular(Shelf):
        async def retrieve(self, text: str, **options: Any) -> Retrieved:
            found = await Shelf.retrieve(self, text, **options)
            return replace(found, is_relevant=text == "And when is it open?")

    shelf = Particular()
    asking = Engine(
        shelf, ExtractiveAnswerer(), rewriter=Rewriting(text="flood cover: And when is it open?", by="rule")
    )
    found = await events(asking, question("And when is it open?", history=BEFORE))
    assert [text for text, _ in shelf.asked] == ["flood cover: And when is it open?", "And when is it open?"]
    assert done(found).outcome == "answered"
    assert not any(isinstance(event, Rewritten) for event in found)
