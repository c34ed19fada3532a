"""The lists of commands that Telegram shows: one for private chats, one for groups, in every language we have."""

from __future__ import annotations

import logging

from aiogram import Bot
from aiogram.exceptions import AiogramError
from aiogram.types import (
    BotCommand,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeDefault,
)

from adapters.telegram.words import LANGUAGES

log = logging.getLogger(__name__)

PRIVATE = ("start", "new", "stop", "retry", "sources", "forget", "help")
"""What can be said in a private chat."""
_GROUPS = ("ask", "new", "stop", "retry", "sources", "forget", "help")
_SCOPES = (
    (BotCommandScopeDefault(), PRIVATE),
    (BotCommandScopeAllPrivateChats(), PRIVATE),
    (BotCommandScopeAllGroupChats(), _GROUPS),
)


async def publish(bot: Bot) -> None:
    """Set the lists. A bot whose lists could not be set works all the same; that is logged."""
    try:
        for scope, names in _SCOPES:
            for language, say in LANGUAGES.items():
                commands = [BotCommand(command=name, description=say.commands[name]) for name in names]
                code = None if language == "en" else language  # without a code: for everybody else
                await bot.set_my_commands(commands, scope=scope, language_code=code)
    except (AiogramError, OSError) as error:
        log.warning("the list of commands could not be published (%s)", type(error).__name__)
