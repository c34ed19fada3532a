"""What the log tells of a fault, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
import structlog

from bot.cli.common import open_log
from bot.settings import Settings
from bot.telemetry.line import TurnLine
from bot.telemetry.log import configure, log_loop_error, write_turn
from rag.errors import StoreUnavailable

SECRET = "my secret question"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as pytest set it up, once the test is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def entries(log: Path) -> list[dict[str, str]]:
    return [orjson.loads(line) for line in log.read_bytes().splitlines()]


def test_an_exception_is_told_by_type_and_place(tmp_path: Path) -> None:
    """An exception's message is not written, nor its cause's, whichever library logs it; our own errors' are"""
    close = configure(str(tmp_path / "log"))
    for fault in (KeyError(SECRET), ExceptionGroup(SECRET, [ValueError(SECRET)]), StoreUnavailable("the disk is full")):
        fault.__cause__ = ValueError(SECRET)
        try:
            raise fault  # noqa: TRY301 - a raise is what is tested
        except Exception:
            structlog.get_logger("ours").exception("turn_failed")
            logging.getLogger("theirs").exception("Error handling request")
    close()
    written = (tmp_path / "log").read_text()
    assert SECRET not in written
    assert len(entries(tmp_path / "log")) == 6
    assert all(
        "ValueError" in each["exception"] and "test_log.py" in each["exception"] for each in entries(tmp_path / "log")
    )
    assert "KeyError" in written
    assert "StoreUnavailable: the disk is full" in written


async def test_a_task_that_nobody_waited_for(tmp_path: Path) -> None:
    """An exception that falls out of a task is logged by type; the loop's own report would quote it"""
    asyncio.get_running_loop().set_exception_handler(log_loop_error)
    close = configure(str(tmp_path / "log"))

    async def fail() -> None:
        raise KeyError(SECRET)

    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    del task
    gc.collect()
    close()
    (entry,) = entries(tmp_path / "log")
    assert (entry["event"], entry["what"]) == ("loop_error", "Task exception was never retrieved")
    assert "KeyError" in entry["exception"]
    assert SECRET not in str(entry)


def test_a_log_that_cannot_be_opened_names_the_setting(tmp_path: Path) -> None:
    """Every command says which setting is at fault, not only which path."""
    with pytest.raises(click.ClickException, match=r"^GRAPEVINE_LOG: .*: Is a directory$"):
        open_log(Settings(), str(tmp_path))


INTEGERS = frozenset({"edits", "throttled", "parts", "llm_calls", "passages", "cited", "retries"})
CANONICAL = frozenset(
    {
        *("ts", "trace_id", "platform", "conversation", "collections", "outcome", "error", "cache", "similarity"),
        *("queue_ms", "rewrite_ms", "embed_ms", "retrieve_ms", "pool_wait_ms", "llm_first_token_ms"),
        *("first_visible_ms", "lag_ms", "total_ms", "edits", "throttled", "parts", "llm_calls", "input_tokens"),
        *("output_tokens", "cost", "passages", "cited", "retries", "hedged", "breaker", "model", "epoch"),
    }
)


def test_the_line_of_a_turn_has_the_documented_fields(tmp_path: Path) -> None:
    """`event: "turn"`, every documented field, the time at which the turn ended, and nothing else of the turn"""
    close = configure(str(tmp_path / "log"))
    values: dict[str, Any] = dict.fromkeys(CANONICAL) | dict.fromkeys(INTEGERS, 1)
    values |= {"ts": "2026-01-02T03:04:05.678Z", "collections": ("public",), "total_ms": 1.0}
    write_turn(TurnLine(**values))
    close()
    (line,) = entries(tmp_path / "log")
    assert set(line) == CANONICAL | {"event", "level", "logger"}
    assert (line["event"], line["ts"]) == ("turn", "2026-01-02T03:04:05.678Z")
