"""From an accepted event to a settled answer, whatever happens to the process in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.past import PastAnswer
from adapters.ports import Delivery, Final, Inbound, Platform, StopRequest
from bot.conversations import Conversations
from bot.intake import MOST_TRIES, Intake, OnDelivered, OnPosted, Permit
from bot.lanes import Lanes
from bot.outbox import MOST_WAITING, WORTH_S, Outbox
from bot.smalltalk import SmallTalk
from bot.state.sqlite import SqliteState
from bot.state.transcripts import SqliteTranscripts
from bot.state.turns import SqliteTurns
from bot.telemetry.line import TurnLine
from bot.turn import Turns
from rag.types import AnswerEvent, Done
from tests.support.answers import RememberingMessage, ScriptedEngine, deltas, inbound

ANSWER: tuple[AnswerEvent, ...] = (*deltas("It costs 5."), Done(outcome="answered", answer="It costs 5."))


class ChatMessage(RememberingMessage):
    """Posts with its first words, and tells so."""

    def __init__(
        self, chat: Chat, message_id: str | None, posted: OnPosted, delivered: OnDelivered, permit: Permit
    ) -> None:
        super().__init__()
        self.chat = chat
        self.message_id = message_id
        self.posted, self.delivered, self.permit = posted, delivered, permit
        self.closed = asyncio.Event()

    async def finish(self, final: Final) -> Delivery:
        if self.chat.gate is not None:
            await self.chat.gate.wait()
        if self.message_id is None:
            self.message_id = f"m{len(self.chat.messages)}"
            await self.posted(self.message_id)
        delivery = await super().finish(final)
        await self.delivered()
        return delivery

    async def close(self) -> None:
        self.closed.set()


@dataclass(slots=True)
class Chat:
    """A platform that remembers its messages; with a gate, no final gets through before it opens."""

    messages: list[ChatMessage] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def open_message(
        self,
        inbound: Inbound,
        *,
        on_posted: OnPosted | None = None,
        on_delivered: OnDelivered | None = None,
        permit: Permit | None = None,
    ) -> ChatMessage:
        return self._message(None, on_posted, on_delivered, permit)

    def reopen_message(
        self,
        inbound: Inbound,
        message_id: str,
        *,
        on_posted: OnPosted | None = None,
        on_delivered: OnDelivered | None = None,
        permit: Permit | None = None,
    ) -> ChatMessage:
        return self._message(message_id, on_posted, on_delivered, permit)

    def _message(
        self, message_id: str | None, posted: OnPosted | None, delivered: OnDelivered | None, permit: Permit | None
    ) -> ChatMessage:
        assert posted is not None
        assert delivered is not None
        assert permit is not None
        self.messages.append(ChatMessage(self, message_id, posted, delivered, permit))
        return self.messages[-1]

    @property
    def finals(self) -> list[str]:
        return [final.text for message in self.messages for final in message.finals]


class Process:
    """One start of the process over a store that outlives it."""

    def __init__(
        self,
        store: SqliteTurns,
        *script: AnswerEvent | asyncio.Event,
        owner: str = "a",
        lapse_s: float = 60.0,
        said: SqliteTranscripts | None = None,
    ) -> None:
        self.engine = ScriptedEngine(*(script or ANSWER))
        self.chat = Chat()
        self.lines: list[TurnLine] = []
        self.faults: list[Exception] = []
        self.outbox = Outbox(store, owner=owner, lapse_s=lapse_s)
        self.talk = Conversations(said, may_read=self._may_read) if said else None
        turns = Turns(
            engine=self.engine,
            transcripts=self.talk,
            small_talk=SmallTalk(contact=None),
            write=self.lines.append,
            hash_key=b"k" * 32,
            deadline_s=1e9,
        )
        self.intake = Intake(
            turns=turns,
            lanes=Lanes(store, owner=owner),
            outbox=self.outbox,
            may_read=self._may_read,
            admins=frozenset({"telegram:9"}),
            sleep=self._sleep,
            past=self.talk,
        )
        self.intake.connect("telegram", self.chat)

    async def ask(self, text: str, event: str, **fields: object) -> None:
        await self.intake.accept(inbound(text, event_id=event, **fields))

    async def resume(self) -> int:
        """What the watch does at its first look."""
        debts = await self.outbox.unpaid()
        for debt in debts:
            self.intake.take(debt)
        return len(debts)

    async def _may_read(self, _platform: Platform, _place: str) -> frozenset[str]:
        if self.faults:
            raise self.faults.pop()
        return frozenset({"public"})

    async def _sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def store() -> AsyncIterator[SqliteTurns]:
    state = SqliteState.in_memory()
    yield SqliteTurns(state)
    await state.close()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0)


async def until_settled(store: SqliteTurns) -> None:
    while await store.count():
        await asyncio.sleep(0)


async def test_an_event_delivered_ten_times_is_answered_once(store: SqliteTurns) -> None:
    """Repeats change nothing, during the answer and after it."""
    process = Process(store)
    await asyncio.gather(*(process.ask("How much?", "1") for _ in range(10)))
    await until_settled(store)
    await process.ask("How much?", "1")
    await process.intake.drain(timeout_s=5)
    assert process.chat.finals == ["It costs 5."]


async def test_a_message_that_follows_at_once_is_answered_along(store: SqliteTurns) -> None:
    """Nothing visible yet: one answer to both, both events settled, one line in the log."""
    process = Process(store, asyncio.Event())
    await process.ask("How much is theft cover?", "1")
    await until(lambda: bool(process.engine.questions))
    process.engine.script = ANSWER
    await process.ask("For a motorbike, I mean.", "2")
    await until_settled(store)
    await process.intake.drain(timeout_s=5)
    assert process.engine.questions[-1].text == "How much is theft cover?\nFor a motorbike, I mean."
    assert process.chat.finals == ["It costs 5."]
    assert len(process.lines) == 1


async def test_a_message_that_follows_visible_text_waits_its_turn(store: SqliteTurns) -> None:
    """What is being read is not taken back: the second question gets an answer of its own, after the first."""
    gate = asyncio.Event()
    process = Process(store, *deltas("It "), gate, *ANSWER[1:])
    await process.ask("How much is theft cover?", "1")
    await until(lambda: bool(process.chat.messages) and process.chat.messages[0].has_text.is_set())
    await process.ask("And flood cover?", "2")
    await until(lambda: len(process.chat.messages) == 2)
    assert process.chat.messages[1].statuses == [
        "One moment: I will answer this as soon as your previous question is done."
    ]
    assert len(process.engine.questions) == 1
    gate.set()
    await until_settled(store)
    await process.intake.drain(timeout_s=5)
    assert [question.text for question in process.engine.questions] == ["How much is theft cover?", "And flood cover?"]
    assert process.chat.finals == ["It costs 5.", "It costs 5."]


async def test_a_full_queue_says_so(store: SqliteTurns) -> None:
    """What finds no room is refused at once, with a sentence, and stands in nobody's way."""
    gate = asyncio.Event()
    process = Process(store, *deltas("It "), gate, *ANSWER[1:])
    await process.ask("Question 0?", "0")
    await until(lambda: bool(process.chat.messages) and process.chat.messages[0].has_text.is_set())
    for number in range(1, MOST_WAITING + 2):
        await process.ask(f"Question {number}?", str(number))
    await until(lambda: len(process.chat.finals) == 1)
    assert process.chat.finals[0].startswith("I still have several of your questions in hand.")
    assert process.lines[0].outcome == "busy"
    gate.set()
    await until_settled(store)
    await process.intake.drain(timeout_s=5)
    assert process.chat.finals.count("It costs 5.") == 2  # those that waited came within a second: one answer
    assert process.engine.questions[-1].text.count("?") == MOST_WAITING


