"""A small strict Slack emulator of our own, on 127.0.0.1: the web API's messages, and Socket Mode.

It answers with Slack's error codes, keeps tier limits (429 with `Retry-After`), redelivers what is not acknowledged,
and records every call and every state of every message. Native streams, buttons and `response_url` are not here.
"""

from __future__ import annotations

from tests.emulators.slack.emulator import APP_TOKEN, BOT_TOKEN, Message, SlackEmulator

__all__ = ["APP_TOKEN", "BOT_TOKEN", "Message", "SlackEmulator"]
