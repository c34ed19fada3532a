"""The seam for admins who work from within a chat: what a platform asks of the process, and the process of it.

A platform recognises an admin's command, file or button in a private chat and hands it to the `AdminDesk`. The desk
answers through a `Notice`, one message that is edited while work goes on; where it stands is plain data (`NoticeAt`),
so that a job can carry it over a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapters.ports import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A button below a notice."""

    label: str
    data: str
    """What comes back when it is pressed; at most 60 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingFile:
    """A file that somebody sent, not fetched yet."""

    reference: str
    """The platform's id of it, with which it can be fetched later on."""
    name: str
    size: int | None = None
    """Bytes, if the platform tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeAt:
    """Where a notice stands or is to be posted, and for whom."""

    platform: Platform
    conversation: str
    person: str
    """The platform's id of the admin."""
    language: str | None = None
    """The language of the admin's interface."""
    message_id: str | None = None
    """The message to edit; None: a new one."""
    reply_to: str | None = None
    """The message that a new one answers."""


class Notice(Protocol):
    """One message of ours that tells how something goes. Nothing here raises for what a platform does."""

    def show(self, text: str, choices: Sequence[Choice] = (), *, table: str = "") -> None:
        """Let it show this some time soon, instead of whatever it showed; the newest wins.

        `table` stands below the text, in columns as it is.
        """
        ...

    async def settled(self) -> None:
        """Return once it shows what was shown last, or cannot any more."""
        ...


class FileUnavailable(Exception):
    """A file cannot be fetched, and trying again will not help; the message tells the person why."""


class AdminPlatform(Protocol):
    """What the desk needs of a platform."""

    @property
    def file_limit(self) -> int | None:
        """The largest file that can be fetched, in bytes; None: the platform says so when it is fetched."""
        ...

    def notice(self, at: NoticeAt) -> Notice:
        """The message at this place."""
        ...

    def fetch(self, file: IncomingFile) -> AsyncIterator[bytes]:
        """A file's bytes. Raises `FileUnavailable`, or `OSError` where trying again may help."""
        ...


class AdminDesk(Protocol):
    """What admins can do from within a chat. Returns once whatever was accepted is safely recorded."""

    def is_admin(self, platform: Platform, person: str) -> bool:
        """Whether this person may."""
        ...

    async def command(self, name: str, rest: str, at: NoticeAt) -> None:
        """A command without its slash, and what was written after it."""
        ...

    async def file(self, file: IncomingFile, wish: str, at: NoticeAt) -> None:
        """A file was sent; `wish` is what was written with it: a collection's name, or nothing of use."""
        ...

    async def choose(self, data: str, file: IncomingFile | None, at: NoticeAt) -> None:
        """A choice below the notice `at` was pressed, which was about `file` (None: that is gone)."""
        ...
