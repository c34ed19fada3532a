"""Groups that become supergroups: Telegram gives them another id, and everything that belongs to them goes along.

Both chats are told, the old one where to and the new one where from (https://core.telegram.org/bots/api#message); the
one in the new chat comes before anything that is asked there.
"""

from __future__ import annotations

from aiogram import F, Router
from aiogram.types import Message

from adapters.desk import Desk


class Moves:
    """Tells the process of every move; twice does no harm."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def router(self) -> Router:
        """The two service messages."""
        router = Router(name="moves")
        router.message.register(self.on_moved, F.migrate_to_chat_id)
        router.message.register(self.on_arrived, F.migrate_from_chat_id)
        return router

    async def on_moved(self, message: Message) -> None:
        await self._desk.moved("telegram", str(message.chat.id), str(message.migrate_to_chat_id))

    async def on_arrived(self, message: Message) -> None:
        await self._desk.moved("telegram", str(message.migrate_from_chat_id), str(message.chat.id))
