"""Admins in a private chat: their commands, the files they send, the buttons below our questions.

Everything here is asked first and matches nobody but an admin, alone with the bot and speaking as a person. Whoever
else writes the same is answered as if there were no such commands.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiogram import Bot, F, Router
from aiogram.enums import ChatType
from aiogram.exceptions import AiogramError, TelegramBadRequest, TelegramEntityTooLarge
from aiogram.filters import Command, CommandObject, Filter
from aiogram.types import BotCommand, BotCommandScopeChat, CallbackQuery, Document, Message, User
from aiohttp import ClientError

from adapters.admin import AdminDesk, FileUnavailable, IncomingFile, NoticeAt
from adapters.ports import Budget
from adapters.telegram.inbound import conversation_of
from adapters.telegram.menu import PRIVATE
from adapters.telegram.notice import BUTTON, EVERY_S, TelegramNotice
from adapters.telegram.words import LANGUAGES

log = logging.getLogger(__name__)

FILE_LIMIT = 20 * 2**20
"""What a bot can fetch from Telegram's own servers (https://core.telegram.org/bots/api#getfile)."""
_HOSTED = "https://api.telegram.org/"
_FETCH_S = 600
_CHUNK = 256 * 1024
_COMMANDS = ("faq", "status", "latency")
ADMIN_COMMANDS: Mapping[str, dict[str, str]] = {
    "en": {
        "faq": "Admin: add, list, remove or warm FAQs",
        "status": "Admin: documents, jobs, connections",
        "latency": "Admin: where the time goes",
    },
    "vi": {
        "faq": "Quản trị: thêm, xem, xóa, soạn lại câu hỏi thường gặp",
        "status": "Quản trị: tài liệu, công việc, kết nối",
        "latency": "Quản trị: thời gian trả lời",
    },
}
"""Shown in an admin's own list of commands, by language."""


