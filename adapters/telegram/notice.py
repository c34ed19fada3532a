"""A notice on Telegram: one message, posted once and edited from then on, within the shared budget."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

from aiogram import Bot
from telegramify_markdown import MessageEntity, utf16_len

from adapters.admin import Choice, NoticeAt
from adapters.live.errors import NotModified, PlatformError, Throttled, Unavailable
from adapters.live.pacer import backoff_s
from adapters.live.publisher import Spawn
from adapters.ports import Budget, Call, Priority
from adapters.telegram.inbound import place_of
from adapters.telegram.keyboards import Button, Rows
from adapters.telegram.limits import MAX_UTF16
from adapters.telegram.live import TelegramTransport
from adapters.telegram.neutral import without_live_words
from adapters.telegram.render import TelegramScreen

log = logging.getLogger(__name__)

EVERY_S = 2.0
"""Between two edits that only say how far it is: the chat's other second is for the answers in it."""
WORTH_S = 3600.0
"""How long it is tried to show something."""
COMMANDS = ("/faq", "/status", "/latency", "/help")
"""What may be tapped in a notice; whatever else looks like a command, a mention or a link is somebody's words."""
BUTTON = "doc:"
_IN_A_ROW = 2


class TelegramNotice:
    """See `adapters.admin.Notice`.

    Args:
        bot: The client.
        at: Where.
        budget: What calls may be spent.
        spawn: Starts background work.
        every_s: At least so long between two edits.
        now: Monotonic seconds.
        sleep: Waits.
    """

    def __init__(
        self,
        bot: Bot,
        at: NoticeAt,
        *,
        budget: Budget,
        spawn: Spawn,
        every_s: float = EVERY_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        chat_id, thread_id = place_of(at.conversation)
        reply_to = int(at.reply_to) if at.reply_to is not None else None
        self._transport = TelegramTransport(bot=bot, chat_id=chat_id, thread_id=thread_id, reply_to=reply_to)
        self._chat = str(chat_id)
        self._message_id = at.message_id
        self._budget = budget
        self._spawn = spawn
        self._every_s = every_s
        self._now = now
        self._sleep = sleep
        self._ticket = secrets.token_hex(8)
        self._wanted: TelegramScreen | None = None
        self._shown: TelegramScreen | None = None
        self._shown_at = float("-inf")
        self._is_over = False
        self._work: asyncio.Task[None] | None = None

    def show(self, text: str, choices: Sequence[Choice] = (), *, table: str = "") -> None:
        """Let it show this some time soon; the newest wins."""
        self._wanted = screen(text, choices, table)
        if not self._is_over and (self._work is None or self._work.done()):
            self._work = self._spawn(self._catch_up())

    async def settled(self) -> None:
        """Return once it shows what was shown last, or cannot any more."""
        if self._work is not None:
            await asyncio.wait({self._work})

    async def _catch_up(self) -> None:
        until, failures = self._now() + WORTH_S, 0
        while self._wanted != self._shown and self._now() < until:
            if (pause_s := self._shown_at + self._every_s - self._now()) > 0:
                await self._sleep(pause_s)
            call = Call(
                ticket=self._ticket,
                chat=self._chat,
                method="post" if self._message_id is None else "edit",
                priority=Priority.REPLY,
            )
            if (wait_s := (await self._budget.take(call)).wait_s) > 0:
                await self._sleep(wait_s)
                continue
            wanted = self._wanted  # not what was wanted before the waiting
            assert wanted is not None
            try:
                await self._put(wanted)
            except NotModified:
                pass
            except Throttled as error:
                await self._budget.throttled(call, error.retry_after_s)
                continue
            except Unavailable:
                failures += 1
                await self._sleep(backoff_s(failures))
                continue
            except PlatformError as error:  # gone, blocked, refused
                log.info("a notice was not shown: %s", error)
                self._is_over = True
                return
            failures = 0
            self._shown, self._shown_at = wanted, self._now()

    async def _put(self, wanted: TelegramScreen) -> None:
        if self._message_id is None:
            self._message_id = await self._transport.post(wanted)
        else:
            await self._transport.edit(self._message_id, wanted)


def screen(text: str, choices: Sequence[Choice], table: str = "") -> TelegramScreen:
    """The message: nothing in it is live but our own commands. Too much of it is cut at the end of a line. Pure."""
    text = _cut(text, MAX_UTF16)
    entities = without_live_words(text, [], COMMANDS)
    room = MAX_UTF16 - utf16_len(text) - 1
    if table := _cut(table, room) if room > 0 else "":
        begin = utf16_len(text) + 1 if text else 0
        entities = [*entities, MessageEntity("pre", begin, utf16_len(table))]
        text = f"{text}\n{table}" if text else table
    return TelegramScreen(text, tuple(entities), _rows(choices))


def _rows(choices: Sequence[Choice]) -> Rows:
    buttons = tuple(Button(choice.label, BUTTON + choice.data) for choice in choices)
    return tuple(buttons[at : at + _IN_A_ROW] for at in range(0, len(buttons), _IN_A_ROW))


def _cut(text: str, most: int) -> str:
    text = text.strip()
    if utf16_len(text) <= most:
        return text
    kept = text.encode("utf-16-le")[: 2 * (most - 2)].decode("utf-16-le", "ignore")
    return kept.rsplit("\n", 1)[0] + "\n…" if "\n" in kept else kept + "…"
