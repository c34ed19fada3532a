from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.live.budget import Limit, LocalBudget, per_chat
from adapters.live.publisher import Publisher
from adapters.ports import Delivery, Final, SourceLink
from tests.support.clock import now, run_virtual
from tests.support.live_platform import Fault, PlainRenderer, PlainScreen, SimulatedPlatform

INTERVAL_S = 1.2
PACE = per_chat(Limit(1 / INTERVAL_S, 1))
Trace = list[tuple[float, str]]
SOURCE = SourceLink(n=1, title="Claims", passage_id="p1", document="claims.md", collection="public")


@dataclass
class Story:
    """One answer, played in virtual time."""

    platform: SimulatedPlatform
    delivery: Delivery
    text: str
    started_at: float
    finished_at: float
    posted: list[str] = field(default_factory=list)
    delivered: int = 0

    @property
    def words(self) -> list[str]:
        """The words on the screen, from every message that the publisher knows of."""
        known = self.posted[-1].split(",") if self.posted else []
        return " ".join(self.platform.messages[i].screen.text for i in known).split()


def play(
    trace: Trace, *, faults: list[Fault] | None = None, final: Final | None = None, limit: int = 4096, reopen: int = 0
) -> Story:
    async def main() -> Story:
        platform = SimulatedPlatform(faults=faults or [])
        posted: list[str] = []
        delivered: list[float] = []

        async def on_posted(handle: str) -> None:
            posted.append(handle)

        async def on_delivered() -> None:
            delivered.append(now())

        for n in range(reopen):
            await platform.post(PlainScreen(f"cut half {n}", True, "", False, limit))
        live = Publisher(
            chat="1",
            renderer=PlainRenderer(limit),
            transport=platform,
            budget=LocalBudget(PACE, now=now),
            now=now,
            on_posted=on_posted,
            on_delivered=on_delivered,
            reopen=",".join(platform.messages) or None,
        )
        platform.starts.clear()
        started_at = now()
        for pause_s, token in trace:
            await asyncio.sleep(pause_s)
            live.append(token)
        text = "".join(token for _, token in trace)
        delivery = await live.finish(final or Final(text=text))
        return Story(platform, delivery, text, started_at, now(), posted, len(delivered))

    return run_virtual(main())


def steady(words: int = 200, *, pause_s: float = 0.05) -> Trace:
    return [(pause_s, f"word{n} ") for n in range(words)]


