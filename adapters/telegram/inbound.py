"""A Telegram message to an `Inbound`: what was meant for us, from whom, and where. Pure."""

from __future__ import annotations

import re

from aiogram.enums import ChatType, MessageEntityType
from aiogram.types import Message, User

from adapters.ports import Inbound

_COMMAND = re.compile(r"/(?P<name>[a-zA-Z0-9_]+)(?:@(?P<bot>\w+))?(?:\s+(?P<rest>.*))?", re.DOTALL)


def conversation_of(message: Message) -> str:
    """`chat`, or `chat/topic` in a topic. A thread id outside topics only marks a reply and is no place of its own."""
    if message.is_topic_message and message.message_thread_id is not None:
        return f"{message.chat.id}/{message.message_thread_id}"
    return str(message.chat.id)


def place_of(conversation: str) -> tuple[int, int | None]:
    """Chat id and topic id of a conversation."""
    chat, _, topic = conversation.partition("/")
    return int(chat), int(topic) if topic else None


def to_inbound(message: Message, *, update_id: int, me: User, received_at: float) -> Inbound | None:
    """What was said to us; None for what is not a question to this bot.

    In groups only a mention, a reply to one of our messages, or `/ask` counts. A bare mention gives an empty text.
    """
    sender = sender_of(message)
    text = None if sender is None else _text_for_us(message, me)
    if sender is None or text is None:
        return None
    is_private = message.chat.type == ChatType.PRIVATE
    language = message.from_user.language_code if message.from_user else None
    return Inbound(
        platform="telegram",
        conversation=conversation_of(message),
        sender=sender,
        text=text,
        event_id=f"telegram:{me.id}:{update_id}",
        received_at=received_at,
        place=str(message.chat.id),
        sent_at=(message.edit_date and float(message.edit_date)) or message.date.timestamp(),
        language_hint=language.split("-")[0].lower() if language else None,
        is_private=is_private,
        reply_to=None if is_private else str(message.message_id),
    )


def sender_of(message: Message) -> str | None:
    """Who speaks: a person, or a channel or anonymous admin speaking as one; other bots are not answered."""
    if message.sender_chat is not None:
        return str(message.sender_chat.id)
    user = message.from_user
    return str(user.id) if user is not None and not user.is_bot else None


def _text_for_us(message: Message, me: User) -> str | None:
    text = message.text
    if text is None:
        return None
    if command := _COMMAND.fullmatch(text):
        is_ours = command["bot"] is None or command["bot"].lower() == (me.username or "").lower()
        if command["name"].lower() == "ask":
            return (command["rest"] or "").strip() if is_ours else None
    if message.chat.type == ChatType.PRIVATE:
        return text.strip()
    without = _without_mention(message, me)
    if without is not None:
        return without
    return text.strip() if _is_reply_to(message, me) else None


def _is_reply_to(message: Message, me: User) -> bool:
    answered = message.reply_to_message
    # In a topic every message replies to the service message that opened it, which may be ours.
    if answered is None or answered.from_user is None or answered.forum_topic_created is not None:
        return False
    return answered.from_user.id == me.id


def _without_mention(message: Message, me: User) -> str | None:
    """The text without the mention of this bot; None if it is not mentioned."""
    text = message.text or ""
    for entity in message.entities or ():
        shown = entity.extract_from(text)
        is_name = entity.type == MessageEntityType.MENTION and shown.lower() == f"@{me.username or ''}".lower()
        is_link = entity.type == MessageEntityType.TEXT_MENTION and entity.user is not None and entity.user.id == me.id
        if is_name or is_link:
            return " ".join(text.replace(shown, " ", 1).split(" ")).strip(" ,:;")
    return None
