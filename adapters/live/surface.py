"""What a live message needs of one platform: rendering (pure) and three calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from adapters.ports import Final, SourceLink


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one message of the platform is to show."""

    markdown: str
    is_growing: bool = False
    """More will come in this very message: it shows the stop control, where there is one."""
    sources: tuple[SourceLink, ...] = ()
    """What the text may link to."""
    footer: Final | None = None
    """Where this is the answer's last part: its sources, its note and its controls stand below the text."""


class Screen(Protocol):
    """A rendered part: an immutable value whose equality means that the reader sees no difference."""

    @property
    def fits(self) -> bool:
        """Whether the platform takes it as one message."""
        ...

    @property
    def has_words(self) -> bool:
        """Whether there is something to read, which makes a beginning worth showing."""
        ...

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing at all, so that the platform would not take it."""
        ...


S = TypeVar("S", bound=Screen)


S_co = TypeVar("S_co", bound=Screen, covariant=True)


class Renderer(Protocol[S_co]):
    """Parts to screens."""

    def render(self, part: Part) -> S_co: ...

    def plain(self, part: Part) -> S_co:
        """The same words without formatting, for a rendering that was rejected."""
        ...


S_contra = TypeVar("S_contra", bound=Screen, contravariant=True)


class Transport(Protocol[S_contra]):
    """The platform's calls. Each raises a `PlatformError` of `adapters/live/errors.py`, and nothing else."""

    async def post(self, screen: S_contra) -> str:
        """Show a new message; its id."""
        ...

    async def edit(self, message_id: str, screen: S_contra) -> str | None:
        """Let a message show something else; its new id, where that makes it another one (a draft become a message)."""
        ...

    async def delete(self, message_id: str) -> None: ...
