"""The seam between the process and its platforms.

`bot/turn.py` drives a `LiveMessage` the same way on every platform: `status`, then `append` as text arrives, then
one of `finish`. Each platform decides how much of that it can show, and reports what the person actually saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

Platform = Literal["telegram", "slack", "web", "api", "console"]
Instead = Literal["late", "too_fast", "spent", "all_spent"]
"""Why a question gets a fixed sentence: it waited too long for the bot to be there, its asker asks too fast, or the
day's tokens are used up, the asker's or everybody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """One thing somebody said to us, whatever the platform."""

    platform: Platform
    conversation: str
    """The platform's own id of the place and thread, e.g. `123` or `-100123/7` (chat/topic). Never logged as it is."""
    sender: str
    """The platform's own id of the person, e.g. `123`. Never logged as it is."""
    text: str
    event_id: str
    """The platform's id of the delivery; the same event delivered twice has the same id."""
    received_at: float
    """`time.monotonic()` when it reached us."""
    place: str = ""
    """The most specific name that `GRAPEVINE_ACCESS` may use, e.g. the chat's or the channel's id; with a `*` before
    it where somebody from outside the organisation speaks."""
    language_hint: str | None = None
    """The language of the person's interface, if the platform tells."""
    is_private: bool = True
    """A direct chat with one person."""
    reply_to: str | None = None
    """The platform's id of the message to answer to, if that is worth showing."""
    message_id: str | None = None
    """The platform's id of the asker's message."""
    sent_at: float | None = None
    """When it was sent by the platform's clock, in seconds since the epoch."""
    about: str | None = None
    """The id of an earlier message of ours that this one replies to: its exchange is what the question is about."""
    answer_into: str | None = None
    """The messages of ours (see `PastAnswer.handle`) that the answer has to be written into, in place of new ones."""
    instead: Instead | None = None
    """Decided when it arrived: no answer, but the sentence for this."""
    is_edit: bool = False
    """The asker changed the message `message_id`: if its answer is still their last, it is written anew in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLink:
    """A source as a reader sees it below an answer."""

    n: int
    title: str
    passage_id: str
    document: str
    collection: str
    excerpt: str = ""
    """The passage's text, for platforms that can open it in place."""
    url: str | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The complete last state of a message."""

    text: str
    """Markdown, whole: it replaces everything appended before."""
    sources: tuple[SourceLink, ...] = ()
    note: str | None = None
    """A visible mark below the text, e.g. `⚠ Incomplete`."""
    can_retry: bool = False
    can_rate: bool = False
    """Whether it says something that the reader may find good or bad."""
    suggestions: tuple[str, ...] = ()
    """Questions worth asking next, at most three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the person actually saw, measured at the platform's acknowledgements."""

    first_visible_at: float | None
    """`time.monotonic()` of the acknowledgement that carried the first answer text; None if nothing was shown."""
    lag_ms: float | None
    """Screen lag: mean over the answer's characters of (acknowledged on the screen - arrived), in milliseconds."""
    edits: int = 0
    throttled: int = 0
    parts: int = 1
    orphans: int = 0
    """First posts whose acknowledgement was lost: each may have left a preview on the screen that nobody can reach."""
    is_gone: bool = False
    """The message, the chat or the reader is not there any more."""


class LiveMessage(Protocol):
    """One answer being shown. Used by one turn; `append` never blocks and never raises."""

    def status(self, text: str) -> None:
        """Show that work goes on, where the platform has a place for that which costs no edit."""
        ...

    def offer_sources(self, sources: tuple[SourceLink, ...]) -> None:
        """The sources the answer is being written from, where the platform can show them at once."""
        ...

    def append(self, text: str) -> None:
        """More of the answer. The platform shows it when it can; the newest text wins."""
        ...

    async def finish(self, final: Final) -> Delivery:
        """Show `final` exactly once, wait until the platform has acknowledged it, and report.

        Never raises for what a platform does; a message that is gone is a `Delivery` with `is_gone`.
        """
        ...

    async def wait_gone(self) -> None:
        """Return once nobody can see this message any more (tab closed, message deleted, bot blocked)."""
        ...


class Priority(IntEnum):
    """Who goes first when calls are scarce."""

    FINAL = 0
    FIRST = 1
    """The first visible text of an answer."""
    REPLY = 2
    """An answer to a command."""
    PREVIEW = 3
    ACTION = 4
    """A chat action such as "typing": the first to be dropped."""


Method = Literal["post", "edit", "delete", "action"]
"""What kind of call is made; a platform may limit each of them separately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to a platform that somebody wants to make."""

    ticket: str
    """Who asks: one live message, or one reply. While it waits it stands in line under this name, once."""
    chat: str
    """Where the call goes; fairness is between chats."""
    method: Method
    priority: Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """A budget's answer."""

    wait_s: float
    """0.0: granted and spent. Otherwise ask again after so many seconds; until then the place in line is kept."""
    level: float
    """How many more such calls this chat could make at once."""
    per_second: float
    """How many such calls come back in a second, as far as this chat may count on them."""


class Budget(Protocol):
    """How many calls a platform allows, shared by everything that spends them."""

    async def take(self, call: Call) -> Allowance:
        """Spend one call if that is allowed now and nobody goes before; otherwise say when to ask again."""
        ...

    async def throttled(self, call: Call, retry_after_s: float) -> None:
        """The platform refused this call, which had been granted, and wants none like it for so long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """Somebody wants the answer that is being written to stop."""

    platform: Platform
    conversation: str
    asker: str
    """Whose answer; with the conversation it names the lane."""
    presser: str
    """Who wants it to stop."""


StopOutcome = Literal["stopped", "idle", "refused"]
"""Done; nothing was being written; the presser may not."""
