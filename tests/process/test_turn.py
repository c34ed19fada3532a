"""One question, start to finish."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import pytest
import structlog

from bot.smalltalk import SmallTalk
from bot.telemetry.line import TurnLine
from bot.turn import Turns
from bot.turn_ports import TurnResult
from rag.types import AnswerEvent, Citation, Done, Failed, Figures, Sources, Status, Timings, Usage
from tests.support.answers import RememberingMessage, ScriptedEngine, deltas, inbound, passage

CITED = Citation(n=1, document="doc1.md", title="Title 1", collection="public", passage_id="p1")
WHOLE: tuple[AnswerEvent, ...] = (
    Status(key="retrieving"),
    Sources(passages=(passage(1), passage(2))),
    *deltas("It costs ", "90,000 VND [1]."),
    Done(
        outcome="answered",
        answer="It costs 90,000 VND [1].",
        citations=(CITED,),
        timings=Timings(retrieve_ms=3.14159),
        usage=Usage(model="m", llm_calls=1, output_tokens=7),
        epoch=5,
    ),
)


class Stage:
    """A `Turns` over a scripted engine, the message it writes to, and the lines it logs."""

    def __init__(self, *script: AnswerEvent | asyncio.Event | Exception) -> None:
        self.engine = ScriptedEngine(*script)
        self.message = RememberingMessage()
        self.lines: list[TurnLine] = []
        self.turns = Turns(
            engine=self.engine,
            small_talk=SmallTalk(contact="1900 0000"),
            write=self.lines.append,
            hash_key=b"k" * 32,
            deadline_s=60,
            clock=lambda: 101.0,
        )

    async def run(self, text: str = "What does theft cover cost?", stop: asyncio.Event | None = None) -> TurnResult:
        return await self.turns.run(inbound(text), self.message, collections=frozenset({"public"}), stop=stop)


async def test_an_answer_is_shown_as_it_comes_and_finished_once() -> None:
    """Deltas reach the message in order; the final carries the whole text and only the cited source."""
    stage = Stage(*WHOLE)
    result = await stage.run()
    assert stage.message.appended == ["It costs ", "90,000 VND [1]."]
    (final,) = stage.message.finals
    assert (final.text, [source.n for source in final.sources]) == ("It costs 90,000 VND [1].", [1])
    assert (result.outcome, result.citations) == ("answered", (CITED,))


async def test_every_turn_leaves_one_line_with_every_field() -> None:
    """The canonical line has the documented fields, and neither the question nor the platform's ids."""
    stage = Stage(*WHOLE)
    await stage.run()
    (line,) = stage.lines
    logged = line.as_dict()
    assert set(logged) == {"event", *(field.name for field in fields(TurnLine))}
    assert (logged["total_ms"], logged["first_visible_ms"], logged["retrieve_ms"]) == (1000.0, 500.0, 3.14)
    assert (logged["passages"], logged["cited"], logged["epoch"], logged["queue_ms"]) == (2, 1, 5, 1000.0)
    assert "theft" not in str(logged)
    assert "1001" not in str(logged)


async def test_the_deadline_runs_from_the_arrival_of_the_question() -> None:
    """Time spent in a queue is not given back."""
    stage = Stage(*WHOLE)
    await stage.run()
    assert stage.engine.questions[0].deadline.at == 160.0


async def test_a_stop_keeps_what_was_shown_and_ends_the_model_call() -> None:
    """After a stop the message holds the text so far, marked, and the engine's stream is closed."""
    stage, stop = Stage(*deltas("Half"), asyncio.Event()), asyncio.Event()
    turn = asyncio.create_task(stage.run(stop=stop))
    await stage.message.has_text.wait()
    stop.set()
    result = await turn
    assert stage.engine.closed.is_set()
    assert (result.outcome, stage.message.finals[0].text, stage.message.finals[0].note) == (
        "stopped",
        "Half",
        "⏹ Stopped",
    )


async def test_a_reader_who_left_ends_the_model_call() -> None:
    """A closed tab or a deleted message stops the engine; the outcome says why."""
    stage = Stage(*deltas("Half"), asyncio.Event())
    turn = asyncio.create_task(stage.run())
    await stage.message.has_text.wait()
    stage.message.gone.set()
    assert (await turn).outcome == "gone"
    assert stage.engine.closed.is_set()


async def test_cancelling_a_turn_ends_the_model_call() -> None:
    """A shutdown that cuts a turn off closes the engine's stream and writes no line: the answer is still owed."""
    stage = Stage(*deltas("Half"), asyncio.Event())
    turn = asyncio.create_task(stage.run())
    await stage.message.has_text.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert stage.engine.closed.is_set()
    assert stage.lines == []


