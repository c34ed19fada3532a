"""The same people and the same view over HTTP, for tests that run the emulator as a process of its own.

Every answer is JSON. `POST /_control/...` with a JSON object:

- `say {text, user?, chat?, thread?, reply_to?, language_code?, extra?}` -> the message (negative `chat`: a group)
- `press {chat, message_id, data, user?}` -> `{id}` · `edit {chat, message_id, text}` · `delete {chat, message_id}`
- `block {chat, why?}` · `fault {method, times, ...}` (fields of `Fault`) · `limits {private, group, bot}`

`GET /_control/transcript?chat=&version=` waits (up to 25 s) until something changed after `version`, then gives
`{version, messages}`; `GET /_control/calls` gives every call the bot made.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from aiohttp import web

from tests.emulators.telegram.faults import Limits
from tests.emulators.telegram.world import Json, Message

if TYPE_CHECKING:
    from tests.emulators.telegram.emulator import TelegramEmulator


class Control:
    """Routes that drive one emulator."""

    def __init__(self, emu: TelegramEmulator) -> None:
        self.emu = emu

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the emulator's application."""
        for name in ("say", "press", "edit", "delete", "block", "fault", "limits"):
            app.router.add_post(f"/_control/{name}", getattr(self, name))
        app.router.add_get("/_control/transcript", self.transcript)
        app.router.add_get("/_control/calls", self.calls)

    def _message(self, body: Json) -> Message:
        return self.emu.messages[int(body["chat"]), int(body["message_id"])]

    async def say(self, request: web.Request) -> web.Response:
        body = await request.json()
        user = self.emu.user(int(body.get("user", 1001)), language_code=body.get("language_code", "en"))
        chat_id = int(body.get("chat", user.id))
        thread = body.get("thread")
        if chat_id < 0:
            self.emu.group(chat_id, topics=(thread,) if thread else ())
        reply_to = self.emu.messages.get((chat_id, int(body.get("reply_to") or 0)))
        message = self.emu.say(
            body["text"],
            user=user,
            chat=self.emu.chats[chat_id],
            thread=thread,
            reply_to=reply_to,
            **(body.get("extra") or {}),
        )
        return web.json_response(message.record())

    async def press(self, request: web.Request) -> web.Response:
        body = await request.json()
        user = self.emu.user(int(body.get("user", 1001)))
        return web.json_response({"id": self.emu.press(self._message(body), body["data"], user=user)})

    async def edit(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.emu.edit(self._message(body), body["text"])
        return web.json_response({})

    async def delete(self, request: web.Request) -> web.Response:
        self.emu.delete(self._message(await request.json()))
        return web.json_response({})

    async def block(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.emu.block(self.emu.chats[int(body["chat"])], body.get("why", "bot was blocked by the user"))
        return web.json_response({})

    async def fault(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.emu.fail(**body)
        return web.json_response({})

    async def limits(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.emu.flood.limits = Limits(**{name: tuple(v) if v else None for name, v in body.items()})
        return web.json_response({})

    async def transcript(self, request: web.Request) -> web.Response:
        known = int(request.query.get("version", -1))
        chat = request.query.get("chat")
        with contextlib.suppress(TimeoutError):  # nothing new: the caller gets the same state and asks again
            await self.emu.wait_for(lambda emu: emu.version > known, timeout_s=25)
        messages = [message.record() for message in self.emu.transcript(int(chat) if chat else None)]
        return web.json_response({"version": self.emu.version, "messages": messages})

    async def calls(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {"method": c.method, "params": c.params, "at": c.at, "status": c.status, "description": c.description}
                for c in self.emu.calls
            ]
        )
