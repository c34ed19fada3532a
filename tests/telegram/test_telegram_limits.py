from __future__ import annotations

import pytest

from adapters.live.budget import LocalBudget
from adapters.ports import Call, Priority
from adapters.telegram.limits import charges

TYPING = Call(ticket="typing", chat="1001", method="action", priority=Priority.ACTION)


@pytest.mark.parametrize("chat", ["1001", "-100700"])
async def test_typing_never_delays_the_first_words(chat: str) -> None:
    """However often a chat shows "typing", its messages may be posted exactly as if it had not."""
    now = 0.0
    quiet, typing = LocalBudget(charges, now=lambda: now), LocalBudget(charges, now=lambda: now)
    for _ in range(30):
        now += 1.0
        await typing.take(Call(ticket="typing", chat=chat, method="action", priority=Priority.ACTION))
    posts = [Call(ticket=f"t{n}", chat=chat, method="post", priority=Priority.FIRST) for n in range(4)]
    waits = [[(await budget.take(post)).wait_s for post in posts] for budget in (quiet, typing)]
    assert waits[0][0] == waits[1][0] == 0.0
    assert waits[0] == waits[1]


async def test_typing_is_dropped_where_the_bot_is_busy() -> None:
    """A third of what all chats share is kept for messages; an action that would have to wait is not sent."""
    budget = LocalBudget(charges, now=lambda: 0.0)
    for n in range(12):
        post = Call(ticket=f"t{n}", chat=str(n), method="post", priority=Priority.FINAL)
        assert (await budget.take(post)).wait_s == 0.0
    assert (await budget.take(TYPING)).wait_s > 0


async def test_typing_shows_every_few_seconds_at_most() -> None:
    """The second action at once is dropped; after four seconds there is another one."""
    now = 0.0
    budget = LocalBudget(charges, now=lambda: now)
    assert (await budget.take(TYPING)).wait_s == 0.0
    assert (await budget.take(TYPING)).wait_s > 0
    now = 4.0
    assert (await budget.take(TYPING)).wait_s == 0.0


async def test_a_refused_action_closes_no_chat() -> None:
    """A 429 to "typing" is learned from for "typing" alone."""
    budget = LocalBudget(charges, now=lambda: 0.0)
    await budget.take(TYPING)
    await budget.throttled(TYPING, 30.0)
    post = Call(ticket="t", chat="1001", method="post", priority=Priority.FIRST)
    assert (await budget.take(post)).wait_s == 0.0
