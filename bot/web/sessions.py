"""Ids that only the server can make: browser sessions and conversations, signed instead of stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

_ID = r"[A-Za-z0-9_-]{22}"
_SESSION = re.compile(rf"({_ID})\.([0-9a-f]{{32}})?\.([0-9a-f]{{32}})")
_CONVERSATION = re.compile(rf"({_ID})\.([0-9a-f]{{32}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One browser."""

    session_id: str
    member: str | None = None
    """The id of the API token that somebody signed in with, if they did."""


class Signer:
    """Makes and checks ids with a kept key."""

    def __init__(self, key: bytes, *, random_id: Callable[[], str] = lambda: secrets.token_urlsafe(16)) -> None:
        """Take the kept key; `random_id` gives 22 URL-safe characters (128 bits)."""
        self._key = key
        self._random_id = random_id

    def new_session(self, *, member: str | None = None) -> str:
        """A cookie value for a new browser."""
        session_id = self._random_id()
        return f"{session_id}.{member or ''}.{self._mac('session', session_id, member or '')}"

    def session(self, cookie: str | None) -> Session | None:
        """The session of a cookie value; None if we did not make it."""
        match = _SESSION.fullmatch(cookie or "")
        if match is None:
            return None
        session_id, member, mac = match[1], match[2] or "", match[3]
        if not hmac.compare_digest(mac, self._mac("session", session_id, member)):
            return None
        return Session(session_id=session_id, member=member or None)

    def new_conversation(self, caller: str) -> str:
        """A conversation id for one caller."""
        conversation_id = self._random_id()
        return f"{conversation_id}.{self._mac('conversation', conversation_id, caller)}"

    def owns(self, caller: str, conversation: str) -> bool:
        """Whether we made this conversation id, and for this caller."""
        match = _CONVERSATION.fullmatch(conversation)
        return match is not None and hmac.compare_digest(match[2], self._mac("conversation", match[1], caller))

    def _mac(self, *parts: str) -> str:
        return hmac.new(self._key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:32]
