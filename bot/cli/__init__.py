"""Every command a person types: `grapevine COMMAND`. Each lives in a module of its own, loaded when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version

import click

from bot.cli.common import FAILED, USAGE, explain

COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("bot.cli.serve", "Start whatever is configured: chat page, API, Telegram, Slack."),
    "ask": ("bot.cli.ask", "Ask the documents a question, here in the terminal."),
    "ingest": ("bot.cli.ingest", "Take files and folders into the knowledge base."),
    "documents": ("bot.cli.documents", "List and remove documents."),
    "export": ("bot.cli.export", "Write everything to one file, vectors and FAQs included."),
    "import": ("bot.cli.restore", "Take an export in, without embedding it again."),
    "faq": ("bot.cli.faq", "Questions that are answered at once: add, import, warm, list, remove, match."),
    "jobs": ("bot.cli.jobs", "Background work and how far it is."),
    "login-link": ("bot.cli.login_link", "Print a link that opens the dashboard, once."),
    "eval": ("bot.cli.evaluate", "Measure retrieval and refusal over a folder of questions with known answers."),
    "feedback": ("bot.cli.feedback", "What people thought of their answers."),
    "forget": ("bot.cli.forget", "Erase what one person has asked, been answered and rated."),
    "latency": ("bot.cli.latency", "Where the time goes: p50, p95 and p99 per stage, from the log."),
    "doctor": ("bot.cli.doctor", "Check every configured part and say what to do."),
    "telegram-webhook": ("bot.cli.telegram_webhook", "Where Telegram delivers: set, info, delete."),
    "settings": ("bot.cli.settings", "Print every setting: meaning, default, where its value comes from."),
}
"""Command to module (which names its click command `command`) and one line of help."""


class _Lazy(click.Group):
    """Imports a command's module only when it is run: `grapevine --help` and `latency` need no onnxruntime."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("grapevine-bot"), prog_name="grapevine")
def cli() -> None:
    """Answers over your own documents, growing in one message while they are written."""


def main() -> None:
    """The console script: errors are one clear line on standard error, exit code 2 (usage, settings) or 1."""
    try:
        # Not standalone, click returns the code of an `Exit` instead of raising it.
        sys.exit(cli.main(prog_name="grapevine", standalone_mode=False))
    except click.ClickException as error:
        click.echo(f"grapevine: {error.format_message()}", err=True)
        sys.exit(USAGE if isinstance(error, click.UsageError) else FAILED)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # `grapevine documents list | head` is no error; Python would complain once more while flushing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        message, code = line
        click.echo(f"grapevine: {message}", err=True)
        sys.exit(code)
