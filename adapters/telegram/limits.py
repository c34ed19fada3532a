"""Telegram's limits, and the pace we keep below them.

Published as orders of magnitude only: about one message a second in a chat, 20 a minute in a group, 30 a second for the
bot (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this). Edits count like messages.
"""

from __future__ import annotations

MAX_UTF16 = 4096
"""Text of one message, in UTF-16 code units, entities parsed (https://core.telegram.org/bots/api#sendmessage)."""

MAX_ENTITIES = 100
"""Formatted ranges of one message; the server drops the rest without a word."""

BOT_PER_SECOND = 25.0


def interval_s(chat: str) -> float:
    """Seconds between two calls in a chat: groups have negative ids."""
    return 3.2 if chat.startswith("-") else 1.2
