"""What is said in the log when a second look at the passages was not to be had."""

from __future__ import annotations

import structlog

from rag.errors import RerankError

log = structlog.get_logger(__name__)


def rerank_failed(error: RerankError) -> None:
    """The answer came in the ranking's order; the message names neither the question nor a key."""
    log.warning("rerank_failed", cause=str(error))