async def test_a_known_final_text_is_delivered_by_the_next_start(store: SqliteTurns) -> None:
    """Into the same message, without asking the model again; and logged as what it was."""
    first = Process(store)
    first.chat.gate = asyncio.Event()
    await first.ask("How much?", "1")
    await first.engine.closed.wait()
    await first.chat.messages[0].posted("77")
    turn = await store.get("1")
    while turn is None or turn.final is None:
        turn = await store.get("1")
        await asyncio.sleep(0)
    await store.bury("a")
    second = Process(store, owner="b")
    assert await second.resume() == 1
    await until_settled(store)
    assert second.engine.questions == []
    assert (second.chat.messages[0].message_id, second.chat.finals) == ("77", ["It costs 5."])
    assert second.lines[0].outcome == "answered"
    await first.intake.drain(timeout_s=0)


async def test_an_unfinished_answer_is_begun_again_in_its_message(store: SqliteTurns) -> None:
    """The half that was cut off becomes the whole."""
    first = Process(store, *deltas("It "), asyncio.Event())
    await first.ask("How much?", "1")
    await until(lambda: bool(first.chat.messages))
    await first.chat.messages[0].posted("77")
    await store.bury("a")
    second = Process(store, owner="b")
    await second.resume()
    await until_settled(store)
    assert (second.chat.messages[0].message_id, second.chat.finals) == ("77", ["It costs 5."])
    await first.intake.drain(timeout_s=0)
    assert first.chat.finals == []


