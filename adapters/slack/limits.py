"""Slack's limits, and the buckets we keep below them.

https://docs.slack.dev/apis/web-api/rate-limits: `chat.postMessage` one a second in a channel, with short bursts;
`chat.update` is tier 3, 50 a minute and method for the whole workspace, all answers together.
"""

from __future__ import annotations

from adapters.live.budget import Charge, Limit
from adapters.ports import Call

MAX_CHARS = 4_000
"""Text of one message that can be edited (https://docs.slack.dev/reference/methods/chat.update, `msg_too_long`)."""

EDITS = Limit(45 / 60, 4.9)
"""At most 50 in any minute, however a minute is counted."""
POSTS = Limit(0.9, 1.0)
"""Calls get closer to each other on their way: a little slower than one a second."""
PLACE = Limit(1.0, 3.0)
"""Slack sets no limit for edits in one thread; this one keeps a single answer from spending the workspace's."""


def charges(call: Call) -> tuple[Charge, ...]:
    """The buckets of a call. `chat` is a conversation: `channel`, or `channel/thread`."""
    if call.method == "post":
        channel = call.chat.partition("/")[0]
        return (Charge(key=f"post:{channel}", limit=POSTS, member=call.ticket, is_shared=False),)
    return (
        Charge(key=f"chat:{call.chat}", limit=PLACE, member=call.ticket, is_shared=False),
        Charge(key="edits", limit=EDITS, member=call.chat, is_shared=True),
    )
