"""What `grapevine export` and `grapevine import` share: the progress bar."""

from __future__ import annotations

from typing import Self

from bot.cli.common import progress_bar
from rag.transfer.export import Moved


class MovingBar:
    """Chunks moved so far, on standard error; nothing where that is no terminal."""

    def __init__(self, what: str, *, quiet: bool) -> None:
        self._bar = progress_bar(quiet=quiet)
        self._chunks = self._bar.add_task(what, total=None)
        self._texts = self._bar.add_task("texts embedded", total=None, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, moved: Moved) -> None:
        """Move the bar."""
        self._bar.update(self._chunks, completed=moved.chunks, total=max(moved.chunks_total, moved.chunks))

    def embedded(self, texts: int) -> None:
        """Count texts that were given vectors."""
        self._bar.update(self._texts, advance=texts, visible=True)
