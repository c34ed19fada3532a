"""A live message's three calls over aiogram, and what Telegram's refusals mean for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiogram import Bot
from aiogram.exceptions import (
    AiogramError,
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
)
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    MessageEntity,
    ReplyParameters,
)
from aiohttp import ClientConnectorError

from adapters.live.errors import (
    ChatGone,
    MessageGone,
    Moved,
    NotModified,
    PlatformError,
    Rejected,
    Throttled,
    Unavailable,
)
from adapters.telegram.keyboards import Button, Rows
from adapters.telegram.render import TelegramScreen

# The server gives no finer code than 400; these are parts of its descriptions.
_NOT_MODIFIED = "message is not modified"
_MESSAGE_GONE = (
    "message to edit not found",
    "message to delete not found",
    "message can't be edited",
    "message can't be deleted",
    "message_id_invalid",
)
_CHAT_GONE = (
    "chat not found",
    "message thread not found",
    "topic_closed",
    "topic_deleted",
    "peer_id_invalid",
    "user is deactivated",
    "group chat was",
    "have no rights to send",
    "not enough rights",
    "need administrator rights",
    "chat_write_forbidden",
    "chat_restricted",
)
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


@dataclass(slots=True, kw_only=True)
class TelegramTransport:
    """Posts and edits in one chat or topic."""

    bot: Bot
    chat_id: int
    thread_id: int | None = None
    reply_to: int | None = None
    """The message that the first post answers."""
    on_moved: Callable[[int, int], Awaitable[None]] | None = None
    """Told when the group turns out to have become a supergroup: its id before, and now. What it raises ends this."""
    _has_posted: bool = field(default=False, init=False)
    _came_from: int | None = field(default=None, init=False)

    async def post(self, screen: TelegramScreen) -> str:
        """Send a new message."""
        reply = None
        if self.reply_to is not None and not self._has_posted:
            reply = ReplyParameters(message_id=self.reply_to, allow_sending_without_reply=True)
        try:
            message = await self.bot.send_message(
                self.chat_id,
                screen.text,
                message_thread_id=self.thread_id,
                entities=entities_of(screen),
                parse_mode=None,
                link_preview_options=_NO_PREVIEW,
                reply_parameters=reply,
                reply_markup=markup(screen.rows),
            )
        except (AiogramError, OSError) as error:
            raise await self._meaning(error) from None  # the original may carry the address, and with it the token
        self._has_posted = True
        # A message that is not in the chat of the question names its chat, for whoever takes this answer over.
        return str(message.message_id) if self._came_from is None else f"{self.chat_id}/{message.message_id}"

    async def edit(self, message_id: str, screen: TelegramScreen) -> None:
        """Replace a message's text, entities and buttons."""
        chat_id, number = self._find(message_id)
        try:
            await self.bot.edit_message_text(
                screen.text,
                chat_id=chat_id,
                message_id=number,
                entities=entities_of(screen),
                parse_mode=None,
                link_preview_options=_NO_PREVIEW,
                reply_markup=markup(screen.rows),
            )
        except (AiogramError, OSError) as error:
            raise await self._meaning(error) from None

    async def delete(self, message_id: str) -> None:
        """Take a message away."""
        chat_id, number = self._find(message_id)
        try:
            await self.bot.delete_message(chat_id, number)
        except (AiogramError, OSError) as error:
            raise await self._meaning(error) from None

    def _find(self, message_id: str) -> tuple[int, int]:
        chat, _, number = message_id.rpartition("/")
        return int(chat) if chat else self._came_from or self.chat_id, int(number)

    async def _meaning(self, error: AiogramError | OSError) -> PlatformError:
        result = meaning(error)
        if isinstance(result, Moved):
            if self.on_moved is not None:
                await self.on_moved(self.chat_id, int(result.chat))
            self._came_from, self.chat_id = self.chat_id, int(result.chat)
            # Neither topics nor messages of the old group have the same ids in the new one.
            self.thread_id = self.reply_to = None
        return result


def entities_of(screen: TelegramScreen) -> list[MessageEntity]:
    """The formatted ranges as the client wants them."""
    return [MessageEntity(**entity.to_dict()) for entity in screen.entities]


def markup(rows: Rows) -> InlineKeyboardMarkup | None:
    """Buttons as the client takes them."""
    if not rows:
        return None
    keyboard = [[InlineKeyboardButton(text=b.label, callback_data=b.data) for b in row] for row in rows]
    return InlineKeyboardMarkup(inline_keyboard=keyboard)


def rows_of(keyboard: InlineKeyboardMarkup | None) -> Rows:
    """Buttons as the client gives them; links, which we never make, are left out."""
    if keyboard is None:
        return ()
    return tuple(
        tuple(Button(b.text, b.callback_data) for b in row if b.callback_data) for row in keyboard.inline_keyboard
    )


def meaning(error: AiogramError | OSError) -> PlatformError:
    """The platform error that an exception of the client stands for, without addresses."""
    result: PlatformError
    match error:
        case TelegramRetryAfter():
            result = Throttled(float(error.retry_after))
        case TelegramForbiddenError():
            result = ChatGone(error.message)
        case TelegramMigrateToChat():
            result = Moved(str(error.migrate_to_chat_id))
        case TelegramBadRequest():
            result = _bad_request(error.message)
        case TelegramEntityTooLarge():
            result = Rejected("request entity too large")
        case TelegramNetworkError():
            cause = error.__cause__
            name = type(cause).__name__ if cause is not None else "network error"
            result = Unavailable(name, may_have_happened=not isinstance(cause, ClientConnectorError))
        case ClientDecodeError():
            result = Unavailable("the answer is not the Bot API's", may_have_happened=True)
        case TelegramAPIError():
            result = Unavailable(type(error).__name__, may_have_happened=False)
        case _:
            result = Unavailable(type(error).__name__, may_have_happened=True)
    return result


def _bad_request(description: str) -> PlatformError:
    low = description.lower()
    if _NOT_MODIFIED in low:
        return NotModified("message is not modified")
    if any(part in low for part in _MESSAGE_GONE):
        return MessageGone(description)
    if any(part in low for part in _CHAT_GONE):
        return ChatGone(description)
    return Rejected(description)
