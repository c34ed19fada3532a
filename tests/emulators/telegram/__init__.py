"""A strict Telegram Bot API emulator of our own, on 127.0.0.1.

It answers with the real server's codes and texts where they are known, refuses what the real server refuses, keeps
its flood limits, and records every call and every state of every message. See `TelegramEmulator` and `control`.
"""

from __future__ import annotations

from tests.emulators.telegram.emulator import TOKEN, TelegramEmulator
from tests.emulators.telegram.faults import Fault, Limits
from tests.emulators.telegram.world import Call, Chat, Message, User

__all__ = ["TOKEN", "Call", "Chat", "Fault", "Limits", "Message", "TelegramEmulator", "User"]
