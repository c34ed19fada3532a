"""What an ingest says: what became of each file, how far it is, and what it did altogether. Plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["added", "updated", "unchanged", "skipped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """One file, one outcome."""

    file: str
    """As its readers know it: relative to the folder given."""
    source: str
    outcome: Outcome
    reason: str | None = None
    """One line that reads on after the file's name; None: all went well."""
    notes: tuple[str, ...] = ()
    """Parts that could not be read, and guesses that had to be made, a line each."""
    is_partial: bool = False
    """Whether parts of it could not be read while the rest was stored."""
    documents: int = 0
    chunks: int = 0
    names: int = 0
    """Different names, codes and links that its new chunks mention: the entities of the graph.
    At most 50,000 are counted."""

    def lines(self) -> list[str]:
        """What a terminal shows of it."""
        first = f"{self.outcome}: {self.file}" + (f": {self.reason}" if self.reason else "")
        return [first, *(f"{self.file}: {note}" for note in self.notes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an ingest is."""

    stage: Literal["text", "vectors"]
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    chunks: int
    """Chunks written so far: they are found by full text."""
    vectors: int
    """Texts (chunks and sentences) embedded so far."""
    vectors_total: int | None
    """Texts to embed; None while files are still being read."""
    eta_s: float | None
    """Seconds left of the whole, by the pace so far; None while it is anybody's guess."""
    latest: FileOutcome | None = None
    """The file whose outcome this event brings; None: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingest did."""

    outcomes: tuple[FileOutcome, ...]
    removed: tuple[str, ...] = ()
    """Documents that were removed because they vanished (`--sync`), or would be (`--dry-run`)."""
    kept: tuple[str, ...] = ()
    """Documents that vanished but were kept, as whoever was asked said no."""
    chunks: int = 0
    vectors: int = 0
    bytes: int = 0
    text_s: float = 0.0
    """Seconds until all text was searchable."""
    total_s: float = 0.0

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """Files by outcome."""
        return Counter(outcome.outcome for outcome in self.outcomes)

    @property
    def is_complete(self) -> bool:
        """Whether everything that should be in place is: decides the exit code."""
        return not any(outcome.outcome == "failed" or outcome.is_partial for outcome in self.outcomes)


def eta_s(*, elapsed_s: float, done: float, total: float) -> float | None:
    """Seconds left at the pace so far; None before there is a pace. Pure."""
    if done <= 0 or elapsed_s < 1.0:
        return None
    return max(0.0, elapsed_s * (total - done) / done)
