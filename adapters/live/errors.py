"""What a platform's answer means for a live message.

PlatformError
├── Throttled       asked for a pause; carries how long
├── NotModified     the message already looks like that: as good as done
├── MessageGone     this message is not there any more
├── ChatGone        the chat, or our right to write in it, is not there any more
├── Moved           the chat goes on under another id; carries it
├── Rejected        this rendering is not accepted; plain text may be
└── Unavailable     no usable answer: 5xx, connection lost, time-out

Messages name the cause in one line, without tokens, addresses that carry tokens, or anybody's words.
"""

from __future__ import annotations


class PlatformError(Exception):
    """The root of the tree."""


class Throttled(PlatformError):
    """The platform wants no call for a while."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the platform asks to wait {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class NotModified(PlatformError):
    """The message already shows exactly this. After a lost acknowledgement that is the good news."""


class MessageGone(PlatformError):
    """The message was deleted."""


class ChatGone(PlatformError):
    """Blocked, kicked, or the chat does not exist."""


class Moved(PlatformError):
    """The chat has become another one; what was posted in the old one cannot be changed any more."""

    def __init__(self, chat: str) -> None:
        super().__init__("the chat goes on under another id")
        self.chat = chat


class Rejected(PlatformError):
    """The platform does not accept this rendering."""


class Unavailable(PlatformError):
    """No usable answer. `may_have_happened`: the call was sent, and its answer lost."""

    def __init__(self, what: str, *, may_have_happened: bool) -> None:
        super().__init__(what)
        self.may_have_happened = may_have_happened
