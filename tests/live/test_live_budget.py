from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.live.budget import ASK_AGAIN_S, LEAST_FACTOR, Charge, Ledger, Limit, Limits, per_chat
from adapters.ports import Call, Method, Priority
from adapters.telegram.limits import charges as telegram

CHAT = Limit(1.0, 3.0)
BOT = Limit(5.0, 6.0)
RULES = per_chat(CHAT, BOT)


def call(chat: str, priority: Priority = Priority.PREVIEW, *, ticket: str = "", method: Method = "edit") -> Call:
    return Call(ticket=ticket or f"m{chat}", chat=chat, method=method, priority=priority)


class Crowd:
    """Messages that each want a call again as soon as they got one, and keep to what they are told."""

    def __init__(self, limits: Limits, wishes: list[Call], *, started_at: float = 100.0) -> None:
        self.ledger = Ledger(limits)
        self.granted: list[tuple[float, Call]] = []
        self._due = [(started_at, n, wish) for n, wish in enumerate(wishes)]
        self._asked = {wish.ticket: started_at for wish in wishes}
        self.waits: list[tuple[float, Call]] = []
        self.until = started_at

    def run(self, seconds: float, *, once: frozenset[Priority] = frozenset()) -> None:
        self.until += seconds
        while self._due and min(self._due)[0] <= self.until:
            entry = min(self._due)
            self._due.remove(entry)
            at, n, wish = entry
            answer = self.ledger.take(wish, at)
            if answer.wait_s == 0:
                self.granted.append((at, wish))
                self.waits.append((at - self._asked[wish.ticket], wish))
                self._asked[wish.ticket] = at + 0.05
                if wish.priority not in once:
                    self._due.append((at + 0.05, n, wish))
            else:
                self._due.append((at + answer.wait_s, n, wish))


calls = st.builds(
    call,
    st.sampled_from(["1", "2", "3", "-4"]),
    st.sampled_from(list(Priority)),
    ticket=st.sampled_from(["a", "b", "c", "d", "e"]),
)
steps = st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3, 1.0, 4.0]), calls, st.integers(0, 19)), max_size=80)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_no_bucket_is_ever_overdrawn(steps: list[tuple[float, Call, int]]) -> None:
    """Whatever is asked and refused: in no stretch of time are more calls granted than burst and rate allow."""
    ledger, now, granted = Ledger(RULES), 50.0, list[tuple[float, str]]()
    for pause_s, wish, luck in steps:
        now += pause_s
        if ledger.take(wish, now).wait_s == 0:
            granted.append((now, wish.chat))
            if luck == 0:
                ledger.throttled(wish, 2.0, now)
    for chat, limit in [*((chat, CHAT) for chat in ("1", "2", "3", "-4")), (None, BOT)]:
        times = [at for at, where in granted if chat is None or where == chat]
        for i, j in itertools.combinations(range(len(times)), 2):
            assert j - i + 1 <= limit.burst + (times[j] - times[i]) * limit.per_second + 1e-6


@settings(max_examples=150, deadline=None)
@given(steps)
def test_a_wait_that_is_kept_to_gets_a_call_in_a_quiet_world(steps: list[tuple[float, Call, int]]) -> None:
    """After any history, one who asks alone and comes back when told is served, soon."""
    ledger, now = Ledger(RULES), 50.0
    for pause_s, wish, _ in steps:
        now += pause_s
        ledger.take(wish, now)
    mine, asked = call("9", Priority.PREVIEW), 0
    began = now
    while (wait_s := ledger.take(mine, now).wait_s) > 0:
        now += wait_s
        asked += 1
    assert asked <= 12
    assert now - began <= 2 * ASK_AGAIN_S


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=12))
def test_chats_get_the_same_share_however_many_messages_grow_in_them(messages: list[int]) -> None:
    """With the bot's limit as the bottleneck every chat gets as many calls as any other, to within a few."""
    wishes = [call(str(chat), ticket=f"{chat}.{n}") for chat, count in enumerate(messages) for n in range(count)]
    crowd = Crowd(per_chat(Limit(50, 50), BOT), wishes)
    crowd.run(5)  # the burst goes to whoever comes first
    crowd.granted.clear()
    crowd.run(30)
    share = Counter(wish.chat for _, wish in crowd.granted)
    assert len(share) == len(messages)
    assert max(share.values()) - min(share.values()) <= 2 + 0.1 * max(share.values())


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 60))
def test_no_chat_waits_longer_than_its_fair_share(chats: int) -> None:
    """With n chats streaming, a chat's preview waits at most for one call of every other chat."""
    crowd = Crowd(per_chat(Limit(50, 50), BOT), [call(str(chat)) for chat in range(chats)])
    crowd.run(40)
    assert max(waited for waited, _ in crowd.waits) <= (chats + 1) / BOT.per_second + 0.5


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30))
def test_finals_go_before_previews(previews: int, finals: int) -> None:
    """However many previews wait, every final gets its call as if there were none."""
    streaming = [call(f"p{n}") for n in range(previews)]
    crowd = Crowd(per_chat(CHAT, BOT), streaming)
    crowd.run(20)
    ending = [call(f"f{n}", Priority.FINAL) for n in range(finals)]
    crowd._due += [(crowd.until, 1000 + n, wish) for n, wish in enumerate(ending)]
    crowd._asked |= {wish.ticket: crowd.until for wish in ending}
    crowd.run(20, once=frozenset({Priority.FINAL}))
    waits = sorted(waited for waited, wish in crowd.waits if wish.priority == Priority.FINAL)
    assert len(waits) == finals
    assert all(waited <= (n + 1) / BOT.per_second + 0.25 for n, waited in enumerate(waits))


