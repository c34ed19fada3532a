"""What a question is read with: whose words, from where, how many, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.past import PastAnswer
from adapters.ports import Inbound, Platform
from bot.conversations import EXCHANGES, HISTORY_TOKENS, Conversations
from bot.state.sqlite import SqliteState
from bot.state.transcripts import SqliteTranscripts
from rag.generate.prompt import estimated_tokens
from rag.types import Exchange
from tests.support.answers import inbound

DAY = 86_400.0
NOW = 100 * DAY
PUBLIC, BOTH = frozenset({"public"}), frozenset({"public", "staff"})


class Desk:
    """Conversations over memory, with a clock and access that a test may change."""

    def __init__(self, store: SqliteTranscripts) -> None:
        self.now = NOW
        self.readable = BOTH
        self.talk = Conversations(store, may_read=self._may_read, retention_days=30, now=lambda: self.now)

    async def said(self, past_id: str, ago: float = 10.0, **fields: Any) -> None:
        values: dict[str, Any] = {
            "id": past_id,
            "platform": "telegram",
            "conversation": "1001",
            "place": "1001",
            "person": "1001",
            "asked_at": self.now - ago,
            "question": f"Question {past_id}?",
            "answer": f"Answer {past_id}.",
            "collections": PUBLIC,
        }
        await self.talk.keep(PastAnswer(**(values | fields)))

    async def questions(self, asked: Inbound | None = None, readable: frozenset[str] = PUBLIC) -> list[str]:
        history = await self.talk.history(asked or inbound("And for cars?"), readable=readable)
        return [exchange.question for exchange in history]

    async def _may_read(self, _platform: Platform, _place: str) -> frozenset[str]:
        return self.readable


@pytest.fixture
async def desk() -> Desk:
    return Desk(await SqliteTranscripts.open(SqliteState.in_memory()))


async def test_history_is_the_latest_exchanges_oldest_first(desk: Desk) -> None:
    """The last few, in the order in which they were said."""
    for n in range(EXCHANGES + 3):
        await desk.said(str(n), ago=100.0 - n)
    assert await desk.questions() == [f"Question {n}?" for n in range(3, EXCHANGES + 3)]


async def test_history_has_a_budget(desk: Desk) -> None:
    """Long answers push out earlier exchanges; the last one is there in any case, cut if need be."""
    await desk.said("long", ago=30.0, answer="word " * HISTORY_TOKENS)
    await desk.said("short", ago=20.0)
    assert await desk.questions() == ["Question short?"]
    await desk.said("longer", ago=10.0, answer="word " * 2 * HISTORY_TOKENS)
    (exchange,) = await desk.talk.history(inbound(), readable=PUBLIC)
    assert exchange.question == "Question longer?"
    assert estimated_tokens(exchange.answer) <= HISTORY_TOKENS


@pytest.mark.parametrize(
    ("outcome", "is_remembered"),
    [
        ("answered", True),
        ("stopped", True),
        ("incomplete", True),
        ("refused", False),
        ("failed", False),
        ("busy", False),
    ],
)
async def test_only_what_was_answered_is_history(desk: Desk, outcome: str, *, is_remembered: bool) -> None:
    """Refusals and failures say nothing that a follow-up could be about."""
    await desk.said("1", outcome=outcome)
    assert bool(await desk.questions()) is is_remembered


@pytest.mark.parametrize(
    "other", [{"person": "2"}, {"conversation": "-100/7"}, {"conversation": "1002"}, {"platform": "slack"}]
)
async def test_history_is_one_persons_in_one_conversation(desk: Desk, other: dict[str, Any]) -> None:
    """Nothing of anybody else's, of another topic, chat or platform."""
    await desk.said("1", **other)
    assert await desk.questions() == []


async def test_what_may_not_be_read_any_more_has_never_been_said(desk: Desk) -> None:
    """An exchange is history only if all it may have come from may be read for this very question."""
    await desk.said("staff", ago=20.0, collections=BOTH)
    await desk.said("public", ago=10.0)
    assert await desk.questions(readable=BOTH) == ["Question staff?", "Question public?"]
    assert await desk.questions(readable=PUBLIC) == ["Question public?"]
    assert await desk.questions(readable=frozenset()) == []


async def test_an_answer_that_may_not_be_read_any_more_is_not_shown_again(desk: Desk) -> None:
    """Its question, the asker's own words, is all that comes back; no matter how it is looked for."""
    await desk.said(
        "1", collections=BOTH, suggestions=("More?",), standalone="More staff?", handle="5", question_id="4"
    )
    desk.readable = PUBLIC
    for found in (
        await desk.talk.last("telegram", "1001", "1001"),
        await desk.talk.by_message("telegram", "1001", "5"),
        await desk.talk.by_question("telegram", "1001", "4"),
    ):
        assert found is not None
        assert not found.is_readable
        assert (found.question, found.answer, found.sources, found.suggestions) == ("Question 1?", "", (), ())
        assert found.standalone is None
    desk.readable = BOTH
    whole = await desk.talk.last("telegram", "1001", "1001")
    assert whole is not None
    assert (whole.is_readable, whole.answer) == (True, "Answer 1.")


