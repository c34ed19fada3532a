"""Who and what exists on the emulated server: users, chats, messages with their whole history, updates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
MEDIA = {"photo", "video", "voice", "audio", "document", "animation", "video_note"}
"""Kinds of messages whose words are a caption."""


@dataclass(slots=True, kw_only=True)
class Chat:
    """A chat as the bot meets it; negative ids are groups."""

    id: int
    type: str
    title: str | None = None
    first_name: str | None = None
    is_forum: bool = False
    topics: set[int] = field(default_factory=set)
    refusal: str | None = None
    """Why the bot may not write here any more, in the server's words (403)."""
    migrated_to: int | None = None
    """The supergroup that this group became: nothing can be done here any more."""
    next_message_id: int = 1

    def json(self) -> Json:
        body: Json = {"id": self.id, "type": self.type}
        for name in ("title", "first_name"):
            if (value := getattr(self, name)) is not None:
                body[name] = value
        if self.is_forum:
            body["is_forum"] = True
        return body


@dataclass(slots=True, kw_only=True, frozen=True)
class User:
    id: int
    first_name: str
    language_code: str | None = None
    is_bot: bool = False
    username: str | None = None

    def json(self) -> Json:
        body: Json = {"id": self.id, "is_bot": self.is_bot, "first_name": self.first_name}
        if self.language_code:
            body["language_code"] = self.language_code
        if self.username:
            body["username"] = self.username
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One state of a message, and when it came to be (monotonic seconds)."""

    text: str
    entities: list[Json]
    reply_markup: Json | None
    at: float

    def is_same_content(self, other: Version) -> bool:
        """What the server compares before it says "message is not modified"."""
        return (self.text, self.entities, self.reply_markup) == (other.text, other.entities, other.reply_markup)


@dataclass(slots=True, kw_only=True)
class Message:
    """A message in a chat, with every state it was ever in."""

    chat: Chat
    message_id: int
    sender: User
    date: int
    thread_id: int | None = None
    reply_to: int | None = None
    versions: list[Version] = field(default_factory=list)
    is_deleted: bool = False
    extra: Json = field(default_factory=dict)
    """What else the server says of it: `photo`, `forward_origin`, `sticker`, ... A medium's words are its caption."""

    @property
    def text(self) -> str:
        return self.versions[-1].text

    @property
    def entities(self) -> list[Json]:
        return self.versions[-1].entities

    @property
    def reply_markup(self) -> Json | None:
        return self.versions[-1].reply_markup

    @property
    def edits(self) -> int:
        """How often it was changed after it was posted."""
        return len(self.versions) - 1

    @property
    def is_from_bot(self) -> bool:
        return self.sender.is_bot

    @property
    def buttons(self) -> list[Json]:
        """All inline buttons, row after row."""
        return [button for row in (self.reply_markup or {}).get("inline_keyboard", []) for button in row]

    @property
    def is_growing(self) -> bool:
        """Whether it says that more is to come: it can be stopped."""
        return any(button.get("callback_data", "").startswith("stop:") for button in self.buttons)

    def json(self, *, reply_to: Message | None = None) -> Json:
        body: Json = {
            "message_id": self.message_id,
            "from": self.sender.json(),
            "chat": self.chat.json(),
            "date": self.date,
            **self.extra,
        }
        if self.text:
            body["caption" if MEDIA & self.extra.keys() else "text"] = self.text
        if self.entities:
            body["caption_entities" if MEDIA & self.extra.keys() else "entities"] = self.entities
        if self.reply_markup:
            body["reply_markup"] = self.reply_markup
        if self.edits:
            body["edit_date"] = self.date
        if self.thread_id is not None:
            body["message_thread_id"] = self.thread_id
            body["is_topic_message"] = True
        if reply_to is not None:
            body["reply_to_message"] = reply_to.json()
        return body

    def record(self) -> Json:
        """The transcript's entry, for other processes."""
        return {
            "chat": self.chat.id,
            "message_id": self.message_id,
            "from_bot": self.is_from_bot,
            "thread": self.thread_id,
            "reply_to": self.reply_to,
            "deleted": self.is_deleted,
            "text": self.text,
            "buttons": self.buttons,
            "edits": self.edits,
            "versions": [
                {"text": v.text, "entities": v.entities, "reply_markup": v.reply_markup, "at": v.at}
                for v in self.versions
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call the bot made."""

    method: str
    params: Json
    at: float
    status: int
    """200, the error's code, or 0 when the connection was closed without an answer."""
    description: str = ""
