"""The audit line of commands: in the log file if there is one, else on standard error."""

from __future__ import annotations

import sys

import structlog

from bot.audit import AuditOutcome, audit
from bot.settings import Settings
from bot.telemetry.log import configure


def audited(settings: Settings, action: str, target: str, *, outcome: AuditOutcome = "done") -> None:
    """Leave the audit line of an admin act done by a command.

    With `GRAPEVINE_LOG=-` it goes to standard error: standard output is the command's result.
    """
    if settings.log != "-":
        close = configure(settings.log, secrets=settings.secrets)
        audit(action, target, who="cli", outcome=outcome)
        close()
        return
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", key="ts"), renderer],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    audit(action, target, who="cli", outcome=outcome)
