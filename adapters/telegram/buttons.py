"""Presses of inline buttons. Every press is answered, whatever became of its message."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aiogram import F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import AiogramError
from aiogram.types import CallbackQuery, Message
from telegramify_markdown import MessageEntity, utf16_len

from adapters.desk import Desk, SourceText, Visitor
from adapters.past import Verdict
from adapters.ports import Inbound, StopOutcome, StopRequest
from adapters.telegram.inbound import presser_of
from adapters.telegram.keyboards import USED, Rows, is_rating, label_of, rating, reasons, replaced, ticked, without
from adapters.telegram.limits import MAX_ENTITIES, MAX_UTF16
from adapters.telegram.live import rows_of
from adapters.telegram.neutral import without_live_words
from adapters.telegram.ports import Accept, Stop
from adapters.telegram.render import TelegramScreen
from adapters.telegram.speech import Speech
from adapters.telegram.words import Words, words

_RETRIED = frozenset({"incomplete", "failed", "busy"})
"""The outcomes below which the button is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Press:
    """A button, who pressed it, and what its message looked like to them."""

    visitor: Visitor
    message_id: int
    data: str
    rows: Rows
    """Empty where the message is too old to be shown to us."""
    is_private: bool
    words: Words

    @property
    def verb(self) -> str:
        return self.data.partition(":")[0]

    @property
    def rest(self) -> str:
        return self.data.partition(":")[2]

    @property
    def asker(self) -> str:
        """Whose button it is."""
        return self.data.rpartition(":")[2]

    @property
    def is_own(self) -> bool:
        return self.asker == self.visitor.person


def _press(query: CallbackQuery) -> _Press | None:
    visitor = presser_of(query)
    if visitor is None or query.message is None or query.data is None:
        return None
    message = query.message if isinstance(query.message, Message) else None
    return _Press(
        visitor=visitor,
        message_id=query.message.message_id,
        data=query.data,
        rows=rows_of(message.reply_markup) if message else (),
        is_private=query.message.chat.type == ChatType.PRIVATE,
        words=words(visitor.language),
    )


