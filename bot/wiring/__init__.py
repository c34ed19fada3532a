"""The composition root: builds every client and every part once, and closes them in reverse order."""

from __future__ import annotations

from bot.wiring.application import Application, open_application, open_conversations
from bot.wiring.core import (
    Core,
    build_turns,
    knowledge_store,
    open_answerer,
    open_core,
    open_embedder,
    open_extractor,
    open_faqs,
    open_reranked,
)
from bot.wiring.platforms import open_slack, open_telegram, webhook_secret

__all__ = [
    "Application",
    "Core",
    "build_turns",
    "knowledge_store",
    "open_answerer",
    "open_application",
    "open_conversations",
    "open_core",
    "open_embedder",
    "open_extractor",
    "open_faqs",
    "open_reranked",
    "open_slack",
    "open_telegram",
    "webhook_secret",
]
