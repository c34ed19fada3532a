"""A Telegram message to an `Inbound`: what was meant for us, from whom, and where. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from aiogram.enums import ChatType, MessageEntityType
from aiogram.types import CallbackQuery, Message, User

from adapters.desk import Visitor
from adapters.ports import Inbound

_COMMAND = re.compile(r"/(?P<name>[a-zA-Z0-9_]+)(?:@(?P<bot>\w+))?(?:\s+(?P<rest>.*))?", re.DOTALL)


class CommandText(NamedTuple):
    """A text that is a command."""

    name: str
    bot: str | None
    """Whom it names, in lower case; None: whoever is there."""
    rest: str


def command_of(text: str) -> CommandText | None:
    """The command that a text is."""
    found = _COMMAND.fullmatch(text)
    if found is None:
        return None
    return CommandText(found["name"].lower(), found["bot"] and found["bot"].lower(), (found["rest"] or "").strip())


def conversation_of(message: Message) -> str:
    """`chat`, or `chat/topic` in a topic. A thread id outside topics only marks a reply and is no place of its own."""
    if message.is_topic_message and message.message_thread_id is not None:
        return f"{message.chat.id}/{message.message_thread_id}"
    return str(message.chat.id)


def place_of(conversation: str) -> tuple[int, int | None]:
    """Chat id and topic id of a conversation."""
    chat, _, topic = conversation.partition("/")
    return int(chat), int(topic) if topic else None


def to_inbound(
    message: Message, *, update_id: int, me: User, received_at: float, is_edit: bool = False
) -> Inbound | None:
    """What was said to us; None for what is not a question to this bot.

    In groups only a mention, a reply to one of our messages, or `/ask` counts. A bare mention gives an empty text.
    """
    sender = sender_of(message)
    text = None if sender is None else _text_for_us(message, me)
    if sender is None or text is None:
        return None
    is_private = message.chat.type == ChatType.PRIVATE
    return Inbound(
        platform="telegram",
        conversation=conversation_of(message),
        sender=sender,
        text=text,
        event_id=f"telegram:{me.id}:{update_id}",
        received_at=received_at,
        place=str(message.chat.id),
        sent_at=(message.edit_date and float(message.edit_date)) or message.date.timestamp(),
        language_hint=_language(message.from_user),
        is_private=is_private,
        reply_to=None if is_private else str(message.message_id),
        message_id=str(message.message_id),
        about=reply_of(message, me),
        is_edit=is_edit,
    )


def sender_of(message: Message) -> str | None:
    """Who speaks: a person, or a channel or anonymous admin speaking as one; other bots are not answered.

    What a linked channel posts appears in its group by itself: nobody said that to us.
    """
    if message.is_automatic_forward:
        return None
    if message.sender_chat is not None:
        return str(message.sender_chat.id)
    user = message.from_user
    return str(user.id) if user is not None and not user.is_bot else None


def visitor_of(message: Message) -> Visitor | None:
    """Who says something, and where; None for other bots."""
    person = sender_of(message)
    if person is None:
        return None
    return Visitor(
        platform="telegram",
        conversation=conversation_of(message),
        place=str(message.chat.id),
        person=person,
        language=_language(message.from_user),
    )


def presser_of(query: CallbackQuery) -> Visitor | None:
    """Who presses a button, and where; None for a button that is not in a chat.

    Of a message that is too old to be shown to us only the chat is known, not the topic.
    """
    if query.message is None:
        return None
    chat_id = str(query.message.chat.id)
    return Visitor(
        platform="telegram",
        conversation=conversation_of(query.message) if isinstance(query.message, Message) else chat_id,
        place=chat_id,
        person=str(query.from_user.id),
        language=_language(query.from_user),
    )


def reply_of(message: Message, me: User) -> str | None:
    """The id of our message that this one replies to."""
    answered = message.reply_to_message
    # In a topic every message replies to the service message that opened it, which may be ours.
    if answered is None or answered.from_user is None or answered.forum_topic_created is not None:
        return None
    return str(answered.message_id) if answered.from_user.id == me.id else None


def _language(user: User | None) -> str | None:
    language = user.language_code if user is not None else None
    return language.split("-")[0].lower() if language else None


def _text_for_us(message: Message, me: User) -> str | None:
    text = message.text or message.caption
    if text is None:
        return None
    if (command := command_of(text)) is not None:
        is_ours = command.bot is None or command.bot == (me.username or "").lower()
        return command.rest if command.name == "ask" and is_ours else None
    if message.chat.type == ChatType.PRIVATE:
        return text.strip()
    without = _without_mention(message, text, me)
    if without is not None:
        return without
    return text.strip() if reply_of(message, me) is not None else None


def _without_mention(message: Message, text: str, me: User) -> str | None:
    """The text without the mention of this bot; None if it is not mentioned."""
    for entity in message.entities or message.caption_entities or ():
        shown = entity.extract_from(text)
        is_name = entity.type == MessageEntityType.MENTION and shown.lower() == f"@{me.username or ''}".lower()
        is_link = entity.type == MessageEntityType.TEXT_MENTION and entity.user is not None and entity.user.id == me.id
        if is_name or is_link:
            return " ".join(text.replace(shown, " ", 1).split(" ")).strip(" ,:;")
    return None