class Buttons:
    """What each button does."""

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
        """One handler a verb; a button of another version is answered, too."""
        router = Router(name="buttons")
        for verb in ("stop", "retry", "src", "up", "down", "why", "ask", "forget"):
            router.callback_query.register(getattr(self, f"on_{verb}"), F.data.startswith(f"{verb}:"))
        router.callback_query.register(self.on_other)
        return router

    async def on_stop(self, query: CallbackQuery) -> None:
        press = _press(query)
        outcome: StopOutcome = "idle"
        try:
            if press is not None:
                outcome = await self._stop(
                    StopRequest(
                        platform="telegram",
                        conversation=press.visitor.conversation,
                        asker=press.rest,
                        presser=press.visitor.person,
                    )
                )
        finally:
            say = words(query.from_user.language_code)
            shown = {"stopped": say.stopped, "idle": say.nothing_to_stop, "refused": say.not_yours}[outcome]
            await _answer(query, shown, is_alert=outcome == "refused")

    async def on_retry(self, query: CallbackQuery) -> None:
        """Answer again, in the same messages."""
        press = _press(query)
        if press is None or not press.is_own:
            await _answer(query, words(query.from_user.language_code).not_yours, is_alert=True)
            return
        past = await self._desk.answered_in(press.visitor, str(press.message_id))
        if past is None or past.handle is None:
            await self._is_gone(query, press, lambda data: data == press.data)
            return
        if past.person != press.visitor.person:  # the data of a press is whatever a client sends
            await _answer(query, press.words.not_yours, is_alert=True)
            return
        if past.outcome not in _RETRIED:
            await _answer(query, press.words.asked_before)
            return
        # Named after the attempt that is there, and every attempt is another: pressed twice it is one request. The
        # date of the message would not do, for one that fails in the same words leaves the message as it was.
        event = f"retry:{past.id}"
        await self._accept(
            await self._inbound(query, press, past.question, event, into=past.handle, question_id=past.question_id)
        )
        await _answer(query, press.words.asked)

    async def on_ask(self, query: CallbackQuery) -> None:
        """Ask the question that the button says, for whoever presses it."""
        press = _press(query)
        question = label_of(press.rows, press.data) if press is not None else None
        if press is not None and question is None:
            question = await self._offered(press)
        if press is None or not question:
            await _answer(query, words(query.from_user.language_code).answer_gone, is_alert=True)
            return
        await self._accept(await self._inbound(query, press, question, press.data))
        await _answer(query, press.words.asked)
        self._set_buttons(press, ticked(press.rows, press.data))

    async def on_src(self, query: CallbackQuery) -> None:
        """Show the passage, if it may still be read here."""
        press = _press(query)
        passage = await self._desk.passage(press.visitor, press.rest) if press is not None else None
        if press is None or passage is None:
            await _answer(query, words(query.from_user.language_code).passage_gone, is_alert=True)
        else:
            await _answer(query, None)
            screen = passage_screen(passage, press.words)
            self._speech.show(press.visitor.conversation, screen, reply_to=press.message_id)
        if press is not None:
            self._set_buttons(press, without(press.rows, lambda data: data == press.data))

    async def on_up(self, query: CallbackQuery) -> None:
        await self._rate(query, "up")

    async def on_down(self, query: CallbackQuery) -> None:
        await self._rate(query, "down")

    async def on_why(self, query: CallbackQuery) -> None:
        await self._rate(query, "down", query.data.split(":")[1] if query.data else None)

    async def on_forget(self, query: CallbackQuery) -> None:
        """Erase everything, or leave it; either way the question is answered and its buttons go."""
        press = _press(query)
        if press is None or not press.is_own:
            await _answer(query, words(query.from_user.language_code).not_yours, is_alert=True)
            return
        text = press.words.forget_kept
        if press.rest.startswith("yes:"):
            await self._desk.forget(press.visitor)
            text = press.words.forgotten
        await _answer(query, None)
        self._speech.replace(press.visitor.conversation, press.message_id, TelegramScreen(text, ()))

    async def on_other(self, query: CallbackQuery) -> None:
        """One that was used before, or that an older version made."""
        await _answer(query, words(query.from_user.language_code).asked_before if query.data == USED else None)

    # Inside.

    async def _rate(self, query: CallbackQuery, verdict: Verdict, reason: str | None = None) -> None:
        press = _press(query)
        if press is None:
            await _answer(query, None)
            return
        outcome = await self._desk.rate(press.visitor, str(press.message_id), verdict, reason)
        if outcome == "not_yours":
            await _answer(query, press.words.not_yours, is_alert=True)
        elif outcome == "unknown":
            await self._is_gone(query, press, is_rating)
        elif press.verb == "down":
            await _answer(query, press.words.rate_why)
            self._set_buttons(press, replaced(press.rows, is_rating, reasons(press.words, press.asker)))
        else:
            await _answer(query, press.words.rated)
            # In a group the others may have an opinion, too.
            left: Rows = () if press.is_private else (rating(press.asker),)
            self._set_buttons(press, replaced(press.rows, is_rating, left))

    async def _is_gone(self, query: CallbackQuery, press: _Press, is_meant: Callable[[str], bool]) -> None:
        await _answer(query, press.words.answer_gone, is_alert=True)
        self._set_buttons(press, without(press.rows, is_meant))

    async def _offered(self, press: _Press) -> str | None:
        """The question of a message that is not shown to us any more."""
        past = await self._desk.answered_in(press.visitor, str(press.message_id))
        n = int(press.rest) if press.rest.isdecimal() else 0
        return past.suggestions[n] if past is not None and n < len(past.suggestions) else None

    async def _inbound(
        self,
        query: CallbackQuery,
        press: _Press,
        text: str,
        event: str,
        *,
        into: str | None = None,
        question_id: str | None = None,
    ) -> Inbound:
        assert query.bot is not None
        me = await query.bot.me()
        visitor = press.visitor
        return Inbound(
            platform="telegram",
            conversation=visitor.conversation,
            sender=visitor.person,
            text=text,
            event_id=f"telegram:{me.id}:press:{visitor.place}:{press.message_id}:{visitor.person}:{event}",
            received_at=self._now(),
            place=visitor.place,
            language_hint=visitor.language,
            is_private=press.is_private,
            reply_to=None if press.is_private else str(press.message_id),
            message_id=question_id,
            answer_into=into,
        )

    def _set_buttons(self, press: _Press, rows: Rows) -> None:
        if rows != press.rows:
            self._speech.set_buttons(press.visitor.conversation, press.message_id, rows)


def passage_screen(source: SourceText, say: Words) -> TelegramScreen:
    """A passage word for word below its title: nothing in it is taken for formatting, nothing becomes clickable."""
    title = " ".join(source.title.split())[:200]
    places = [part for part in source.heading.split(" > ") if part and part != source.title]
    places += [f"{say.page} {source.page}"] if source.page is not None else []
    head = f"{title}\n{' › '.join(places)[:300]}".rstrip() + "\n\n"
    room = MAX_UTF16 - utf16_len(head) - 1
    body = source.text.strip()
    if utf16_len(body) > room:
        body = body.encode("utf-16-le")[: room * 2].decode("utf-16-le", "ignore") + "…"
    text = head + body
    marks = [
        MessageEntity("bold", 0, utf16_len(title)),
        MessageEntity("blockquote", utf16_len(head), utf16_len(body)),
    ]
    entities = without_live_words(text, marks, ())
    if len(entities) > MAX_ENTITIES:
        entities = [MessageEntity("pre", 0, utf16_len(text))]
    return TelegramScreen(text, tuple(entities))


async def _answer(query: CallbackQuery, text: str | None, *, is_alert: bool = False) -> None:
    """Every press gets its answer, or the button shows an hourglass; one that comes too late is no loss."""
    with suppress(AiogramError, OSError):
        await query.answer(text, show_alert=is_alert)
