"""What the commands share: settings, the event loop, errors as one line, tables and JSON."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import click
import orjson
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from bot.settings import Settings, SettingsError, load
from bot.state.sqlite import StateError
from bot.telemetry.log import configure
from rag.errors import RagError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

FAILED, USAGE = 1, 2


def json_option(function: F) -> F:
    """`--json`: print one JSON value instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def settings() -> Settings:
    """The configuration. Raises `SettingsError`."""
    return load()[0]


def explain(error: BaseException) -> tuple[str, int] | None:
    """The one line and the exit code for an error that is somebody's mistake or a part's failure; None for a bug."""
    match error:
        case SettingsError():
            return str(error).replace("\n", "\ngrapevine: "), USAGE
        case RagError() | StateError():
            return str(error), FAILED
        case OSError(filename=name, strerror=reason) if name:
            return f"{name}: {reason}", FAILED
    return None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def log_beside_result(configured: Settings) -> None:
    """For commands whose standard output is their result: log to the configured file, else to standard error.

    On a terminal only errors are shown there: the line of a turn would stand right below its answer.
    """
    to_file = configured.log != "-"
    level = logging.INFO if to_file or not sys.stderr.isatty() else logging.ERROR
    atexit.register(open_log(configured, configured.log if to_file else "2", level=level))


def open_log(configured: Settings, target: str, *, level: int = logging.INFO) -> Callable[[], None]:
    """Send all logging to `target` from now on; a function that closes it. Says which setting is at fault."""
    try:
        return configure(target, secrets=configured.secrets, level=level)
    except OSError as error:
        raise click.ClickException(f"GRAPEVINE_LOG: {error.filename}: {error.strerror}") from error


def print_json(value: Any) -> None:
    """One JSON value, indented for people and still one value for programs."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers_from: int = 1) -> None:
    """A plain table; columns from `numbers_from` on are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index >= numbers_from else "left", overflow="fold")
    for row in rows:
        # Text: brackets in a cell are brackets, not markup.
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console().print(table)


def progress_bar(*, quiet: bool) -> Progress:
    """A bar per task with time left, on standard error; nothing where that is no terminal, or with `quiet`."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
