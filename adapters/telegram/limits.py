"""Telegram's limits, and the buckets we keep below them.

Published as orders of magnitude only: about one message a second in a chat with short bursts, 20 a minute in a group,
30 a second for the bot (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this). Edits count
like messages.
"""

from __future__ import annotations

from adapters.live.budget import Charge, Limit
from adapters.ports import Call

MAX_UTF16 = 4096
"""Text of one message, in UTF-16 code units, entities parsed (https://core.telegram.org/bots/api#sendmessage)."""

MAX_ENTITIES = 100
"""Formatted ranges of one message; the server drops the rest without a word."""

# Calls may get closer to each other on their way: by a quarter of a second in one chat, by half a second over all
# chats of a busy process (measured with 500 answers at once). A burst smaller by that many calls absorbs it.
PRIVATE = Limit(1.0, 3 - 1.0 * 0.25)
GROUP = Limit(15 / 60, 4.9)
"""At most 20 in any minute, however a minute is counted: five at once and one every four seconds."""
BOT = Limit(29.5, 30 - 29.5 * 0.5)


ACTION = Limit(1 / 4, 1.0)
"""Chat actions show for five seconds and are no messages: a bucket of their own, so that none delays a first post."""


def charges(call: Call) -> tuple[Charge, ...]:
    """The buckets of a call: the chat's (groups have negative ids), then the bot's."""
    kind, limit = "chat", GROUP if call.chat.startswith("-") else PRIVATE
    if call.method == "action":
        kind, limit = "action", ACTION
    return (
        Charge(key=f"{kind}:{call.chat}", limit=limit, member=call.ticket, is_shared=False),
        Charge(key="bot", limit=BOT, member=call.chat, is_shared=True),
    )