def test_a_final_overtakes_the_previews_of_its_own_chat() -> None:
    """Within one chat too the finished answer is served first."""
    ledger = Ledger(per_chat(Limit(1, 1)))
    assert ledger.take(call("1", ticket="a"), 0.0).wait_s == 0
    assert ledger.take(call("1", ticket="a"), 0.1).wait_s > 0
    assert ledger.take(call("1", Priority.FINAL, ticket="b"), 0.2).wait_s > 0
    assert ledger.take(call("1", ticket="a"), 1.0).wait_s > 0
    assert ledger.take(call("1", Priority.FINAL, ticket="b"), 1.0).wait_s == 0


def test_previews_leave_calls_of_the_bot_to_finals() -> None:
    """When many chats stream at once, a final text still finds a call at once."""
    ledger, granted = Ledger(telegram), 0
    while ledger.take(call(str(granted + 1)), 10.0).wait_s == 0:
        granted += 1
    assert granted > 10
    assert ledger.take(call("900", Priority.FINAL), 10.0).wait_s == 0
    assert ledger.take(call("901", Priority.FIRST), 10.0).wait_s == 0


def test_chat_actions_are_dropped_first() -> None:
    """A "typing" neither waits in line nor takes what a preview could use."""
    ledger = Ledger(per_chat(CHAT, Limit(1, 3)))
    assert ledger.take(call("1"), 0.0).wait_s == 0
    assert ledger.take(call("2", Priority.ACTION), 0.0).wait_s == 0
    assert ledger.take(call("3", Priority.ACTION), 0.5).wait_s > 0
    assert ledger.take(call("4", Priority.PREVIEW), 0.6).wait_s == 0


def test_who_does_not_come_back_loses_the_place() -> None:
    """A message whose process died holds nobody up for more than a moment."""
    ledger = Ledger(per_chat(Limit(50, 50), Limit(1, 1)))
    assert ledger.take(call("1", Priority.FINAL), 0.0).wait_s == 0
    assert ledger.take(call("dead", Priority.FINAL), 0.0).wait_s > 0
    assert ledger.take(call("2"), 1.5).wait_s > 0
    assert ledger.take(call("2"), 2.1).wait_s == 0


def test_a_429_closes_the_chat_and_only_the_chat() -> None:
    """`retry_after` is honoured to the second; other chats go on."""
    ledger = Ledger(RULES)
    refused = call("1")
    assert ledger.take(refused, 0.0).wait_s == 0
    ledger.throttled(refused, 30.0, 0.1)
    assert ledger.take(call("1", Priority.FINAL), 0.2).wait_s == pytest.approx(29.9)
    assert ledger.take(call("2"), 0.2).wait_s == 0
    assert ledger.take(call("1", Priority.FINAL), 30.1).wait_s == 0


def test_several_chats_refused_at_once_mean_the_bot() -> None:
    """Three chats within five seconds: the bot's own bucket slows down as well."""
    ledger = Ledger(per_chat(Limit(50, 50), BOT))
    for n in range(3):
        assert ledger.take(call(str(n)), 0.0).wait_s == 0
        ledger.throttled(call(str(n)), 7.0, 0.1)
    assert ledger.take(call("9", Priority.FINAL), 0.2).wait_s == pytest.approx(4.9)
    assert ledger.take(call("9", Priority.FINAL), 5.2).per_second == pytest.approx(BOT.per_second / 2, rel=0.3)


def test_a_pace_that_is_refused_is_halved_and_recovers() -> None:
    """Against a chat that allows one call in four seconds refusals become rare; once it allows more, pace returns."""
    ledger, now, refusals = Ledger(per_chat(CHAT)), 0.0, list[float]()
    last = -4.0
    wish = call("1")
    for _ in range(200):
        while (wait_s := ledger.take(wish, now).wait_s) > 0:
            now += wait_s
        if now - last < 4.0:
            refusals.append(now)
            ledger.throttled(wish, 1.0, now)
        else:
            last = now
    assert len(refusals) < 0.35 * 200
    slow = ledger.take(wish, now).per_second
    assert LEAST_FACTOR <= slow < 0.6
    for _ in range(25):
        while (wait_s := ledger.take(wish, now).wait_s) > 0:
            now += wait_s
    assert ledger.take(wish, now).per_second == pytest.approx(1.0)


def test_methods_have_limits_of_their_own() -> None:
    """Edits that are used up for the whole workspace leave posts alone."""

    def charges(wish: Call) -> tuple[Charge, ...]:
        if wish.method == "edit":
            return (Charge(key="method:edit", limit=Limit(0.75, 5), member=wish.chat, is_shared=True),)
        return (Charge(key=f"post:{wish.chat}", limit=Limit(1, 1), member=wish.ticket, is_shared=False),)

    ledger, edits = Ledger(charges), 0
    while ledger.take(call(str(edits), Priority.FINAL), 0.0).wait_s == 0:
        edits += 1
    assert edits == 5
    assert ledger.take(call("1", Priority.FIRST, method="post"), 0.0).wait_s == 0


def test_groups_get_twenty_a_minute_however_a_minute_is_counted() -> None:
    """No window of sixty seconds holds more than twenty calls in a group."""
    crowd = Crowd(telegram, [call("-100")])
    crowd.run(300)
    times = [at for at, _ in crowd.granted]
    assert all(sum(1 for at in times if begin <= at < begin + 60) <= 20 for begin in times)
    assert len(times) >= 300 / 4
