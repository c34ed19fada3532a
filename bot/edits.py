"""A question that its asker has changed: where its answer belongs. Asked when its turn comes, not when it arrives."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from adapters.past import PastAnswer
from adapters.ports import Inbound, Platform


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