async def test_a_failure_is_told_kindly_and_logged_by_its_code() -> None:
    """The asker reads a sentence in their language, without cause or code; the line has the code."""
    stage = Stage(Failed(code="model_refused_key", cause="401 from the endpoint"))
    result = await stage.run("Phí bảo hiểm mất cắp là bao nhiêu?")
    assert (result.outcome, result.error, stage.lines[0].error) == ("failed", "model_refused_key", "model_refused_key")
    assert "401" not in result.answer
    assert result.language == "vi"
    assert stage.message.finals[0].can_retry


async def test_an_interrupted_answer_is_marked() -> None:
    """What arrived before the model died stays, with a visible mark and a way to retry."""
    stage = Stage(*deltas("Half"), Done(outcome="incomplete", answer="Half", error="model_interrupted"))
    await stage.run()
    final = stage.message.finals[0]
    assert (final.text, final.note, final.can_retry) == ("Half", "⚠ Incomplete", True)


async def test_a_bug_in_the_engine_does_not_reach_the_asker() -> None:
    """An unexpected exception becomes a kind sentence and `internal` in the line."""
    stage = Stage(RuntimeError("secret detail"))
    result = await stage.run()
    assert (result.outcome, stage.lines[0].error) == ("failed", "internal")
    assert "secret detail" not in result.answer


async def test_small_talk_asks_neither_documents_nor_model() -> None:
    """A greeting is answered without the engine."""
    stage = Stage()
    assert (await stage.run("Xin chào!")).outcome == "smalltalk"
    assert stage.engine.questions == []
    assert stage.message.finals[0].text.startswith("Xin chào!")


async def test_a_conversation_has_the_same_pseudonym_in_every_line() -> None:
    """Lines of one conversation can be put together, and only with the key can anyone tell which it was."""
    stage = Stage(*WHOLE)
    await stage.run()
    await stage.run()
    assert stage.lines[0].conversation == stage.lines[1].conversation
    assert len(stage.lines[0].conversation) == 16


@pytest.mark.parametrize("how", ["stopped", "gone"])
async def test_a_turn_that_is_cut_off_says_what_it_cost(how: str) -> None:
    """The line of a stopped answer, and of one whose reader left, has the stages and the model call that there were."""
    figures = Figures(
        timings=Timings(retrieve_ms=4.0, llm_first_token_ms=80.0),
        usage=Usage(model="m", llm_calls=1, unreported=1_000),
        epoch=5,
    )
    stage, stop = Stage(figures, *deltas("Half"), asyncio.Event()), asyncio.Event()
    turn = asyncio.create_task(stage.run(stop=stop))
    await stage.message.has_text.wait()
    (stop if how == "stopped" else stage.message.gone).set()
    result = await turn
    (line,) = stage.lines
    assert (line.outcome, line.model, line.llm_calls, line.epoch) == (how, "m", 1, 5)
    # Charged as an estimate of what was sent and shown, and never logged as a figure.
    assert (result.tokens, line.input_tokens, line.output_tokens) == (1_002, None, None)
    assert (line.retrieve_ms, line.llm_first_token_ms) == (4.0, 80.0)


async def test_a_call_without_figures_is_charged_by_estimate() -> None:
    """What an endpoint does not report counts against the day's allowance all the same; what it reports, as it is."""
    for usage, tokens in (
        (Usage(llm_calls=1, unreported=700), 700),
        (Usage(llm_calls=2, input_tokens=90, output_tokens=10, unreported=200), 300),
        (Usage(llm_calls=1, input_tokens=90, output_tokens=10), 100),
        (Usage(), 0),
    ):
        stage = Stage(*deltas("Whole."), Done(outcome="answered", answer="Whole.", usage=usage))
        result = await stage.run()
        assert result.tokens == tokens
        assert (stage.lines[0].input_tokens, stage.lines[0].output_tokens) == (usage.input_tokens, usage.output_tokens)


async def test_the_log_says_why_an_answer_broke_off() -> None:
    """The cause of a cut answer is logged beside the trace id of its turn; the asker sees neither."""
    stage = Stage(*deltas("Half"), Done(outcome="incomplete", answer="Half", error="timeout", cause="host: silent"))
    with structlog.testing.capture_logs() as logged:
        result = await stage.run()
    assert [(event["event"], event["cause"], event["trace_id"]) for event in logged] == [
        ("answer_cut", "host: silent", result.trace_id)
    ]
    assert "silent" not in stage.message.finals[0].text


async def test_a_stopped_answer_keeps_the_sources_of_what_was_shown() -> None:
    """A number in the text that stays leads somewhere; what was only offered is not listed."""
    offered = Sources(passages=(passage(1), passage(2)))
    stage, stop = Stage(offered, *deltas("It costs 90,000 VND [2]. And"), asyncio.Event()), asyncio.Event()
    turn = asyncio.create_task(stage.run(stop=stop))
    await stage.message.has_text.wait()
    stop.set()
    result = await turn
    assert [source.n for source in stage.message.finals[0].sources] == [2]
    assert ([citation.n for citation in result.citations], stage.lines[0].cited) == ([2], 1)
