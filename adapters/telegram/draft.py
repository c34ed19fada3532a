"""Native drafts: an answer grows in a preview that Telegram shows in private chats, and ends as a message.

A draft has no message id and no buttons, vanishes 30 seconds after its last change, and is dismissed by the next
message (https://core.telegram.org/bots/api#sendmessagedraft). To the publisher it is a message whose id begins with
`draft:`; the first edit that does not grow any more makes a message of it, with a new id.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from aiogram import Router
from aiogram.exceptions import AiogramError, TelegramBadRequest, TelegramNotFound
from aiogram.types import MessageGenerationStopped

from adapters.ports import StopRequest
from adapters.telegram.live import TelegramTransport, entities_of, meaning
from adapters.telegram.ports import Stop
from adapters.telegram.render import TelegramScreen

RENEW_S = 20.0
"""A preview that has not changed is sent again well before its 30 seconds are over, even if a call has to wait."""
_PREFIX = "draft:"


def is_draft(handle: str | None) -> bool:
    """Whether an answer's last message is still a draft."""
    return handle is not None and handle.rpartition(",")[2].startswith(_PREFIX)


@dataclass(slots=True, kw_only=True)
class DraftTransport:
    """Shows what grows as a draft, and what does not as a message.

    Where the server knows no drafts, or takes none in this chat, it is all messages and edits.
    """

    real: TelegramTransport
    _is_refused: bool = field(default=False, init=False)

    async def post(self, screen: TelegramScreen) -> str:
        """Begin a draft, or send a message."""
        if screen.is_growing and not self._is_refused:
            # Not zero, and not one that is shown already: changes to the same draft are animated.
            draft_id = 1 + secrets.randbelow(2**31 - 1)
            if await self._draft(draft_id, screen):
                return f"{_PREFIX}{draft_id}"
        return await self.real.post(screen)

    async def edit(self, message_id: str, screen: TelegramScreen) -> str | None:
        """Change a draft or a message; a draft that is finished becomes a message, with the id that is returned."""
        if not message_id.startswith(_PREFIX):
            await self.real.edit(message_id, screen)
            return None
        is_drawn = screen.is_growing and not self._is_refused
        if is_drawn and await self._draft(int(message_id.removeprefix(_PREFIX)), screen):
            return None
        return await self.real.post(screen)

    async def delete(self, message_id: str) -> None:
        """Take a message away; a draft goes by itself."""
        if not message_id.startswith(_PREFIX):
            await self.real.delete(message_id)

    async def _draft(self, draft_id: int, screen: TelegramScreen) -> bool:
        """Show it; False if this server or this chat has no drafts."""
        try:
            await self.real.bot.send_message_draft(
                self.real.chat_id,
                draft_id,
                message_thread_id=self.real.thread_id,
                text=screen.text,
                entities=entities_of(screen),
                parse_mode=None,
                can_stop=True,
                keep_on_stop=True,  # until the message that the answer ends as is there
            )
        except (AiogramError, OSError) as error:
            self._is_refused = _knows_no_drafts(error)
            if self._is_refused:
                return False
            raise meaning(error) from None  # the original may carry the address, and with it the token
        return True


def _knows_no_drafts(error: AiogramError | OSError) -> bool:
    if isinstance(error, TelegramNotFound):
        return True  # "method not found": a Bot API server of one's own, older than drafts
    return isinstance(error, TelegramBadRequest) and "textdraft" in error.message.lower()


class StopButton:
    """Telegram's own stop button below a draft."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def router(self) -> Router:
        """One handler."""
        router = Router(name="draft")
        router.stopped_message_generation.register(self.on_stop)
        return router

    async def on_stop(self, event: MessageGenerationStopped) -> None:
        """Only the person whose private chat it is can press it."""
        person = str(event.chat.id)
        thread = event.message_thread_id
        conversation = person if thread is None else f"{person}/{thread}"
        await self._stop(StopRequest(platform="telegram", conversation=conversation, asker=person, presser=person))