async def test_whoever_lost_an_answer_stops_writing_it(store: SqliteTurns) -> None:
    """A process that was taken for dead finds out at its next heartbeat, and leaves the message alone."""
    first = Process(store, *deltas("It "), asyncio.Event())
    await first.ask("How much?", "1")
    await until(lambda: bool(first.chat.messages) and first.chat.messages[0].has_text.is_set())
    await store.take_over("b", lapse_s=-1)
    watching = asyncio.create_task(first.intake.watch())
    await first.chat.messages[0].closed.wait()
    watching.cancel()
    assert first.engine.closed.is_set()
    assert first.chat.finals == []
    assert await store.beat("b") == {"1"}


async def test_whoever_gets_its_own_answer_back_keeps_it(store: SqliteTurns) -> None:
    """Taken for dead and handed back: what it was doing is void, and does not give the turn away once more."""
    process = Process(store, *deltas("It "), asyncio.Event())
    await process.ask("How much?", "1")
    await until(lambda: bool(process.chat.messages) and process.chat.messages[0].has_text.is_set())
    await store.take_over("b", lapse_s=-1)
    await store.release("1", "b")
    process.engine.script = ANSWER
    assert await process.resume() == 1
    await process.chat.messages[0].closed.wait()
    assert await store.beat("a") == {"1"}
    await until_settled(store)
    await process.intake.drain(timeout_s=5)
    assert process.chat.finals == ["It costs 5."]


async def test_a_process_that_stood_still_asks_before_it_writes(store: SqliteTurns) -> None:
    """Long after its last heartbeat, a message may be written to only if it is still ours by the record."""
    first = Process(store, *deltas("It "), asyncio.Event(), lapse_s=0.0)
    await first.ask("How much?", "1")
    await until(lambda: bool(first.chat.messages))
    assert await first.chat.messages[0].permit() is True
    await store.take_over("b", lapse_s=-1)
    assert await first.chat.messages[0].permit() is False
    await first.intake.drain(timeout_s=0)


async def test_a_shutdown_hands_over_what_it_cannot_finish(store: SqliteTurns) -> None:
    """What runs is cut off after the drain, what waits is not begun; another replica gets both at once."""
    first = Process(store, *deltas("It "), asyncio.Event())
    await first.ask("How much?", "1")
    await until(lambda: bool(first.chat.messages) and first.chat.messages[0].has_text.is_set())
    await first.chat.messages[0].posted("77")
    await first.ask("And floods?", "2")
    assert await first.intake.drain(timeout_s=0) is False
    second = Process(store, owner="b")
    assert await second.resume() == 2
    await until_settled(store)
    await second.intake.drain(timeout_s=5)
    assert second.chat.finals == ["It costs 5.", "It costs 5."]


