"""The log: JSON lines (or readable ones on a terminal), written off the event loop, secrets masked.

An exception is told by type and place. Its message is not, unless it is one of ours or the system's: anybody else's
may quote what was asked (`KeyError: 'my question'`).
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import queue
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.telemetry.line import TurnLine
from rag.errors import RagError

MASK = "***"
_NOISY = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "openai",
    "aiohttp.access",
    "aiogram.event",
    "neo4j.notifications",
)
"""Loggers that tell of every request, some with its address."""


def masking(secrets: Iterable[str]) -> Processor:
    """A processor that replaces every occurrence of a secret in any text value.

    Clients put tokens into URLs (Telegram's are part of the path), and URLs into their errors.
    """
    known = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for secret in known:
                value = value.replace(secret, MASK)
            return value
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return value

    def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: clean(value) for key, value in event.items()}

    return mask


def placed_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A processor that turns `exc_info` into `exception`: types and places, no foreign message."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given is True else given
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_told(error))
    return event


def _told(error: BaseException, *, depth: int = 0) -> Iterator[str]:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and depth < 10:
        yield from _told(before, depth=depth + 1)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} {frame.name}"
    message = f": {error}" if isinstance(error, RagError | OSError) else ""
    yield f"{type(error).__qualname__}{message}"
    if isinstance(error, BaseExceptionGroup) and depth < 10:
        for inner in error.exceptions:
            yield from _told(inner, depth=depth + 1)


def log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's exception handler: asyncio's own writes the exception's message, as part of a task's `repr`."""
    structlog.get_logger("asyncio").error("loop_error", what=context.get("message"), exc_info=context.get("exception"))


def configure(target: str, *, secrets: Iterable[str] = (), level: int = logging.INFO) -> Callable[[], None]:
    """Send all logging, the libraries' included, to `target`: a file, `-` (standard output) or `2` (standard error).

    Returns:
        A function that flushes and stops the writer thread; call it last.

    Raises:
        OSError: If the file cannot be opened for appending.
    """
    stream = {"-": sys.stdout, "2": sys.stderr}.get(target)
    to_terminal = stream is not None and stream.isatty()
    handler: logging.Handler
    if stream is not None:
        handler = logging.StreamHandler(stream)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        # Watched: log rotation by rename keeps working without a restart.
        handler = logging.handlers.WatchedFileHandler(target, encoding="utf-8")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        # Maybe: a turn's line has the time at which the turn ended.
        structlog.processors.MaybeTimeStamper(fmt="iso", key="ts"),
        placed_exception,
        masking(secrets),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=True)
        if to_terminal
        else structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # A disk that stalls must not stall the answers: records go through a queue to a thread of their own.
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(lines, handler)
    root = logging.getLogger()
    root.handlers[:] = [_PassThrough(lines)]
    root.setLevel(level)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    listener.start()

    def close() -> None:
        listener.stop()
        handler.close()

    return close


class _PassThrough(logging.handlers.QueueHandler):
    """Hands records on as they are: the formatter needs structlog's event dictionary, not a finished string."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


def write_turn(line: TurnLine) -> None:
    """Log a turn's canonical line."""
    fields = line.as_dict()
    fields.pop("event")
    structlog.get_logger("grapevine.turn").info("turn", **fields)
