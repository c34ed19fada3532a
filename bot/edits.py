"""A question that its asker has changed: where its answer belongs. Asked when its turn comes, not when it arrives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from adapters.past import PastAnswer
from adapters.ports import Inbound, Platform
from bot.outbox import Debt, Outbox


class Past(Protocol):
    """What is needed of `adapters.past.PastAnswers`."""

    async def last(self, platform: Platform, conversation: str, person: str) -> PastAnswer | None: ...

    async def by_question(self, platform: Platform, conversation: str, message_id: str) -> PastAnswer | None: ...


async def resolved(inbound: Inbound, past: Past | None) -> Inbound | None:
    """The changed question with the messages that it is to be answered in; None if nobody waits for that any more.

    The conversation has gone on where its answer is not the asker's last: rewriting it far above helps nobody. What was
    never answered (it was not meant for us before, or a greeting) is a question as any other.
    """
    if past is None or inbound.message_id is None:
        return inbound
    former = await past.by_question(inbound.platform, inbound.conversation, inbound.message_id)
    if former is None or former.person != inbound.sender:
        return inbound
    last = await past.last(inbound.platform, inbound.conversation, inbound.sender)
    if last is None or last.id != former.id:
        return None
    return replace(inbound, answer_into=former.handle)


def changes_the_running(debt: Debt, others: Iterable[Debt]) -> bool:
    """Whether this is what the question right before it, which is being answered here, was changed to."""
    changed = debt.inbound.message_id
    return (debt.inbound.is_edit and debt.place == 1 and changed is not None) and any(
        other.lane == debt.lane and other.inbound.message_id == changed and other.event_id != debt.event_id
        for other in others
    )


async def settle_place(debt: Debt, past: Past | None, outbox: Outbox) -> bool:
    """Settle which messages the answer goes into, if it is to be written over an earlier one; False: into none.

    Raises `NotOurs`, `StateError`.
    """
    inbound = debt.inbound
    if inbound.instead is not None or not debt.lane:
        # It gets a fixed sentence only: the answer that is there stands.
        debt.inbound = replace(inbound, answer_into=None)
        return True
    if debt.message_id is not None:
        # Begun by an earlier owner; what it is written over is no context of its own.
        debt.inbound = replace(inbound, answer_into=debt.message_id) if inbound.is_edit else inbound
        return True
    changed = await resolved(inbound, past) if inbound.is_edit else inbound
    if changed is None:
        return False
    if changed.answer_into is not None:
        debt.inbound = changed
        # Recorded, so that the next owner of this turn writes there, too.
        await outbox.posted(debt, changed.answer_into)
    return True
