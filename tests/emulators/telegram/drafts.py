"""Native drafts: previews in private chats that vanish by themselves and give way to the next message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.emulators.telegram.emulator import TelegramEmulator

LASTS_S = 30.0


@dataclass(frozen=True, slots=True)
class Preview:
    draft_id: int
    text: str
    at: float
    can_stop: bool


class Previews:
    """The draft that each private chat shows."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._shown: dict[int, Preview] = {}

    def show(self, chat_id: int, draft_id: int, text: str, *, can_stop: bool) -> None:
        self._shown[chat_id] = Preview(draft_id, text, self._now(), can_stop)

    def dismiss(self, chat_id: int) -> None:
        """A real message is there."""
        self._shown.pop(chat_id, None)

    def shown(self, chat_id: int) -> Preview | None:
        """What the person sees now."""
        preview = self._shown.get(chat_id)
        return preview if preview is not None and self._now() - preview.at < LASTS_S else None

    def press_stop(self, emu: TelegramEmulator, chat_id: int) -> None:
        """The person presses Telegram's own stop button below the draft."""
        preview = self.shown(chat_id)
        assert preview is not None, "there is no draft in this chat"
        assert preview.can_stop, "this draft has no stop button"
        body = {"chat": emu.chats[chat_id].json(), "draft_id": preview.draft_id}
        emu.updates.add("stopped_message_generation", body, key=f"chat:{chat_id}")
