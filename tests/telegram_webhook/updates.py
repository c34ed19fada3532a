"""Updates as Telegram sends them."""

from __future__ import annotations

import time
from typing import Any


def asked(
    update_id: int, text: str = "What does theft cover cost?", *, chat: int = 1001, age_s: float = 0
) -> dict[str, Any]:
    """A question in a private chat, sent so many seconds ago."""
    person = {"id": chat, "is_bot": False, "first_name": "Lan", "language_code": "en"}
    message = {
        "message_id": update_id,
        "from": person,
        "chat": {"id": chat, "type": "private", "first_name": "Lan"},
        "date": int(time.time() - age_s),
        "text": text,
    }
    return {"update_id": update_id, "message": message}