async def test_a_reply_is_about_the_answer_it_replies_to(desk: Desk) -> None:
    """That exchange, however long ago, in place of the last ones; also one of somebody else in the group."""
    await desk.said("old", ago=9 * DAY, handle="50,51")
    await desk.said("new", handle="60")
    assert await desk.questions(inbound("And for cars?", about="51")) == ["Question old?"]
    assert await desk.questions(inbound("And for cars?", about="99")) == []
    await desk.said("hers", conversation="-5", person="2", handle="70", is_private=False)
    group = inbound("And for cars?", conversation="-5", about="70", is_private=False)
    assert await desk.questions(group) == ["Question hers?"]
    assert await desk.questions(replace(group, conversation="-6")) == []
    assert await desk.questions(group, readable=frozenset({"partners"})) == []


async def test_a_follow_up_is_remembered_as_it_was_understood(desk: Desk) -> None:
    """The next follow-up leans on what it meant, not on its three words."""
    await desk.said("1", question="And for cars?", standalone="What does theft cover cost for cars?")
    (exchange,) = await desk.talk.history(inbound(), readable=PUBLIC)
    assert exchange == Exchange(question="What does theft cover cost for cars?", answer="Answer 1.")


async def test_a_conversation_begun_anew_has_no_history(desk: Desk) -> None:
    """And no last answer to look back at; what is asked from then on counts again."""
    await desk.said("1")
    await desk.talk.begin_anew("telegram", "1001", "1001")
    assert await desk.questions() == []
    assert await desk.talk.last("telegram", "1001", "1001") is None
    desk.now += 5
    await desk.said("2", ago=1.0)
    assert await desk.questions() == ["Question 2?"]


async def test_everything_of_a_person_is_forgotten(desk: Desk) -> None:
    """In all their conversations, and nothing of anybody else."""
    await desk.said("1")
    await desk.said("2", conversation="-5")
    await desk.said("hers", person="2", conversation="-5")
    assert await desk.talk.forget("telegram", "1001") == 2
    assert await desk.questions() == []
    assert await desk.questions(inbound(conversation="-5")) == []
    assert await desk.questions(inbound(conversation="-5", sender="2")) == ["Question hers?"]


async def test_nothing_is_kept_longer_than_promised(desk: Desk) -> None:
    """What is older is not used even before it is pruned."""
    await desk.said("1", ago=29 * DAY, handle="5")
    desk.now += 2 * DAY
    assert await desk.questions() == []
    assert await desk.talk.last("telegram", "1001", "1001") is None
    assert await desk.talk.by_message("telegram", "1001", "5") is None
    assert await desk.talk.rate("telegram", "1001", "5", "1001", "up") == "unknown"
    assert await desk.talk.prune() == 1


async def test_an_answer_written_over_another_takes_its_place(desk: Desk) -> None:
    """A changed question leaves no trace of its first version."""
    await desk.said("1", ago=20.0, handle="5")
    await desk.said("2", ago=10.0, handle="5")
    assert await desk.questions() == ["Question 2?"]


async def test_a_changed_question_is_not_read_with_its_former_answer(desk: Desk) -> None:
    """While it is answered anew, the answer that it replaces is no context."""
    await desk.said("1", ago=20.0, handle="4")
    await desk.said("2", ago=10.0, handle="5")
    assert await desk.questions(inbound("For cars?", answer_into="5")) == ["Question 1?"]


async def test_only_the_asker_rates_in_private_and_everybody_in_a_group(desk: Desk) -> None:
    """One verdict each, the latest; unknown messages are said to be that."""
    await desk.said("mine", handle="5")
    await desk.said("group", conversation="-5", handle="6", is_private=False)
    assert await desk.talk.rate("telegram", "1001", "5", "2", "down") == "not_yours"
    assert await desk.talk.rate("telegram", "1001", "99", "1001", "up") == "unknown"
    assert await desk.talk.rate("telegram", "1001", "5", "1001", "down", "wrong price") == "kept"
    for person in ("2", "3", "2"):
        assert await desk.talk.rate("telegram", "-5", "6", person, "up") == "kept"
    listed = {one.past.id: [(r.person, r.verdict, r.reason) for r in one.ratings] for one in await desk.talk.rated()}
    assert listed["mine"] == [("1001", "down", "wrong price")]
    assert sorted(listed["group"]) == [("2", "up", None), ("3", "up", None)]
