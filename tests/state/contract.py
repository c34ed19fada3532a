"""What every `TurnStore` must do; run over memory, SQLite and Redis by `test_state_contract.py`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bot.state.ports import REFUSED, OwedTurn, TurnStore

ALIVE, DEAD = 60.0, -1.0
"""A lapse that no heartbeat of a test reaches, and one that every heartbeat exceeds."""


def turn(event_id: str, *, owner: str = "a", lane: str = "lane", accepted_at: float = 1.0) -> OwedTurn:
    return OwedTurn(
        event_id=event_id,
        trace_id="trace-" + event_id,
        platform="telegram",
        lane=lane,
        payload=b'{"text": "' + event_id.encode() + b'"}',
        accepted_at=accepted_at,
        owner=owner,
    )


async def claim(store: TurnStore, *turns: OwedTurn, most_waiting: int = 5) -> list[int | None]:
    return [await store.claim(one, most_waiting=most_waiting) for one in turns]


class TurnStoreContract:
    """Subclasses provide the fixture `store`."""

    async def test_an_event_is_claimed_once(self, store: TurnStore) -> None:
        """The same delivery repeated ten times at once owes one answer."""
        claims = await asyncio.gather(*(store.claim(turn("1"), most_waiting=5) for _ in range(10)))
        assert sorted(claims, key=str) == [0, *[None] * 9]

    async def test_a_settled_event_stays_claimed(self, store: TurnStore) -> None:
        """A repeat of an answered event is recognised."""
        await claim(store, turn("1"))
        assert await store.settle("1", "a") is True
        assert await claim(store, turn("1")) == [None]
        assert await store.position("1") is None
        assert await store.settle("1", "a") is False

    async def test_a_lane_has_an_order(self, store: TurnStore) -> None:
        """Each knows how many are before it, and moves up when the first is settled."""
        assert await claim(store, turn("1"), turn("2"), turn("other", lane="another"), turn("3")) == [0, 1, 0, 2]
        await store.settle("1", "a")
        assert [await store.position(event) for event in ("2", "3", "other")] == [0, 1, 0]

    async def test_a_lane_is_bounded(self, store: TurnStore) -> None:
        """What has no room is refused, though claimed, and stands in nobody's way."""
        places = await claim(store, turn("1"), turn("2"), turn("3"), turn("3"), most_waiting=1)
        assert places == [0, 1, REFUSED, None]
        assert await store.position("3") == 0
        await store.settle("1", "a")
        assert await claim(store, turn("4"), most_waiting=1) == [1]

    async def test_what_is_known_of_an_answer_survives_its_owner(self, store: TurnStore) -> None:
        """The next owner gets the question, the message, the final text, and how often it was tried."""
        await claim(store, turn("1"))
        assert await store.record("1", "a", message_id="77") is True
        assert await store.record("1", "a", final=b'{"text": "whole"}') is True
        await store.record("1", "a", message_id="77,78")
        (taken,) = await store.take_over("b", lapse_s=DEAD)
        expected = replace(turn("1"), owner="b", tries=2, message_id="77,78", final=b'{"text": "whole"}')
        assert taken == expected

    async def test_only_the_owner_writes(self, store: TurnStore) -> None:
        """Once a turn has been taken over, its former owner can neither write to it nor settle it."""
        await claim(store, turn("1"))
        await store.take_over("b", lapse_s=DEAD)
        assert await store.record("1", "a", message_id="late") is False
        assert await store.settle("1", "a") is False
        await store.release("1", "a")
        assert await store.beat("a") == frozenset()
        assert await store.beat("b") == {"1"}
        assert await store.settle("1", "b") is True

    async def test_the_living_keep_what_they_have(self, store: TurnStore) -> None:
        """Nobody takes over from an owner whose heart beats, also one that has only just begun."""
        await claim(store, turn("1"))
        await store.beat("a")
        await claim(store, turn("2", owner="new", lane="another"))
        assert await store.take_over("b", lapse_s=ALIVE) == []

    async def test_one_of_many_takes_over(self, store: TurnStore) -> None:
        """Several replicas that look at once share the turns of a dead one, each turn with one owner."""
        await claim(store, *(turn(str(n), lane=str(n)) for n in range(8)))
        await store.bury("a")
        taken = await asyncio.gather(*(store.take_over(name, lapse_s=ALIVE) for name in ("b", "c", "d")))
        assert sorted(one.event_id for turns in taken for one in turns) == [str(n) for n in range(8)]

    async def test_the_oldest_is_taken_over_first(self, store: TurnStore) -> None:
        """What has waited for longest comes first."""
        await claim(store, turn("young", lane="x", accepted_at=2.0), turn("old", lane="y", accepted_at=1.0))
        assert [one.event_id for one in await store.take_over("b", lapse_s=DEAD)] == ["old", "young"]

    async def test_the_buried_are_taken_over_at_once(self, store: TurnStore) -> None:
        """An owner known to be dead is not waited for."""
        await claim(store, turn("1"))
        await store.beat("a")
        assert "a" in await store.owners()
        await store.bury("a")
        assert [one.event_id for one in await store.take_over("b", lapse_s=ALIVE)] == ["1"]

    async def test_what_is_handed_over_is_taken_at_once(self, store: TurnStore) -> None:
        """A shutdown that releases its turns makes nobody wait for the heartbeat."""
        await claim(store, turn("1"), turn("2"))
        await store.beat("a")
        await store.release("1", "a")
        (taken,) = await store.take_over("b", lapse_s=ALIVE)
        assert (taken.event_id, taken.owner) == ("1", "b")
        assert [await store.position("1"), await store.position("2")] == [0, 1]

    async def test_nobody_takes_over_what_was_waited_for_on_a_connection(self, store: TurnStore) -> None:
        """A web question dies with its process, and its lane moves on."""
        await claim(store, replace(turn("web"), payload=b""), turn("2", owner="c"))
        await store.beat("c")
        await store.bury("a")
        assert await store.take_over("b", lapse_s=ALIVE) == []
        assert [await store.position("web"), await store.position("2")] == [None, 0]

    async def test_what_was_waited_for_on_a_connection_leaves_nothing(self, store: TurnStore) -> None:
        """Its event cannot be repeated, so nothing is kept to recognise it by."""
        web = replace(turn("web"), payload=b"")
        await claim(store, web)
        assert await store.settle("web", "a") is True
        assert await claim(store, web) == [0]

    async def test_the_first_may_absorb_the_second(self, store: TurnStore) -> None:
        """The first gets the joint question, the second is settled, the third moves up."""
        await claim(store, turn("1"), turn("2", owner="b"), turn("3"))
        follower = await store.follower("1")
        assert follower == turn("2", owner="b")
        assert await store.absorb("1", "a", follower="2", payload=b"both") is True
        assert [await store.position(event) for event in ("1", "2", "3")] == [0, None, 1]
        assert await store.settle("2", "b") is False
        await store.beat("b")
        taken = await store.take_over("c", lapse_s=DEAD)
        assert {one.event_id: one.payload for one in taken}["1"] == b"both"

    async def test_only_the_first_and_its_owner_absorb(self, store: TurnStore) -> None:
        """Neither somebody else nor one that waits itself can swallow a question."""
        await claim(store, turn("1"), turn("2"), turn("3"))
        assert await store.follower("2") is None
        assert await store.follower("nothing") is None
        assert await store.absorb("2", "a", follower="3", payload=b"x") is False
        assert await store.absorb("1", "b", follower="2", payload=b"x") is False
        assert await store.absorb("1", "a", follower="3", payload=b"x") is False
        assert [await store.position(event) for event in ("1", "2", "3")] == [0, 1, 2]

    async def test_a_stop_names_the_first_of_the_lane(self, store: TurnStore) -> None:
        """Whoever owns it is asked; what waits behind it is not; and it is forgotten with the turn."""
        await claim(store, turn("1"), turn("2"))
        assert await store.ask_stop("lane") == "1"
        assert await store.stopping() == {"1"}
        await store.settle("1", "a")
        assert await store.stopping() == frozenset()
        assert await store.ask_stop("idle") is None

    async def test_a_stop_does_not_bind_the_next_owner(self, store: TurnStore) -> None:
        """What was shown died with the former owner: the next one answers in full."""
        await claim(store, turn("1"))
        await store.ask_stop("lane")
        await store.take_over("b", lapse_s=DEAD)
        assert await store.stopping() == frozenset()

    async def test_one_leads(self, store: TurnStore) -> None:
        """One process polls at a time; the next begins when it resigns or dies."""
        assert await store.lead("poll", "a", lapse_s=ALIVE) is True
        assert await store.lead("poll", "b", lapse_s=ALIVE) is False
        assert await store.lead("poll", "a", lapse_s=ALIVE) is True
        assert await store.lead("something else", "b", lapse_s=ALIVE) is True
        await store.resign("poll", "b")
        assert await store.lead("poll", "b", lapse_s=ALIVE) is False
        await store.resign("poll", "a")
        assert await store.lead("poll", "b", lapse_s=ALIVE) is True
        await store.bury("b")
        assert await store.lead("poll", "a", lapse_s=ALIVE) is True

    async def test_odd_texts_are_kept(self, store: TurnStore) -> None:
        """Vietnamese, empty and binary values come back as they were."""
        odd = replace(turn("é:1/ 2", lane="chào|*{x}"), payload=bytes(range(256)))
        await claim(store, odd)
        await store.record(odd.event_id, "a", message_id="đ", final=b"\x00\xff")
        (taken,) = await store.take_over("b", lapse_s=DEAD)
        assert (taken.payload, taken.message_id, taken.final, taken.lane) == (odd.payload, "đ", b"\x00\xff", odd.lane)