async def test_a_shutdown_waits_for_what_comes_to_its_end(store: SqliteTurns) -> None:
    """An answer that ends within the drain is delivered and settled."""
    gate = asyncio.Event()
    process = Process(store, *deltas("It "), gate, *ANSWER[1:])
    await process.ask("How much?", "1")
    await until(lambda: bool(process.chat.messages) and process.chat.messages[0].has_text.is_set())
    draining = asyncio.create_task(process.intake.drain(timeout_s=60))
    await asyncio.sleep(0)
    gate.set()
    assert await draining is True
    assert process.chat.finals == ["It costs 5."]
    assert await store.count() == 0


async def test_a_fault_on_the_way_is_tried_again(store: SqliteTurns) -> None:
    """The store was away for a moment: the answer comes all the same, and nothing behind it is stuck."""
    process = Process(store)
    process.faults = [RuntimeError("away"), RuntimeError("still away")]
    await process.ask("How much?", "1")
    await until_settled(store)
    assert process.chat.finals == ["It costs 5."]
    await process.intake.drain(timeout_s=5)


async def test_a_question_that_nobody_survives_gets_a_sentence(store: SqliteTurns) -> None:
    """After many owners that did not live to answer it, it is not begun again."""
    first = Process(store, asyncio.Event())
    await first.ask("How much?", "1")
    for number in range(MOST_TRIES - 1):
        await store.take_over(str(number), lapse_s=-1)
    last = Process(store, owner="last", lapse_s=-1)
    await last.resume()
    await until_settled(store)
    assert last.engine.questions == []
    assert last.lines[0].outcome == "failed"
    await first.intake.drain(timeout_s=0)


async def test_a_day_old_debt_is_dropped(store: SqliteTurns) -> None:
    """An answer that comes a day late is of no use any more."""
    first = Process(store, asyncio.Event())
    await first.ask("How much?", "1")
    late = Outbox(store, owner="b", lapse_s=-1, now=lambda: 4e9 + WORTH_S)
    assert await late.unpaid() == []
    assert await store.count() == 0
    await first.intake.drain(timeout_s=0)


async def test_only_the_asker_and_admins_may_stop(store: SqliteTurns) -> None:
    """Somebody else's press changes nothing; an admin's does."""
    process = Process(store, *deltas("It "), asyncio.Event())
    await process.ask("How much?", "1")
    await until(lambda: bool(process.chat.messages) and process.chat.messages[0].has_text.is_set())

    async def press(presser: str) -> str:
        return await process.intake.stop(
            StopRequest(platform="telegram", conversation="1001", asker="1001", presser=presser)
        )

    assert await press("5") == "refused"
    assert await press("9") == "stopped"
    await until_settled(store)
    assert process.chat.messages[0].finals[0].note == "⏹ Stopped"
    await process.intake.drain(timeout_s=5)
    assert await press("1001") == "idle"


@pytest.fixture
async def said() -> AsyncIterator[SqliteTranscripts]:
    state = SqliteState.in_memory()
    yield await SqliteTranscripts.open(state)
    await state.close()


async def answered(process: Process, store: SqliteTurns, text: str, event: str, **fields: object) -> None:
    await process.ask(text, event, **fields)
    await until_settled(store)
    await until(lambda: not process.intake._work)


