"""Seven failures of streaming by edits that were measured elsewhere (vercel/chat 4.41.1); none of them happens here."""

from __future__ import annotations

from itertools import pairwise

from adapters.ports import Final
from tests.support.live_platform import Fault
from tests.support.live_stories import Telling, Told, play, steady, with_pause


def told(telling: Telling) -> Told:
    (story,), flood = play([telling])
    assert flood.refused == 0
    return story


def shown_words(story: Told) -> list[str]:
    return [word for part in story.platform.live for word in part.screen.text.split()]


def test_blind_until_newline() -> None:
    """A single line of 44 words is seen to grow from its first word on, not from its first newline."""
    story = told(Telling(trace=[(0.05, f"word{n} ") for n in range(44)]))
    history = story.platform.live[0].history
    assert history[0][1].text == "word0"
    assert history[0][0] - story.arrivals[0][0] <= 0.05 + 0.01
    assert len(history) >= 4


def test_blind_in_a_pause() -> None:
    """When the model pauses for 6 s, everything received is on the screen long before it goes on."""
    trace = with_pause([(0.02, f"w{n} ") for n in range(42)], 0.5, 6.0)
    story = told(Telling(trace=trace))
    silent_since, goes_on = story.arrivals[20][0], story.arrivals[21][0]
    seen_at = next(at for at, screen in story.platform.live[0].history if screen.text.endswith("w20"))
    assert goes_on - silent_since > 6
    assert seen_at - silent_since < 1


def test_storm_on_500s() -> None:
    """While every edit is answered with a 500, the attempts become fewer, not more."""
    story = told(Telling(trace=steady(100, 20), faults=(Fault(), *[Fault("down")] * 12)))
    first = story.platform.starts[0]
    assert len([at for at in story.platform.starts if at < first + 3.2]) <= 5
    pauses = [b - a for a, b in pairwise(story.platform.starts)]
    assert max(pauses) >= 15
    assert shown_words(story) == story.text.split()


def test_retry_after_30_leaves_dots() -> None:
    """A penalty of 30 s in the middle of an answer ends in the whole answer, right after the penalty."""
    story = told(Telling(trace=steady(60, 20), faults=(Fault(), Fault("throttled", 30.0))))
    (message,) = story.platform.live
    assert message.screen.text.split() == story.text.split()
    assert not message.screen.is_growing
    assert 30 < story.finished_at - story.arrivals[0][0] < 33


def test_tail_beyond_the_limit_lost() -> None:
    """An answer of 40,000 characters arrives in full, in as many messages as it takes."""
    trace = [(0.001, f"word{n:05} ") for n in range(4000)]
    story = told(Telling(trace=trace))
    assert len(story.platform.live) >= 10
    assert shown_words(story) == story.text.split()


def test_dead_model_leaves_text_unshown() -> None:
    """When the model dies mid-answer, what was received stays, with a mark that it is not all."""
    trace = [(0.01, f"w{n} ") for n in range(25)]
    text = "".join(token for _, token in trace)
    story = told(Telling(trace=trace, final=Final(text=text, note="⚠ Incomplete", can_retry=True)))
    (message,) = story.platform.live
    assert message.screen.text.split() == text.split()
    assert message.screen.footer == "⚠ Incomplete"


def test_failed_final_never_retried() -> None:
    """A last edit that fails is made again until it stands."""
    for kind in ("down", "lost", "hangs", "throttled"):
        faults = (Fault(), *[Fault(kind, 2.0 if kind == "throttled" else 0.0)] * 3)
        story = told(Telling(trace=[(0.1, "half "), (0.1, "whole")], faults=faults))
        (message,) = story.platform.live
        assert message.screen.text == "half whole"
        assert not message.screen.is_growing
