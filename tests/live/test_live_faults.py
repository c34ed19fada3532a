"""What may befall a platform, by name: thirty answers side by side, on one process or two, and what people see."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.live_platform import Fault, Storm
from tests.support.live_stories import Telling, Told, play, steady

REPLICAS = pytest.mark.parametrize("distance_s", [0.0, 0.02], ids=["one process", "two replicas"])


def crowd(count: int = 30) -> list[Telling]:
    """Answers of 3 to 10 s, the last of which begin when the first have ended."""
    return [Telling(trace=steady(60 + 5 * n, 20, seed=n), chat=str(n + 1), begins_s=0.2 * n) for n in range(count)]


def is_whole(story: Told) -> bool:
    (message,) = story.platform.live
    return message.screen.text.split() == story.text.split() and not message.screen.is_growing


@REPLICAS
@pytest.mark.parametrize("lasts_s", [30.0, 300.0])
def test_a_429_storm(lasts_s: float, distance_s: float) -> None:
    """All calls are refused for 30 s, or 300: nobody hammers, and soon after the storm every answer is whole, once."""
    storm = Storm(begins_s=4.0, lasts_s=lasts_s)
    told, _ = play(crowd(), storm=storm, distance_s=distance_s)
    assert all(is_whole(story) for story in told)
    over = min(story.telling.begins_s + 1000 for story in told) + storm.begins_s + lasts_s
    for story in told:
        refused = [at for at in story.platform.starts if at < over and at > over - lasts_s]
        assert len(refused) <= 2
    assert max(story.finished_at for story in told) - over < 15


@REPLICAS
def test_the_platform_is_down_for_a_minute(distance_s: float) -> None:
    """Everything is answered with 502 for a minute: ever fewer attempts, and half a minute later all is whole."""
    storm = Storm(begins_s=4.0, lasts_s=60.0, is_flood=False)
    told, _ = play(crowd(), storm=storm, distance_s=distance_s)
    assert all(is_whole(story) for story in told)
    for story in told:
        during = [at for at in story.platform.starts if 1004 <= at < 1064]
        assert len(during) <= 10
        pauses = [later - earlier for earlier, later in pairwise(during)]
        assert all(later > earlier for earlier, later in pairwise(pauses[1:]))
    assert max(story.finished_at for story in told) < 1064 + 35


@REPLICAS
def test_the_message_is_deleted(distance_s: float) -> None:
    """Somebody deletes the growing message: that answer ends with the next edit, and all others arrive."""
    victim, *others = crowd()
    victim = Telling(trace=victim.trace, chat=victim.chat, faults=(Fault(), Fault("deleted")))
    told, flood = play([victim, *others], distance_s=distance_s)
    assert told[0].delivery.is_gone
    assert len(told[0].platform.starts) == 2
    assert told[0].platform.live == []
    assert all(is_whole(story) for story in told[1:])
    assert flood.refused == 0


@REPLICAS
def test_the_bot_is_blocked_in_the_middle_of_an_answer(distance_s: float) -> None:
    """After the first refusal nothing more is sent to that person, and all others get their answers."""
    victim, *others = crowd()
    victim = Telling(trace=victim.trace, chat=victim.chat, faults=(Fault(), Fault(), Fault("blocked")))
    told, flood = play([victim, *others], distance_s=distance_s)
    assert told[0].delivery.is_gone
    assert len(told[0].platform.starts) == 3
    assert all(is_whole(story) for story in told[1:])
    assert flood.refused == 0


@REPLICAS
def test_acknowledgements_are_lost(distance_s: float) -> None:
    """Every third call is carried out and its answer lost: each answer ends whole, and what may be left is counted."""
    tellings = [
        Telling(trace=one.trace, chat=one.chat, begins_s=one.begins_s, faults=(Fault(), Fault(), Fault("lost")) * 5)
        for one in crowd()
    ]
    told, _ = play(tellings, distance_s=distance_s)
    assert all(is_whole(story) for story in told)
    assert all(story.delivery.orphans == 0 for story in told)
