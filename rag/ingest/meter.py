"""Counts what an ingest has done and tells whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rag.ingest.discover import Discovered
from rag.ingest.outcome import FileOutcome, Progress, eta_s

OnProgress = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class Meter:
    """The figures of one ingest."""

    found: Discovered
    on_progress: OnProgress
    clock: Callable[[], float]
    outcomes: list[FileOutcome] = field(default_factory=list)
    chunks: int = 0
    vectors: int = 0
    bytes_done: int = 0
    _began: float = field(init=False)
    _bytes_total: int = field(init=False)
    _vectors_began: float = 0.0
    _vectors_expected: int = 0

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._bytes_total = sum(file.size for file in self.found.files)

    def elapsed_s(self) -> float:
        """Since the ingest began."""
        return self.clock() - self._began

    def settled(self, outcome: FileOutcome, size: int = 0) -> None:
        """A file has its outcome."""
        self.bytes_done += size
        self.outcomes.append(outcome)
        left = eta_s(elapsed_s=self.elapsed_s(), done=self.bytes_done, total=self._bytes_total)
        self.on_progress(replace(self._now(), eta_s=left, latest=outcome))

    def vectors_begin(self, expected: int) -> None:
        """The second half begins; `expected` is the best guess of how many texts wait."""
        self._vectors_began = self.clock()
        self._vectors_expected = expected

    def embedded(self, count: int, *, is_all: bool = False) -> None:
        """So many more texts have their vectors; `is_all`: that was the last of them."""
        self.vectors += count
        total = self.vectors if is_all else max(self._vectors_expected, self.vectors)
        left = eta_s(elapsed_s=self.clock() - self._vectors_began, done=self.vectors, total=total)
        self.on_progress(replace(self._now(), stage="vectors", vectors_total=total, eta_s=left))

    def _now(self) -> Progress:
        return Progress(
            stage="text",
            files_done=len(self.outcomes),
            files_total=len(self.found.files) + len(self.found.set_aside),
            bytes_done=self.bytes_done,
            bytes_total=self._bytes_total,
            chunks=self.chunks,
            vectors=self.vectors,
            vectors_total=None,
            eta_s=None,
        )