async def test_a_question_is_read_with_what_was_said_before(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """The engine gets the exchanges of this person in this conversation; small talk is none."""
    process = Process(store, said=said)
    for number, text in enumerate(("How much?", "Thanks!", "And for cars?")):
        await answered(process, store, text, str(number))
    await answered(process, store, "And for cars?", "9", sender="2", conversation="2")
    histories = [[(past.question, past.answer) for past in asked.history] for asked in process.engine.questions]
    assert histories == [[], [("How much?", "It costs 5.")], []]


async def test_an_answer_is_found_by_its_message(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """By ours and by the asker's, with what it was answered with; it may be rated."""
    process = Process(store, said=said)
    await answered(process, store, "How much?", "1", message_id="7")
    assert process.talk is not None
    assert process.chat.messages[0].finals[0].can_rate
    for past in (
        await process.talk.by_message("telegram", "1001", "m1"),
        await process.talk.by_question("telegram", "1001", "7"),
        await process.talk.last("telegram", "1001", "1001"),
    ):
        assert past is not None
        assert (past.question, past.answer, past.outcome, past.handle) == ("How much?", "It costs 5.", "answered", "m1")


async def test_a_changed_question_is_answered_in_place(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """The same message gets the new answer, which has the old one neither as context nor beside it in the history."""
    process = Process(store, said=said)
    await answered(process, store, "How mush?", "1", message_id="7")
    process.engine.script = (*deltas("It costs 6."), Done(outcome="answered", answer="It costs 6."))
    await answered(process, store, "How much?", "2", message_id="7", is_edit=True)
    assert [message.message_id for message in process.chat.messages if message.finals] == ["m1", "m1"]
    assert process.chat.finals == ["It costs 5.", "It costs 6."]
    await answered(process, store, "And for cars?", "3", message_id="9")
    histories = [[past.question for past in asked.history] for asked in process.engine.questions]
    assert histories == [[], [], ["How much?"]]


async def test_a_changed_question_that_is_not_the_last_is_left(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """The conversation has gone on: nothing is asked, posted or owed."""
    process = Process(store, said=said)
    await answered(process, store, "How much?", "1", message_id="7")
    await answered(process, store, "And for cars?", "2", message_id="8")
    await answered(process, store, "How many?", "3", message_id="7", is_edit=True)
    assert len(process.engine.questions) == 2
    assert len(process.chat.finals) == 2


async def test_a_changed_message_that_was_never_answered_is_a_question(
    store: SqliteTurns, said: SqliteTranscripts
) -> None:
    """A greeting that becomes a question gets its answer, in a message of its own."""
    process = Process(store, said=said)
    await answered(process, store, "Hello!", "1", message_id="7")
    await answered(process, store, "How much?", "2", message_id="7", is_edit=True)
    assert process.chat.finals[-1] == "It costs 5."
    assert process.chat.messages[-1].message_id != process.chat.messages[0].message_id


async def test_a_question_that_is_changed_while_it_is_answered_begins_anew(
    store: SqliteTurns, said: SqliteTranscripts
) -> None:
    """The answer to its first version ends at once, and the other one takes its place."""
    process = Process(store, *deltas("It "), asyncio.Event(), said=said)
    await process.ask("How mush?", "1", message_id="7")
    await until(lambda: bool(process.chat.messages) and process.chat.messages[0].has_text.is_set())
    process.engine.script = ANSWER
    await process.ask("How much?", "2", message_id="7", is_edit=True)
    await until_settled(store)
    await until(lambda: not process.intake._work)
    assert [message.message_id for message in process.chat.messages if message.finals] == ["m2", "m2"]
    assert [final.strip() for final in process.chat.finals] == ["It", "It costs 5."]
    assert [line.outcome for line in process.lines] == ["stopped", "answered"]


async def test_a_changed_question_survives_its_process(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """The next start writes into the same message, whatever the first one had come to."""
    first = Process(store, said=said)
    await answered(first, store, "How mush?", "1", message_id="7")
    first.engine.script = (*deltas("It "), asyncio.Event())
    await first.ask("How much?", "2", message_id="7", is_edit=True)
    await until(lambda: len(first.engine.questions) == 2 and first.chat.messages[-1].has_text.is_set())
    await store.bury("a")
    second = Process(store, owner="b", said=said)
    assert await second.resume() == 1
    await until_settled(store)
    assert ([m.message_id for m in second.chat.messages], second.chat.finals) == (["m1"], ["It costs 5."])
    assert second.engine.questions[0].history == ()


async def test_who_is_not_the_owner_any_more_remembers_nothing(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """A process that was taken for dead does not put its words in place of what the new owner says."""
    gate = asyncio.Event()
    first = Process(store, *deltas("It "), gate, *ANSWER[1:], lapse_s=-1, said=said)
    await first.ask("How much?", "1")
    await until(lambda: bool(first.chat.messages) and first.chat.messages[0].has_text.is_set())
    assert await store.take_over("b", lapse_s=-1)
    gate.set()
    await until(lambda: not first.intake._work)
    assert first.talk is not None
    assert await first.talk.last("telegram", "1001", "1001") is None
    assert first.chat.finals == []


async def test_an_answer_begun_again_is_not_read_with_itself(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """What its former owner had kept of it, before it was lost, is no earlier exchange."""
    first = Process(store, asyncio.Event(), said=said)
    await first.ask("How much?", "1")
    turn = await store.get("1")
    assert turn is not None
    values: dict[str, Any] = {"conversation": "1001", "place": "1001", "person": "1001", "asked_at": turn.accepted_at}
    for name, answer in ((turn.trace_id, "It was 4."), ("earlier", "Hail costs 3.")):
        values |= {"id": name, "question": f"{answer}?", "answer": answer}
        await said.put(PastAnswer(platform="telegram", **values))
    await store.bury("a")
    second = Process(store, owner="b", said=said)
    assert await second.resume() == 1
    await until_settled(store)
    assert [past.answer for past in second.engine.questions[0].history] == ["Hail costs 3."]
    await first.intake.drain(timeout_s=0)


async def test_a_retry_goes_into_the_message_it_belongs_to(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """`answer_into` names the messages that are written over; nobody joins such a question."""
    process = Process(store, said=said)
    await answered(process, store, "How much?", "1", message_id="7")
    await process.ask("How much?", "2", answer_into="m1")
    await process.ask("And for cars?", "3")
    await until_settled(store)
    assert [message.message_id for message in process.chat.messages if message.finals][:2] == ["m1", "m1"]
    assert len(process.chat.finals) == 3


async def test_a_fixed_sentence_is_never_written_over_an_answer(store: SqliteTurns, said: SqliteTranscripts) -> None:
    """Changed or tried again too fast, or with no room left: the answer stands, and the sentence comes below it."""
    process = Process(store, said=said)
    await answered(process, store, "How mush?", "1", message_id="7")
    await answered(process, store, "How much?", "2", message_id="7", is_edit=True, instead="too_fast")
    await answered(process, store, "How much?", "3", answer_into="m1", instead="late")
    gate = asyncio.Event()
    process.engine.script = (*deltas("It "), gate, *ANSWER[1:])
    await process.ask("Question 0?", "10", answer_into="m1")
    await until(lambda: len(process.engine.questions) == 2)
    for number in range(1, MOST_WAITING + 1):
        await process.ask(f"Question {number}?", f"1{number}")
    await process.ask("How much?", "20", message_id="7", is_edit=True)
    await process.ask("How much?", "21", answer_into="m1")
    await until(lambda: sum(final.startswith("I still have several") for final in process.chat.finals) == 2)
    gate.set()
    await until_settled(store)
    await until(lambda: not process.intake._work)
    fixed = [message for message in process.chat.messages if message.finals and "It " not in message.finals[0].text]
    assert len(fixed) == 4
    assert "m1" not in {message.message_id for message in fixed}


async def test_a_question_asked_before_everything_was_forgotten_leaves_nothing(
    store: SqliteTurns, said: SqliteTranscripts
) -> None:
    """It is answered, and not remembered."""
    gate = asyncio.Event()
    process = Process(store, *deltas("It "), gate, *ANSWER[1:], said=said)
    await process.ask("How much?", "1")
    await until(lambda: bool(process.chat.messages) and process.chat.messages[0].has_text.is_set())
    assert process.talk is not None
    await process.talk.forget("telegram", "1001")
    gate.set()
    await until_settled(store)
    await until(lambda: not process.intake._work)
    assert process.chat.finals == ["It costs 5."]
    assert await process.talk.last("telegram", "1001", "1001") is None
