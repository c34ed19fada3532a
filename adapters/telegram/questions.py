"""Questions: text, captions, forwarded and edited messages; what we cannot read is declined in words."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from aiogram import F, Router
from aiogram.enums import ChatType, ContentType
from aiogram.types import Message, Update

from adapters.telegram.inbound import conversation_of, reply_of, sender_of, to_inbound
from adapters.telegram.ports import Accept
from adapters.telegram.speech import Speech
from adapters.telegram.words import words

UNREADABLE = {
    ContentType.ANIMATION, ContentType.AUDIO, ContentType.CHECKLIST, ContentType.CONTACT, ContentType.DICE,
    ContentType.DOCUMENT, ContentType.GAME, ContentType.LOCATION, ContentType.PAID_MEDIA, ContentType.PHOTO,
    ContentType.POLL, ContentType.STICKER, ContentType.STORY, ContentType.VENUE, ContentType.VIDEO,
    ContentType.VIDEO_NOTE, ContentType.VOICE,
}  # fmt: skip
"""What people send; everything else without words is said by Telegram itself (joined, pinned, ...) and not for us."""
_MOST_GROUPS = 1_000


class Questions:
    """Takes what is a question to us."""

    def __init__(self, *, accept: Accept, speech: Speech, now: Callable[[], float] = time.monotonic) -> None:
        self._accept = accept
        self._speech = speech
        self._now = now
        self._albums: OrderedDict[str, None] = OrderedDict()

    def router(self) -> Router:
        """Words first, then what has none."""
        router = Router(name="questions")
        router.message.register(self.on_question, F.text | F.caption)
        router.message.register(self.on_unreadable, F.content_type.in_(UNREADABLE))
        router.edited_message.register(self.on_edit, F.text | F.caption)
        return router

    async def on_question(self, message: Message, event_update: Update) -> None:
        """A text, or the words below a picture or a file; forwarded ones are questions like others."""
        assert message.bot is not None
        me = await message.bot.me()
        inbound = to_inbound(message, update_id=event_update.update_id, me=me, received_at=self._now())
        if inbound is None:
            return
        self._is_new(message.media_group_id)
        if inbound.text:
            await self._accept(inbound)
        else:
            self._say(message, words(inbound.language_hint).help)

    async def on_edit(self, message: Message, event_update: Update) -> None:
        """A question that was changed; whether that still matters is decided when its turn comes."""
        assert message.bot is not None
        me = await message.bot.me()
        inbound = to_inbound(message, update_id=event_update.update_id, me=me, received_at=self._now(), is_edit=True)
        if inbound is not None and inbound.text:
            await self._accept(inbound)

    async def on_unreadable(self, message: Message) -> None:
        """Nothing that we could read: say so, once for an album, and in a group only if it was meant for us."""
        assert message.bot is not None
        is_for_us = message.chat.type == ChatType.PRIVATE or reply_of(message, await message.bot.me()) is not None
        if sender_of(message) is not None and is_for_us and self._is_new(message.media_group_id):
            language = message.from_user.language_code if message.from_user else None
            self._say(message, words(language).only_text)

    def _is_new(self, album: str | None) -> bool:
        """Whether nothing was said to this album yet. An album is several messages of which one may have a caption."""
        if album is None:
            return True
        is_new = album not in self._albums
        self._albums[album] = None
        if len(self._albums) > _MOST_GROUPS:
            self._albums.popitem(last=False)
        return is_new

    def _say(self, message: Message, text: str) -> None:
        reply_to = None if message.chat.type == ChatType.PRIVATE else message.message_id
        self._speech.say(conversation_of(message), text, reply_to=reply_to)