class _IsAdmin(Filter):
    """An admin in a private chat. A channel or group that speaks through somebody is nobody's id."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    async def __call__(self, event: Message | CallbackQuery) -> bool:
        message = event.message if isinstance(event, CallbackQuery) else event
        if message is None or message.chat.type != ChatType.PRIVATE or _sender_chat(event) is not None:
            return False
        person = event.from_user
        return person is not None and not person.is_bot and self._desk.is_admin("telegram", str(person.id))


class TelegramAdmin:
    """The desk's hands on Telegram (`adapters.admin.AdminPlatform`), and the router that leads to it.

    Args:
        bot: The client.
        desk: What is asked.
        admins: The ids of the admins on Telegram.
        budget: What calls may be spent.
        every_s: At least so long between two edits of one notice.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        bot: Bot,
        desk: AdminDesk,
        *,
        admins: Iterable[str],
        budget: Budget,
        every_s: float = EVERY_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._desk = desk
        self._admins = sorted(admins)
        self._budget = budget
        self._every_s = every_s
        self._now = now
        self._tasks: set[asyncio.Task[None]] = set()

    # What leads here.

    def router(self) -> Router:
        """To be asked before all others."""
        router = Router(name="telegram admin")
        is_admin = _IsAdmin(self._desk)
        router.message.register(self.on_file, is_admin, F.document)
        router.message.register(self.on_command, is_admin, Command(*_COMMANDS, ignore_case=True))
        router.message.register(self.on_name, is_admin, F.reply_to_message.document, F.text.regexp(r"^[^\s/]\S*$"))
        router.edited_message.register(self.on_edited, is_admin, Command(*_COMMANDS, ignore_case=True))
        router.callback_query.register(self.on_choice, is_admin, F.data.startswith(BUTTON))
        return router

    async def on_file(self, message: Message) -> None:
        assert message.document is not None
        await self._desk.file(_file(message.document), (message.caption or "").strip(), _at(message))

    async def on_name(self, message: Message) -> None:
        """A document is replied to with a word: the collection that it shall go into."""
        assert message.reply_to_message is not None
        assert message.reply_to_message.document is not None
        await self._desk.file(_file(message.reply_to_message.document), (message.text or "").strip(), _at(message))

    async def on_command(self, message: Message, command: CommandObject) -> None:
        await self._desk.command(command.command.lower(), command.args or "", _at(message))

    async def on_edited(self, message: Message) -> None:
        await self._desk.command("edited", "", _at(message))

    async def on_choice(self, query: CallbackQuery) -> None:
        """A button carries the choice; the file is in the message that our question answers."""
        assert query.data is not None
        assert query.message is not None
        asked = query.message.reply_to_message if isinstance(query.message, Message) else None
        conversation = conversation_of(query.message) if isinstance(query.message, Message) else query.message.chat.id
        at = _place(str(conversation), query.from_user, message_id=str(query.message.message_id))
        try:
            file = _file(asked.document) if asked is not None and asked.document is not None else None
            await self._desk.choose(query.data.removeprefix(BUTTON), file, at)
        finally:
            with suppress(AiogramError, OSError):  # one that comes too late is no loss
                await query.answer()

    # What the desk uses.

    @property
    def file_limit(self) -> int | None:
        """20 MB on Telegram's own servers. One's own may fetch more, or else says so."""
        return FILE_LIMIT if self._bot.session.api.base.startswith(_HOSTED) else None

    def notice(self, at: NoticeAt) -> TelegramNotice:
        """The message at this place."""
        return TelegramNotice(
            self._bot, at, budget=self._budget, spawn=self._spawn, every_s=self._every_s, now=self._now
        )

    async def fetch(self, file: IncomingFile) -> AsyncIterator[bytes]:
        """A file's bytes, over HTTP or, from a local server that keeps its files here, from the disk."""
        path = await self._path(file)
        chunks = _from_disk(Path(path)) if Path(path).is_absolute() else self._from_server(path)
        async for chunk in chunks:
            yield chunk

    async def introduce(self, bot: Bot) -> None:
        """Put the admin commands into the lists of the admins; one who never wrote to the bot has none."""
        for admin in self._admins:
            for language, sentences in LANGUAGES.items():
                listed = {name: sentences.commands[name] for name in PRIVATE} | ADMIN_COMMANDS[language]
                commands = [BotCommand(command=name, description=what) for name, what in listed.items()]
                scope = BotCommandScopeChat(chat_id=int(admin))
                try:
                    await bot.set_my_commands(
                        commands, scope=scope, language_code=None if language == "en" else language
                    )
                except (AiogramError, OSError) as error:
                    log.info("an admin's list of commands could not be published (%s)", type(error).__name__)
                    break

    async def close(self) -> None:
        """Show nothing more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _path(self, file: IncomingFile) -> str:
        # None of these errors may be chained: they can hold the address, and with it the token.
        try:
            found = await self._bot.get_file(file.reference)
        except (TelegramBadRequest, TelegramEntityTooLarge) as error:
            if "too big" in error.message.lower():
                raise FileUnavailable(
                    "Telegram lets bots fetch at most 20 MB; use the dashboard, `grapevine ingest` or a local "
                    "Bot API server"
                ) from None
            raise FileUnavailable("Telegram does not have this file any more; send it again") from None
        except (AiogramError, OSError) as error:
            raise ConnectionError(f"Telegram does not give the file ({type(error).__name__})") from None
        if not found.file_path:
            raise FileUnavailable("Telegram does not give this file; send it again")
        return found.file_path

    async def _from_server(self, path: str) -> AsyncIterator[bytes]:
        url = self._bot.session.api.file_url(self._bot.token, path)
        try:
            async for chunk in self._bot.session.stream_content(
                url, timeout=_FETCH_S, chunk_size=_CHUNK, raise_for_status=True
            ):
                yield chunk
        except (ClientError, AiogramError, OSError) as error:
            raise ConnectionError(f"the file could not be fetched from Telegram ({type(error).__name__})") from None


async def _from_disk(path: Path) -> AsyncIterator[bytes]:
    # A local Bot API server calls its folder like the bot's token: no error may name the path, nor be chained to one
    # that does.
    try:
        file = await asyncio.to_thread(path.open, "rb")
        try:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
        finally:
            await asyncio.to_thread(file.close)
    except (FileNotFoundError, PermissionError):
        raise FileUnavailable(
            "the local Bot API server keeps its files where this server cannot read; share that folder with it, or "
            "run the Bot API server without --local"
        ) from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConnectionError(f"the local Bot API server's file could not be read ({why})") from None


def _sender_chat(event: Message | CallbackQuery) -> object | None:
    return event.sender_chat if isinstance(event, Message) else None


def _file(document: Document) -> IncomingFile:
    return IncomingFile(reference=document.file_id, name=document.file_name or "", size=document.file_size)


def _at(message: Message) -> NoticeAt:
    assert message.from_user is not None
    return _place(conversation_of(message), message.from_user, reply_to=str(message.message_id))


def _place(conversation: str, person: User, *, message_id: str | None = None, reply_to: str | None = None) -> NoticeAt:
    return NoticeAt(
        platform="telegram",
        conversation=conversation,
        person=str(person.id),
        language=person.language_code,
        message_id=message_id,
        reply_to=reply_to,
    )
