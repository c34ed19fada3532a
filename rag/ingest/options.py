"""How to ingest: plain data."""

from __future__ import annotations

from dataclasses import dataclass

from rag.ingest.parse import MAX_FILE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How to ingest."""

    collection: str = "public"
    is_sync: bool = False
    """Remove what vanished from the same sources."""
    is_dry_run: bool = False
    """Read everything and change nothing."""
    max_bytes: int = MAX_FILE_BYTES
    """Larger files are refused."""
