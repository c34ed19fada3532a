"""The conversations in docs/telegram.md are what happens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.telegram_transcripts import NEED_A_MODEL, PAGE, STORIES, Story, have, import_faqs, section

pytestmark = pytest.mark.timeout(400)
"""Real processes on a machine with other work to do."""


async def had(data: Path, chosen: Sequence[Story]) -> list[str]:
    """These conversations as the page shows them, had now."""
    places = [n for n, (_, story) in enumerate(STORIES) if story in chosen]
    told = await have(data, [STORIES[n][1] for n in places])
    return [section(n + 1, STORIES[n][0], text) for n, text in zip(places, told, strict=True)]


async def test_the_conversations_on_the_page_are_what_happens(data: Path) -> None:
    """Every conversation that needs no model is had anew, and is word for word the one on the page."""
    await import_faqs(data)
    page = PAGE.read_text(encoding="utf-8")
    for conversation in await had(data, [story for _, story in STORIES if story not in NEED_A_MODEL]):
        assert conversation in page


async def test_the_stopped_conversation_on_the_page_is_what_happens(data: Path) -> None:
    """The answer that is stopped keeps what was shown of it, as on the page."""
    (conversation,) = await had(data, list(NEED_A_MODEL))
    assert conversation in PAGE.read_text(encoding="utf-8")


def test_there_are_ten() -> None:
    """The page shows ten conversations."""
    assert len(STORIES) == 10
    assert PAGE.read_text(encoding="utf-8").count("\n### ") == 10
