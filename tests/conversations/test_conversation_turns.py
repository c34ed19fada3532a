"""What a turn keeps of itself, and what it does where nothing can be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.past import PastAnswer
from adapters.ports import Inbound, Platform
from bot.conversations import Conversations
from bot.smalltalk import SmallTalk
from bot.state.sqlite import SqliteState, StateError
from bot.state.transcripts import SqliteTranscripts
from bot.turn import Turns
from rag.types import AnswerEvent, Citation, Done, Exchange, Failed, Rewritten, Sources
from tests.support.answers import RememberingMessage, ScriptedEngine, deltas, inbound, passage

PUBLIC = frozenset({"public"})
CITED = Citation(n=1, document="doc1.md", title="Title 1", collection="public", passage_id="p1")
WHOLE = Done(outcome="answered", answer="It costs 5 [1].", citations=(CITED,))


async def _may_read(_platform: Platform, _place: str) -> frozenset[str]:
    return PUBLIC


@pytest.fixture
async def talk() -> AsyncIterator[Conversations]:
    state = SqliteState.in_memory()
    yield Conversations(await SqliteTranscripts.open(state), may_read=_may_read)
    await state.close()


class Full:
    """Transcripts on a disk that takes and gives nothing."""

    def now(self) -> float:
        return 0.0

    async def history(
        self, inbound: Inbound, *, readable: frozenset[str], trace_id: str | None = None
    ) -> tuple[Exchange, ...]:
        raise StateError("state.db cannot be read (disk I/O error)")

    async def keep(self, past: PastAnswer) -> None:
        raise StateError("state.db cannot be written (disk full)")

    async def shown(self, past_id: str, handle: str) -> None:
        raise StateError("state.db cannot be written (disk full)")

    async def drop(self, past_id: str) -> None:
        raise StateError("state.db cannot be written (disk full)")


def turns(transcripts: Conversations | Full, *script: AnswerEvent | asyncio.Event) -> Turns:
    def suggest(**_: object) -> tuple[str, ...]:
        return ("What about floods?",)

    return Turns(
        engine=ScriptedEngine(*script),
        small_talk=SmallTalk(contact=None),
        write=lambda _: None,
        hash_key=b"k" * 32,
        deadline_s=60,
        clock=lambda: 101.0,
        transcripts=transcripts,
        suggest=suggest,
    )


async def last(talk: Conversations) -> PastAnswer | None:
    return await talk.last("telegram", "1001", "1001")


async def test_an_answer_is_kept_with_all_that_is_shown_of_it(talk: Conversations) -> None:
    """Text, sources, suggestions, what it was understood as, and what it may have come from."""
    message = RememberingMessage()
    rewritten = Rewritten(text="What does theft cover cost for cars?", by="model")
    run = turns(talk, rewritten, Sources(passages=(passage(1),)), *deltas("It costs 5 [1]."), WHOLE)
    asked = inbound("And for cars?", message_id="7", place="1001")
    await run.run(asked, message, collections=PUBLIC, handle=lambda: "8,9")
    past = await last(talk)
    assert past is not None
    assert (past.answer, past.standalone, past.outcome) == ("It costs 5 [1].", rewritten.text, "answered")
    assert [(source.n, source.passage_id, source.excerpt) for source in past.sources] == [(1, "p1", "")]
    assert (past.question_id, past.message_ids, past.collections) == ("7", ("8", "9"), PUBLIC)
    assert past.suggestions == message.finals[0].suggestions == ("What about floods?",)
    assert message.finals[0].can_rate


async def test_a_failure_can_be_looked_up_to_be_tried_again(talk: Conversations) -> None:
    """It is the last question, and no history; there is nothing to rate and nothing to ask next."""
    message = RememberingMessage()
    await turns(talk, Failed(code="timeout", cause="-")).run(inbound(), message, collections=PUBLIC)
    past = await last(talk)
    assert past is not None
    assert (past.question, past.outcome) == ("What does theft cover cost?", "failed")
    assert await talk.history(inbound(), readable=PUBLIC) == ()
    assert (message.finals[0].can_rate, message.finals[0].suggestions) == (False, ())


async def test_small_talk_is_not_kept(talk: Conversations) -> None:
    """Thanks are not what /retry or /sources mean."""
    await turns(talk).run(inbound("Thank you!"), RememberingMessage(), collections=PUBLIC)
    assert await last(talk) is None


async def test_an_answer_that_nobody_saw_is_not_kept(talk: Conversations) -> None:
    """The chat is gone: nothing was said."""
    message = RememberingMessage()
    message.gone.set()
    await turns(talk, asyncio.Event()).run(inbound(), message, collections=PUBLIC)
    assert await last(talk) is None


async def test_a_disk_that_is_full_costs_the_context_and_not_the_answer() -> None:
    """The answer is shown as ever; it cannot be rated, for nobody would know what was meant."""
    message = RememberingMessage()
    result = await turns(Full(), *deltas("It costs 5 [1]."), WHOLE).run(inbound(), message, collections=PUBLIC)
    assert (result.outcome, message.finals[0].text, message.finals[0].can_rate) == (
        "answered",
        "It costs 5 [1].",
        False,
    )


async def test_a_refused_question_can_be_asked_again_by_a_button(talk: Conversations) -> None:
    """What found no room in the queue is known, too."""
    message = RememberingMessage()
    await turns(talk).refuse(inbound(), message, "queue_full")
    past = await last(talk)
    assert past is not None
    assert (past.outcome, message.finals[0].can_retry) == ("busy", True)