tokens = st.tuples(
    st.sampled_from([0.0, 0.01, 0.05, 0.3, 2.0, 7.0]),
    st.sampled_from(["a ", "word ", "Versicherung ", "xe máy ", "\n\n", "12.500.000 ₫ ", "so. ", ""]),
)
traces = st.lists(tokens, min_size=1, max_size=60)
faults = st.lists(
    st.one_of(
        st.just(Fault()),
        st.builds(Fault, st.just("throttled"), st.sampled_from([1.0, 30.0, 300.0])),
        st.builds(Fault, st.sampled_from(["down", "lost", "hangs", "rejected"])),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(traces, faults, st.sampled_from([30, 200, 4096]))
def test_whatever_the_platform_does_the_last_screen_is_the_answer(
    trace: Trace, faults: list[Fault], limit: int
) -> None:
    """Throttling, 5xx, lost acknowledgements and rejected renderings delay an answer; they never cost a word of it."""
    story = play(trace, faults=faults, limit=limit, final=None)
    assert story.words == story.text.split()
    assert not story.delivery.is_gone


@settings(max_examples=100, deadline=None)
@given(traces, faults)
def test_there_is_exactly_one_final(trace: Trace, faults: list[Fault]) -> None:
    """Once a message's id is known the finished answer appears in it once, and nothing follows."""
    faults = [fault for fault in faults if fault.kind != "rejected"]  # else the plain rendering may follow
    story = play(trace, faults=[Fault(), *faults], final=Final(text="the whole answer", sources=(SOURCE,)))
    finals = [
        at for shown in story.platform.messages.values() for at, screen in shown.history if "Claims" in screen.footer
    ]
    has_words = any(char.isalnum() for _, token in trace for char in token)
    posted_before_final = len(story.platform.messages) == 1
    if has_words and posted_before_final:
        assert len(finals) == 1
    assert story.platform.live[-1].screen.text == "the whole answer"
    assert story.delivered == 1


@settings(max_examples=100, deadline=None)
@given(traces, faults)
def test_the_pace_of_a_chat_is_never_exceeded(trace: Trace, faults: list[Fault]) -> None:
    """Two calls in one chat are at least the chat's interval apart, faults or not."""
    starts = play(trace, faults=faults).platform.starts
    assert all(later - earlier >= INTERVAL_S - 1e-6 for earlier, later in itertools.pairwise(starts))


@settings(max_examples=100, deadline=None)
@given(traces)
def test_in_a_world_without_faults_nothing_is_refused(trace: Trace) -> None:
    """No edit is identical to what stands there, and none comes too early."""
    assert play(trace).platform.refused == []


@settings(max_examples=60, deadline=None)
@given(traces, st.integers(0, 6), st.sampled_from(["deleted", "blocked"]))
def test_a_message_that_is_gone_is_left_alone(trace: Trace, calls: int, how: str) -> None:
    """After a deleted message or a blocked bot no further call is made, and finish says so."""
    kind = "deleted" if how == "deleted" else "blocked"
    story = play(trace, faults=[*[Fault()] * calls, Fault(kind)])  # type: ignore[arg-type]  # narrowed above
    if "MessageGone" in story.platform.refused or "ChatGone" in story.platform.refused:
        assert story.delivery.is_gone
        assert story.platform.refused[-1] in {"MessageGone", "ChatGone"}
        assert len(story.platform.refused) == 1


def test_the_first_word_is_shown_within_one_round_trip() -> None:
    """The first token of an answer is visible one round trip after it arrived; there is no placeholder."""
    story = play(steady())
    message = story.platform.live[0]
    at, screen = message.history[0]
    assert screen.text == "word0"
    assert at == pytest.approx(story.started_at + 0.05 + 0.05)
    assert story.delivery.first_visible_at == pytest.approx(at)


def test_a_pause_of_the_model_shows_everything_received() -> None:
    """While the model is silent nothing received stays invisible for longer than the pace."""
    story = play([*steady(30), (6.0, "late "), *steady(3)])
    before_pause = story.started_at + 30 * 0.05
    shown_by = next(at for at, screen in story.platform.live[0].history if "word29" in screen.text)
    assert shown_by <= before_pause + INTERVAL_S + 0.06


def test_retry_after_is_ridden_out() -> None:
    """A penalty of 300 s delays the rest by 300 s; the final text comes right after it, whole."""
    story = play(steady(40), faults=[Fault(), Fault("throttled", 300.0)])
    assert story.words == story.text.split()
    assert story.delivery.throttled == 1
    assert story.finished_at - story.started_at == pytest.approx(301.5, abs=0.6)


def test_500s_do_not_cause_a_storm() -> None:
    """A platform that answers 5xx for a minute is asked with growing pauses."""
    story = play(steady(), faults=[Fault(), *[Fault("down")] * 8])
    pauses = [b - a for a, b in zip(story.platform.starts, story.platform.starts[1:], strict=False)]
    assert pauses[3:9] == sorted(pauses[3:9])
    assert len([at for at in story.platform.starts if at < story.started_at + 10]) <= 7
    assert story.words == story.text.split()


def test_a_lost_edit_acknowledgement_costs_nothing() -> None:
    """The edit is repeated; "not modified" means that it had arrived."""
    story = play(steady(3), faults=[Fault(), Fault("lost")])
    assert story.platform.refused == ["Unavailable", "NotModified"]
    assert story.words == story.text.split()


def test_a_lost_first_post_leaves_at_most_one_preview_behind() -> None:
    """Whether it arrived cannot be known: nothing but the finished answer is worth another post. It is counted."""
    story = play(steady(60), faults=[Fault("lost"), Fault("lost"), Fault()])
    assert story.delivery.orphans == 2
    orphan, *finished = story.platform.messages.values()
    assert orphan.screen.text == "word0"
    assert [shown.screen.text.split() for shown in finished] == [story.text.split()] * 2
    assert all(len(shown.history) == 1 for shown in story.platform.messages.values())


def test_an_answer_that_is_no_longer_ours_is_left_to_its_new_owner() -> None:
    """Where the permit is refused no call is made, and the message counts as gone."""

    async def main() -> tuple[SimulatedPlatform, Delivery]:
        platform = SimulatedPlatform()
        owners = [True, False]

        async def permit() -> bool:
            return owners.pop(0)

        live = Publisher(
            chat="1",
            renderer=PlainRenderer(),
            transport=platform,
            budget=LocalBudget(PACE, now=now),
            now=now,
            permit=permit,
        )
        live.append("one ")
        await asyncio.sleep(0.2)
        return platform, await live.finish(Final(text="one two"))

    platform, delivery = run_virtual(main())
    assert delivery.is_gone
    assert [shown.screen.text for shown in platform.live] == ["one"]


def test_a_rejected_rendering_goes_out_as_plain_text_once() -> None:
    """The edit after the rejected one is plain, the next is formatted again."""
    story = play(steady(100), faults=[Fault(), Fault("rejected")])
    kinds = [screen.is_plain for _, screen in story.platform.live[0].history]
    assert kinds[:3] == [False, True, False]
    assert kinds[-1] is False


def test_an_over_long_answer_continues_in_a_further_message() -> None:
    """Parts that are full lose their controls and are not touched again."""
    story = play(steady(200), limit=500, final=None)
    assert story.delivery.parts == len(story.platform.live) >= 3
    assert all(len(shown.screen.text) <= 500 for shown in story.platform.live)
    assert [shown.screen.is_growing for shown in story.platform.live] == [False] * story.delivery.parts
    sealed_at = [shown.history[-1][0] for shown in story.platform.live]
    assert sealed_at == sorted(sealed_at)
    assert story.words == story.text.split()


def test_sources_that_do_not_fit_follow_in_a_message_of_their_own() -> None:
    """The footer is never cut and never pushes words out."""
    text = "x" * 95
    story = play([(0.1, text)], limit=100, final=Final(text=text, sources=(SOURCE,)))
    assert [shown.screen.text for shown in story.platform.live] == [text, ""]
    assert "Claims" in story.platform.live[1].screen.footer


def test_the_cut_half_becomes_the_final() -> None:
    """An answer continued after a crash ends in the messages it began in; a message too many is taken away."""
    story = play([(0.1, "fresh answer")], reopen=2)
    assert [shown.screen.text for shown in story.platform.live] == ["fresh answer"]
    assert len(story.platform.messages) == 2


def test_an_answer_that_is_there_at_once_is_one_post() -> None:
    """A cached answer or a refusal needs one call and no preview."""
    story = play([], final=Final(text="At once.", sources=(SOURCE,)))
    assert len(story.platform.starts) == 1
    assert story.platform.live[0].screen.footer == "1 Claims"


def test_an_answer_whose_pieces_all_come_at_once_is_one_post() -> None:
    """Text that is complete before the first call goes out in one post together with its sources."""

    async def main() -> SimulatedPlatform:
        platform = SimulatedPlatform()
        budget = LocalBudget(PACE, now=now)
        live = Publisher(chat="1", renderer=PlainRenderer(), transport=platform, budget=budget, now=now)
        for piece in ("From the FAQ: ", "seven days ", "[1]."):
            live.append(piece)
            await asyncio.sleep(0)
        await live.finish(Final(text="From the FAQ: seven days [1].", sources=(SOURCE,)))
        return platform

    platform = run_virtual(main())
    assert len(platform.starts) == 1
    assert platform.live[0].screen.footer == "1 Claims"


def test_lag_is_what_characters_waited_for_the_screen() -> None:
    """One token shown after one round trip of 50 ms has a lag of 50 ms."""
    story = play([(1.0, "hello")], final=Final(text="hello"))
    assert story.delivery.lag_ms == pytest.approx(50, abs=1)


def test_wait_gone_returns_as_soon_as_the_reader_is_lost() -> None:
    """A blocked bot stops the model at the next edit, not at the end of the answer."""

    async def main() -> float:
        platform = SimulatedPlatform(faults=[Fault(), Fault("blocked")])
        live = Publisher(
            chat="1",
            renderer=PlainRenderer(),
            transport=platform,
            budget=LocalBudget(PACE, now=now),
            now=now,
        )
        began = now()
        live.append("one ")
        await asyncio.sleep(0.2)
        live.append("two ")
        await live.wait_gone()
        return now() - began

    assert run_virtual(main()) == pytest.approx(INTERVAL_S + 0.05, abs=0.02)
