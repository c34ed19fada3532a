"""The emulated server: its world, what people do in it, and its HTTP face on 127.0.0.1."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.emulators.telegram.checks import user_entities
from tests.emulators.telegram.drafts import Previews
from tests.emulators.telegram.errors import ApiError
from tests.emulators.telegram.faults import Fault, FaultPlan, FloodControl, Limits
from tests.emulators.telegram.methods import METHODS
from tests.emulators.telegram.updates import Updates
from tests.emulators.telegram.world import Call, Chat, Json, Message, User, Version

TOKEN = "123456789:AAEmulatedTokenForTestsOnly0123456789"


class TelegramEmulator:
    """A strict Bot API server for one bot.

    People act through `say`, `press`, `edit`, `delete`, `block`; what they then see is in `messages`; `calls` is
    everything the bot did. `async with TelegramEmulator() as emu:` serves at `emu.url`.
    """

    def __init__(
        self, *, token: str = TOKEN, limits: Limits | None = None, latency_s: float = 0.0, is_privacy_on: bool = True
    ) -> None:
        self.token = token
        bot_id = int(token.partition(":")[0])
        self.bot_user = User(id=bot_id, first_name="Grapevine", username="grapevine_bot", is_bot=True)
        self.is_privacy_on = is_privacy_on
        self.latency_s = latency_s
        self.callback_lives_s = 15.0
        """How long a press can be answered."""
        self.now: Callable[[], float] = time.monotonic
        self.chats: dict[int, Chat] = {}
        self.users: dict[int, User] = {}
        self.messages: dict[tuple[int, int], Message] = {}
        self.callbacks: dict[str, Json] = {}
        self.drafts: list[Json] = []
        self.previews = Previews(lambda: self.now())  # noqa: PLW0108 - a test may set another clock later
        self.commands: dict[tuple[str, str], list[Json]] = {}
        """By scope (`chat:<id>` for one chat's own) and language."""
        self.files: dict[str, bytes] = {}
        self.local_files: Path | None = None
        """Set: files lie in this folder and are named by their path, as a server of one's own with --local does it."""
        self.calls: list[Call] = []
        self.faults = FaultPlan()
        self.flood = FloodControl(limits or Limits(), self.now)
        self.updates = Updates(self.changed)
        self.version = 0
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._change = asyncio.Condition()

    # What people do.

    def user(self, user_id: int = 1001, *, name: str = "Rider", language_code: str | None = "en") -> User:
        """A person, with a private chat of the same id."""
        if user_id not in self.users:
            self.users[user_id] = User(id=user_id, first_name=name, language_code=language_code)
            self.chats[user_id] = Chat(id=user_id, type="private", first_name=name)
        return self.users[user_id]

    def group(self, chat_id: int = -100_500, *, title: str = "Riders", topics: tuple[int, ...] = ()) -> Chat:
        """A supergroup; with `topics` it is a forum."""
        if chat_id not in self.chats:
            self.chats[chat_id] = Chat(
                id=chat_id, type="supergroup", title=title, is_forum=bool(topics), topics=set(topics)
            )
        return self.chats[chat_id]

    def say(
        self,
        text: str,
        *,
        user: User | None = None,
        chat: Chat | None = None,
        thread: int | None = None,
        reply_to: Message | None = None,
        **extra: Any,
    ) -> Message:
        """Somebody writes; in a group with privacy mode the bot hears only what is meant for it.

        `extra` is what else the server says of the message: `photo=[...]`, `sticker={...}`, `forward_origin={...}`.
        """
        user = user or self.user()
        chat = chat or self.chats[user.id]
        reply_id = reply_to.message_id if reply_to else None
        message = self.post(
            chat, user, text, entities=user_entities(text), thread_id=thread, reply_to=reply_id, extra=extra
        )
        if chat.type == "private" or not self.is_privacy_on or self._is_for_bot(message, reply_to):
            self.updates.add("message", message.json(reply_to=reply_to), key=f"chat:{chat.id}")
        return message

    def _is_for_bot(self, message: Message, reply_to: Message | None) -> bool:
        mentioned = f"@{self.bot_user.username}" in message.text or message.text.startswith("/")
        return mentioned or (reply_to is not None and reply_to.is_from_bot)

    def press(self, message: Message, data: str, *, user: User | None = None, is_inaccessible: bool = False) -> str:
        """Somebody presses an inline button; gives the callback query's id.

        `is_inaccessible`: the message is too old for the bot to be shown it.
        """
        user = user or self.user()
        query_id = str(900_000 + len(self.callbacks))
        self.callbacks[query_id] = {"answered": False, "text": None, "is_alert": False, "at": self.now()}
        shown = message.json(reply_to=self.messages.get((message.chat.id, message.reply_to or 0)))
        if is_inaccessible:
            shown = {"chat": message.chat.json(), "message_id": message.message_id, "date": 0}
        body = {
            "id": query_id,
            "from": user.json(),
            "chat_instance": "1",
            "data": data,
            "message": shown,
        }
        self.updates.add("callback_query", body, key=f"user:{user.id}")
        return query_id

    def send_document(
        self, content: bytes, name: str, *, caption: str = "", user: User | None = None, size: int | None = None
    ) -> Message:
        """Somebody sends a file to the bot; `size` is what the server says of it."""
        file_id = f"file{len(self.files)}"
        self.files[file_id] = content
        if self.local_files is not None:
            (self.local_files / file_id).write_bytes(content)
        document = {"file_id": file_id, "file_unique_id": f"u{file_id}", "file_name": name}
        return self.say(caption, user=user, document={**document, "file_size": size or len(content)})

    def edit(self, message: Message, text: str) -> None:
        """Somebody changes what they wrote."""
        message.versions.append(
            Version(text=text, entities=user_entities(text), reply_markup=None, at=self.now()),
        )
        self.updates.add("edited_message", message.json(), key=f"chat:{message.chat.id}")
        self.changed()

    def migrate(self, group: Chat, chat_id: int, *, is_told: bool = True) -> Chat:
        """A group becomes a supergroup: another chat, whose messages are counted anew; the bot may be told or not."""
        migrated = self.group(chat_id, title=group.title or "")
        for chat, told in ((group, {"migrate_to_chat_id": chat_id}), (migrated, {"migrate_from_chat_id": group.id})):
            message = self.post(chat, self.user(), "", entities=[], extra=told)
            if is_told:
                self.updates.add("message", message.json(), key=f"chat:{chat.id}")
        group.migrated_to = chat_id
        return migrated

    def delete(self, message: Message) -> None:
        """Somebody deletes a message; the bot is not told."""
        message.is_deleted = True
        self.changed()

    def block(self, chat: Chat, why: str = "bot was blocked by the user") -> None:
        """From now on the bot may not write to the chat."""
        chat.refusal = why
        self.changed()

    def fail(self, method: str = "*", **what: Any) -> None:
        """Schedule a `Fault` for the next calls of a method."""
        self.faults.waiting.append(Fault(method=method, **what))

    # What can be seen.

    def transcript(self, chat_id: int | None = None) -> list[Message]:
        """Messages in order, deleted ones too; of one chat, or of all."""
        return [m for (where, _), m in self.messages.items() if chat_id is None or where == chat_id]

    def from_bot(self, chat_id: int | None = None) -> list[Message]:
        """What the bot posted and nobody deleted."""
        return [m for m in self.transcript(chat_id) if m.is_from_bot and not m.is_deleted]

    def made(self, *methods: str) -> list[Call]:
        """The bot's calls of these methods (of all when none is named)."""
        return [call for call in self.calls if not methods or call.method in methods]

    async def wait_for(self, condition: Callable[[TelegramEmulator], Any], *, timeout_s: float = 20.0) -> Any:
        """Return the condition's value once it is true; it is asked again whenever anything changes."""
        async with asyncio.timeout(timeout_s), self._change:
            while not (value := condition(self)):
                await self._change.wait()
            return value

    # Inside.

    def post(
        self,
        chat: Chat,
        sender: User,
        text: str,
        *,
        entities: list[Json],
        reply_markup: Json | None = None,
        thread_id: int | None = None,
        reply_to: int | None = None,
        extra: Json | None = None,
    ) -> Message:
        """Put a new message into a chat."""
        message = Message(
            chat=chat,
            message_id=chat.next_message_id,
            sender=sender,
            date=int(time.time()),
            thread_id=thread_id,
            reply_to=reply_to,
            extra=extra or {},
            versions=[Version(text=text, entities=entities, reply_markup=reply_markup, at=self.now())],
        )
        chat.next_message_id += 1
        self.messages[chat.id, message.message_id] = message
        self.changed()
        return message

    def changed(self) -> None:
        """Wake everybody who waits for a condition."""
        self.version += 1
        if self._runner is not None:
            self._waking = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        async with self._change:
            self._change.notify_all()

    async def call(self, method: str, params: Json) -> web.StreamResponse:
        """One Bot API call with its faults; recorded with what came of it."""
        fault = self.faults.take(method) or Fault()
        if self.latency_s or fault.delay_s:
            await asyncio.sleep(self.latency_s + fault.delay_s)
        status, description, body = 200, "", Json()
        try:
            body = {"ok": True, "result": await self._answer(method, params, fault)}
        except ApiError as error:
            status, description, body = error.code, error.description, error.body()
        if fault.is_lost or fault.is_dropped:
            status = 0
        self.calls.append(Call(method=method, params=params, at=self.now(), status=status, description=description))
        self.changed()
        if status == 0:
            raise ConnectionResetError
        if fault.html is not None:
            return web.Response(status=status, text=fault.html, content_type="text/html")
        return web.json_response(body, status=status)

    async def _answer(self, method: str, params: Json, fault: Fault) -> Any:
        if fault.is_dropped:
            return None
        if (refusal := fault.refusal()) is not None:
            raise refusal
        if method not in METHODS:
            raise ApiError(404, "Not Found: method not found")
        return await METHODS[method](self, params)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return web.json_response(ApiError(401, "Unauthorized").body(), status=401)
        params: Json = dict(request.query)
        if request.content_type == "application/json":
            params |= await request.json()
        else:
            params |= dict(await request.post())
        try:
            return await self.call(request.match_info["method"], params)
        except ConnectionResetError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

    async def _download(self, request: web.Request) -> web.StreamResponse:
        content = self.files.get(request.match_info["file_id"])
        if request.match_info["token"] != self.token or content is None:
            raise web.HTTPNotFound
        return web.Response(body=content)

    def app(self) -> web.Application:
        """The Bot API as an application."""
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._handle)
        app.router.add_get("/file/bot{token}/documents/{file_id}", self._download)
        return app

    async def start(self, *, port: int = 0, app: web.Application | None = None) -> None:
        """Serve on 127.0.0.1; `url` says where."""
        self._runner = web.AppRunner(app or self.app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{bound}"

    async def stop(self) -> None:
        """Close every connection."""
        await self.updates.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
