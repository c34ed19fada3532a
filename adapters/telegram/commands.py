"""Commands: what somebody says with a slash."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiogram import Router
from aiogram.enums import ChatType
from aiogram.filters import Command
from aiogram.types import Message, Update, User

from adapters.desk import Desk, Visitor
from adapters.past import PastAnswer
from adapters.ports import Inbound, StopRequest
from adapters.telegram.inbound import command_of, conversation_of, reply_of, visitor_of
from adapters.telegram.keyboards import confirm_forget, is_link, passages, questions
from adapters.telegram.neutral import without_live_words
from adapters.telegram.ports import Accept, Stop
from adapters.telegram.render import TelegramScreen, source_list
from adapters.telegram.speech import Speech
from adapters.telegram.words import Words, words


class Commands:
    """Each command does one thing and says so in a sentence; none waits for an answer to be written."""

    def __init__(
        self,
        *,
        accept: Accept,
        stop: Stop,
        desk: Desk,
        speech: Speech,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accept = accept
        self._stop = stop
        self._desk = desk
        self._speech = speech
        self._now = now

    def router(self) -> Router:
        """The commands we know, then all others that are meant for us."""
        router = Router(name="commands")
        for name in ("start", "help", "new", "stop", "retry", "sources", "forget"):
            router.message.register(getattr(self, f"on_{name}"), Command(name, ignore_case=True))
        router.message.register(self.on_unknown, _is_unknown)
        return router

    async def on_start(self, message: Message) -> None:
        if (visitor := visitor_of(message)) is None:
            return
        say = words(visitor.language)
        welcome = await self._desk.welcome(visitor)
        parts = [say.start]
        if welcome.retention_days > 0:
            parts.append(say.privacy.format(days=f"{welcome.retention_days:g}"))
        rows = questions(welcome.examples)
        if rows:
            parts.append(say.examples)
        self._speech.say(visitor.conversation, "\n\n".join(parts), rows, reply_to=_reply_to(message))

    async def on_help(self, message: Message) -> None:
        self._say(message, words(_language(message)).help)

    async def on_unknown(self, message: Message) -> None:
        say = words(_language(message))
        self._say(message, f"{say.unknown_command}\n\n{say.help}")

    async def on_new(self, message: Message) -> None:
        if (visitor := visitor_of(message)) is not None:
            await self._desk.begin_anew(visitor)
            self._say(message, words(visitor.language).begun_anew)

    async def on_stop(self, message: Message) -> None:
        visitor = visitor_of(message)
        if visitor is None:
            return
        request = StopRequest(
            platform="telegram", conversation=visitor.conversation, asker=visitor.person, presser=visitor.person
        )
        if await self._stop(request) == "idle":
            self._say(message, words(visitor.language).nothing_to_stop)

    async def on_retry(self, message: Message, event_update: Update) -> None:
        visitor = visitor_of(message)
        if visitor is None:
            return
        past = await self._meant(message, visitor)
        if past is None or past.person != visitor.person:
            self._say(message, words(visitor.language).nothing_said)
            return
        assert message.bot is not None
        me = await message.bot.me()
        await self._accept(again(past, message, visitor, me=me, update_id=event_update.update_id, now=self._now()))

    async def on_sources(self, message: Message) -> None:
        visitor = visitor_of(message)
        if visitor is None:
            return
        say = words(visitor.language)
        past = await self._meant(message, visitor)
        if past is None or not past.sources:
            self._say(message, say.nothing_said if past is None else say.no_sources)
            return
        self._speech.show(visitor.conversation, sources_screen(past, say), reply_to=_reply_to(message))

    async def on_forget(self, message: Message) -> None:
        if (visitor := visitor_of(message)) is not None:
            say = words(visitor.language)
            rows = confirm_forget(say, visitor.person)
            self._speech.say(visitor.conversation, say.forget_ask, rows, reply_to=_reply_to(message))

    async def _meant(self, message: Message, visitor: Visitor) -> PastAnswer | None:
        """What a command is about: the answer that it replies to, else the person's last."""
        assert message.bot is not None
        replied = reply_of(message, await message.bot.me())
        if replied is not None and (past := await self._desk.answered_in(visitor, replied)) is not None:
            return past
        return await self._desk.last(visitor)

    def _say(self, message: Message, text: str) -> None:
        self._speech.say(conversation_of(message), text, reply_to=_reply_to(message))


def again(past: PastAnswer, message: Message, visitor: Visitor, *, me: User, update_id: int, now: float) -> Inbound:
    """The question of a past answer, asked once more by a message."""
    is_private = message.chat.type == ChatType.PRIVATE
    return Inbound(
        platform="telegram",
        conversation=visitor.conversation,
        sender=visitor.person,
        text=past.question,
        event_id=f"telegram:{me.id}:{update_id}",
        received_at=now,
        place=visitor.place,
        sent_at=message.date.timestamp(),
        language_hint=visitor.language,
        is_private=is_private,
        reply_to=None if is_private else str(message.message_id),
        message_id=str(message.message_id),
    )


def sources_screen(past: PastAnswer, say: Words) -> TelegramScreen:
    """The sources of an answer, with buttons for those that have no address."""
    text, entities = source_list(past.sources, say)
    rows = passages([(source.n, source.passage_id) for source in past.sources if not is_link(source.url)])
    return TelegramScreen(text, tuple(without_live_words(text, entities, ())), rows)


async def _is_unknown(message: Message) -> bool:
    """A command that nobody took: any in private, only one with our name in a group."""
    command = command_of(message.text or "")
    if command is None or command.name == "ask" or message.bot is None:
        return False
    if command.bot is None:
        return message.chat.type == ChatType.PRIVATE
    return command.bot == ((await message.bot.me()).username or "").lower()


def _reply_to(message: Message) -> int | None:
    return None if message.chat.type == ChatType.PRIVATE else message.message_id


def _language(message: Message) -> str | None:
    return message.from_user.language_code if message.from_user else None
