"""What every `TranscriptStore` must do; run over memory, SQLite, Redis and both by `test_state_transcripts.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapters.past import PastAnswer
from adapters.ports import SourceLink
from bot.state.transcript_ports import Lane, Mark, Rating, TranscriptStore

MINE = Lane(platform="telegram", conversation="-100/7", person="1")
THEIRS = Lane(platform="telegram", conversation="-100/7", person="2")


def past(past_id: str, at: float = 1.0, *, lane: Lane = MINE, **fields: Any) -> PastAnswer:
    values: dict[str, Any] = {
        "id": past_id,
        "platform": lane.platform,
        "conversation": lane.conversation,
        "place": "-100",
        "person": lane.person,
        "asked_at": at,
        "question": f"Question {past_id}?",
        "answer": f"Answer {past_id} [1].",
        "collections": frozenset({"public"}),
    }
    return PastAnswer(**(values | fields))


def rating(person: str = "1", at: float = 5.0, **fields: Any) -> Rating:
    values: dict[str, Any] = {"person": person, "verdict": "up", "reason": None, "at": at}
    return Rating(**(values | fields))


async def ids(store: TranscriptStore, lane: Lane = MINE, limit: int = 10) -> list[str]:
    return [one.id for one in await store.latest(lane, limit=limit)]


class TranscriptStoreContract:
    """Subclasses provide the fixture `store`."""

    async def test_an_exchange_comes_back_as_it_was(self, store: TranscriptStore) -> None:
        """Every field, marks and emoji included; half an emoji becomes a question mark."""
        link = SourceLink(n=1, title="Bảng phí", passage_id="p1", document="a.md", collection="public", page=3)
        whole = past(
            "1",
            1700000000.123456,
            question="Phí là bao nhiêu? 🛵",
            standalone="Phí bảo hiểm là bao nhiêu?",
            outcome="incomplete",
            language="vi",
            sources=(link,),
            suggestions=("Còn ô tô?", "Mua ở đâu?"),
            question_id="40",
            handle="41,42",
            is_private=False,
        )
        assert await store.put(whole)
        assert await store.get("1") == whole
        await store.put(past("2", question="Half \ud83d"))
        assert (found := await store.get("2")) is not None
        assert found.question == "Half ?"

    async def test_a_lane_gives_its_latest_first(self, store: TranscriptStore) -> None:
        """Neither another person's, nor another topic's, nor more than wanted."""
        for n in range(4):
            await store.put(past(str(n), float(n)))
        await store.put(past("other", 9.0, lane=THEIRS))
        await store.put(past("topic", 9.0, lane=replace(MINE, conversation="-100/8")))
        await store.put(past("platform", 9.0, lane=replace(MINE, platform="slack")))
        assert await ids(store) == ["3", "2", "1", "0"]
        assert await ids(store, limit=2) == ["3", "2"]

    async def test_an_answer_is_found_by_any_of_its_messages(self, store: TranscriptStore) -> None:
        """And by its question's; not in another conversation, and not after it was taken out."""
        await store.put(past("1", question_id="40"))
        await store.shown("1", "41,42")
        for kind, message in (("answer", "41"), ("answer", "42"), ("question", "40")):
            found = await store.find("telegram", "-100/7", message, kind=kind)  # type: ignore[arg-type]
            assert found is not None
            assert found.id == "1"
        assert await store.find("telegram", "-100/7", "40", kind="answer") is None
        assert await store.find("telegram", "-100/8", "41", kind="answer") is None
        await store.drop("1")
        assert await store.find("telegram", "-100/7", "41", kind="answer") is None
        assert await store.find("telegram", "-100/7", "40", kind="question") is None
        assert await ids(store) == []

    async def test_the_newest_answer_to_a_question_counts(self, store: TranscriptStore) -> None:
        """A question that was changed and answered again stands for its new answer."""
        await store.put(past("1", 1.0, question_id="40", handle="41"))
        await store.put(past("2", 2.0, question_id="40", handle="41"))
        await store.drop("1")
        for kind, message in (("question", "40"), ("answer", "41")):
            found = await store.find("telegram", "-100/7", message, kind=kind)  # type: ignore[arg-type]
            assert found is not None
            assert found.id == "2"

    async def test_a_lane_begun_anew_is_empty(self, store: TranscriptStore) -> None:
        """What was asked before has gone from the lane, what is asked after is there; others' lanes stay."""
        await store.put(past("1", 1.0, handle="41"))
        await store.put(past("theirs", 1.0, lane=THEIRS))
        await store.mark(Mark(kind="new", key=MINE.key, at=2.0))
        await store.mark(Mark(kind="new", key=MINE.key, at=0.5))
        await store.put(past("late", 1.5))
        assert await ids(store) == []
        await store.put(past("2", 3.0))
        assert (await ids(store), await ids(store, THEIRS)) == (["2"], ["theirs"])
        assert await store.find("telegram", "-100/7", "41", kind="answer") is not None

    async def test_a_forgotten_person_has_left_nothing(self, store: TranscriptStore) -> None:
        """Questions, answers and ratings, wherever they were; an answer still being written is not kept either."""
        await store.put(past("1", 1.0, handle="41", question_id="40"))
        await store.put(past("2", 2.0, lane=replace(MINE, conversation="1")))
        await store.put(past("theirs", 1.0, lane=THEIRS))
        await store.rate("1", rating("2"))
        await store.rate("theirs", rating("1"))
        await store.rate("theirs", rating("2"))
        assert await store.mark(Mark(kind="forget", key="telegram:1", at=10.0)) == 2
        assert not await store.put(past("late", 9.0))
        assert await store.put(past("3", 11.0))
        assert await ids(store) == ["3"]
        assert await store.get("1") is None
        assert await store.find("telegram", "-100/7", "41", kind="answer") is None
        assert await store.find("telegram", "-100/7", "40", kind="question") is None
        (left,) = await store.rated(since=0.0)
        assert (left.past.id, [one.person for one in left.ratings]) == ("theirs", ["2"])

    async def test_a_conversation_that_moves_takes_its_history_along(self, store: TranscriptStore) -> None:
        """The new place has it, the old one nothing; ids of messages of the old place mean nothing in the new one."""
        old, new = (Lane(platform="telegram", conversation=name, person="1") for name in ("-5", "-1005"))
        await store.put(past("0", 0.5, lane=old, place="-5"))
        await store.mark(Mark(kind="new", key=old.key, at=0.7))
        await store.put(past("1", 1.0, lane=old, place="-5", handle="41", question_id="40"))
        await store.put(past("topic", 1.0))
        await store.move("telegram", "-5", "-1005")
        assert (await ids(store, old), await ids(store, new)) == ([], ["1"])
        moved = await store.get("1")
        assert moved is not None
        assert (moved.place, moved.handle, moved.question_id) == ("-1005", None, None)
        assert await store.find("telegram", "-1005", "41", kind="answer") is None
        assert await ids(store) == ["topic"]

    async def test_a_person_has_one_rating_of_an_answer(self, store: TranscriptStore) -> None:
        """A later one replaces it; several people may rate; only those since a day are listed, by question."""
        await store.put(past("2", 2.0))
        await store.put(past("1", 1.0))
        assert not await store.rate("unknown", rating())
        assert await store.rate("1", rating(at=5.0))
        assert await store.rate("1", rating(at=6.0, verdict="down", reason="sai giá"))
        assert await store.rate("1", rating("2", at=7.0))
        assert await store.rate("2", rating(at=5.5))
        listed = await store.rated(since=0.0)
        assert [(one.past.id, [(r.person, r.verdict, r.reason) for r in one.ratings]) for one in listed] == [
            ("1", [("1", "down", "sai giá"), ("2", "up", None)]),
            ("2", [("1", "up", None)]),
        ]
        assert [one.past.id for one in await store.rated(since=5.8)] == ["1"]

    async def test_a_replaced_exchange_keeps_its_ratings(self, store: TranscriptStore) -> None:
        """Writing it once more loses nothing that people said of it."""
        await store.put(past("1"))
        await store.rate("1", rating())
        await store.put(past("1", answer="Mended."))
        (listed,) = await store.rated(since=0.0)
        assert (listed.past.answer, len(listed.ratings)) == ("Mended.", 1)
