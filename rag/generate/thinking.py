"""Takes a reasoning model's thoughts out of its answer, while it streams."""

from __future__ import annotations

from typing import Literal

_OPENINGS = ("<think>", "<thinking>", "<reasoning>")


class ThoughtFilter:
    """Drops one `<think>...</think>` block at the very beginning of an answer; everything else passes.

    Later blocks are left alone: in the middle of an answer such a tag is something the documents say.
    """

    def __init__(self) -> None:
        self._state: Literal["start", "thinking", "trimming", "answer"] = "start"
        self._held = ""
        self._closing = ""

    def feed(self, text: str) -> str:
        """What of the answer is certain now."""
        if self._state == "answer":
            return text
        self._held += text
        if self._state == "start":
            self._decide()
        if self._state == "thinking":
            _, found, after = self._held.partition(self._closing)
            if found:
                self._state, self._held = "trimming", after
            else:
                self._held = self._held[-len(self._closing) :]
        if self._state == "trimming":
            self._held = self._held.lstrip()
            if self._held:
                self._state = "answer"
        if self._state != "answer":
            return ""
        released, self._held = self._held, ""
        return released

    def finish(self) -> str:
        """What was held back and turned out to belong to the answer."""
        released = self._held if self._state in {"start", "answer"} else ""
        self._held = ""
        return released

    def _decide(self) -> None:
        begun = self._held.lstrip()
        for opening in _OPENINGS:
            if begun.startswith(opening):
                self._closing = f"</{opening[1:]}"
                self._held = begun[len(opening) :]
                self._state = "thinking"
                return
        if not any(opening.startswith(begun) for opening in _OPENINGS):
            self._state = "answer"
