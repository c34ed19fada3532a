"""The line that every admin act leaves, through whichever door: who, what, to what, and what came of it.

Never a question, an answer or a token: an object is named by its id, a FAQ's being a hash of its question.
"""

from __future__ import annotations

from typing import Literal

import structlog

from bot.telemetry.line import conversation_hash

AuditOutcome = Literal["done", "queued", "failed"]
"""`queued`: a job goes on with it; its own `job` line says how that ended."""

_LONGEST = 300


def audit(action: str, target: str, *, who: str, outcome: AuditOutcome = "done") -> None:
    """Leave the line.

    Args:
        action: What was done, e.g. `documents.upload`.
        target: To what, as ids and names of documents; cut at 300 characters.
        who: The door where it has no names (`token`, `session`, `cli`), else a person as `person` gives it.
        outcome: What came of it.
    """
    structlog.get_logger("grapevine.audit").info(
        "audit", action=action, target=target[:_LONGEST], who=who, outcome=outcome
    )


def person(key: bytes, platform: str, person_id: str) -> str:
    """Who somebody is in the log, e.g. `telegram:9f86d081884c7d65`: the same person is always the same there."""
    return f"{platform}:{conversation_hash(key, platform, person_id)}"
