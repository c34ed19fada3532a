"""How many chunks hold a term, per collection: kept in the database as sums of changes, and in memory to be asked.

Lucene's own frequencies would count expired documents and could not be summed over the permitted collections, and a
node per term would have to be locked and counted by every write. So each write adds one node with what it changed
(`+` for new chunks, `-` for removed ones, one for each span of days they are valid in), and now and then a write sums
them up. A question's answer tells the number of the latest one, so that a process knows when to read what it lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from rag.retrieval.view import Column
from rag.stores.neo4j.encoding import Card, Hashes
from rag.types import Language

ALWAYS_FROM, ALWAYS_UNTIL = "", "9999-12-31"
"""ISO dates compare as text; these stand for no limit."""
MERGE_FROM = 24
"""Sum up once there are so many."""

_LARGE = 30_000
"""Terms: adding up fewer takes a few milliseconds after each write, adding up more is left to the writers."""

Span = tuple[str, str]
Counts = NDArray[np.int32]
_BAGS = ("plain", "marked", "folded", "titles")
"""Terms of chunks whose two columns are equal, those of the others by column; names that documents answer to."""


@dataclass(frozen=True, slots=True)
class Bag:
    """How often each hash; hashes ascend."""

    hashes: Hashes
    counts: Counts

    def of(self, hashes: Hashes) -> NDArray[np.int64]:
        """The counts of these hashes."""
        if not len(self.hashes):
            return np.zeros(len(hashes), dtype=np.int64)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, self.counts[at], 0).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One node: what chunks that are valid in `span` add to (or take from) a collection."""

    span: Span
    chunks: int
    length: int
    languages: Mapping[Language, int]
    bags: Mapping[str, Bag]

    def properties(self) -> dict[str, Any]:
        """As a node keeps it."""
        values: dict[str, Any] = {
            "valid_from": self.span[0],
            "valid_until": self.span[1],
            "chunks": self.chunks,
            "length": self.length,
            "languages": orjson.dumps(dict(self.languages)).decode(),
        }
        for name, bag in self.bags.items():
            values[name] = bag.hashes.astype("<u4").tobytes() + bag.counts.astype("<i4").tobytes()
        return values


def delta_of(values: Mapping[str, Any]) -> Delta:
    """From a node's properties."""
    bags = {}
    for name in _BAGS:
        packed = values.get(name) or b""
        count = len(packed) // 8
        bags[name] = Bag(np.frombuffer(packed, "<u4", count), np.frombuffer(packed, "<i4", count, 4 * count))
    return Delta(
        span=(values["valid_from"], values["valid_until"]),
        chunks=values["chunks"],
        length=values["length"],
        languages=orjson.loads(values["languages"]),
        bags=bags,
    )


def merged(deltas: Iterable[Delta]) -> list[Delta]:
    """Their sums, one for each span that still holds something."""
    by_span: dict[Span, list[Delta]] = {}
    for delta in deltas:
        by_span.setdefault(delta.span, []).append(delta)
    summed = []
    for span, group in by_span.items():
        languages: Counter[Language] = Counter()
        for delta in group:
            languages.update(delta.languages)
        total = Delta(
            span=span,
            chunks=sum(delta.chunks for delta in group),
            length=sum(delta.length for delta in group),
            languages={name: count for name, count in languages.items() if count},
            bags={name: _summed([delta.bags[name] for delta in group]) for name in _BAGS},
        )
        if total.chunks or any(len(bag.hashes) for bag in total.bags.values()):
            summed.append(total)
    return summed


def few(deltas: Iterable[Delta]) -> list[Delta]:
    """The small ones summed up: every question looks into each, and every write adds one."""
    large: list[Delta] = []
    small: list[Delta] = []
    for delta in deltas:
        is_large = any(len(bag.hashes) >= _LARGE for bag in delta.bags.values())
        (large if is_large else small).append(delta)
    return large + (merged(small) if len(small) > 1 else small)


def _summed(bags: Sequence[Bag]) -> Bag:
    hashes, inverse = np.unique(np.concatenate([bag.hashes for bag in bags]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([bag.counts for bag in bags]), minlength=len(hashes)).astype(np.int32)
    kept = counts != 0
    return Bag(hashes[kept], counts[kept])


class Tally:
    """Adds up what a write changes in one collection."""

    def __init__(self) -> None:
        self._drafts: dict[tuple[Span, int], _Draft] = {}

    def chunk(self, span: Span, card: Card, language: Language, sign: int) -> None:
        """One chunk more (1) or less (-1)."""
        draft = self._drafts.setdefault((span, sign), _Draft())
        draft.chunks += 1
        draft.length += card.length
        draft.languages[language] += 1
        if card.folded is None:
            draft.bags["plain"].append(card.marked)
        else:
            draft.bags["marked"].append(card.marked)
            draft.bags["folded"].append(card.folded)

    def titles(self, span: Span, names: Hashes, sign: int) -> None:
        """One document more or less that answers to these names."""
        self._drafts.setdefault((span, sign), _Draft()).bags["titles"].append(names)

    def deltas(self) -> list[Delta]:
        """What came together, by span."""
        return merged(draft.delta(span, sign) for (span, sign), draft in self._drafts.items())


@dataclass(slots=True)
class _Draft:
    chunks: int = 0
    length: int = 0
    languages: Counter[Language] = field(default_factory=Counter)
    bags: dict[str, list[Hashes]] = field(default_factory=lambda: {name: [] for name in _BAGS})

    def delta(self, span: Span, sign: int) -> Delta:
        bags = {}
        for name, parts in self.bags.items():
            hashes, counts = np.unique(np.concatenate(parts or [np.zeros(0, np.uint32)]), return_counts=True)
            bags[name] = Bag(hashes, (counts * sign).astype(np.int32))
        return Delta(
            span=span,
            chunks=self.chunks * sign,
            length=self.length * sign,
            languages={name: count * sign for name, count in self.languages.items()},
            bags=bags,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatistics:
    """A collection as a process knows it."""

    latest: int = 0
    """The number of the latest delta that is in it."""
    has_vectors: bool = False
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    """By id."""
    sums: Sequence[Delta] = ()
    """What they add up to, in few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The permitted collections together, on one day."""

    chunks: int
    length: int
    languages: Mapping[Language, int]
    deltas: Sequence[Delta]

    def frequencies(self, hashes: Hashes, column: Column) -> NDArray[np.int64]:
        """In how many chunks each term stands."""
        return self._sum(("plain", column), hashes)

    def named(self, hashes: Hashes) -> NDArray[np.int64]:
        """How many documents answer to each of these names."""
        return self._sum(("titles",), hashes)

    def _sum(self, bags: Sequence[str], hashes: Hashes) -> NDArray[np.int64]:
        total = np.zeros(len(hashes), dtype=np.int64)
        for delta in self.deltas:
            for name in bags:
                total += delta.bags[name].of(hashes)
        return total


def totals(collections: Iterable[CollectionStatistics], today: str) -> Totals:
    """What is valid `today` (an ISO date)."""
    deltas = [delta for each in collections for delta in each.sums if delta.span[0] <= today <= delta.span[1]]
    languages: Counter[Language] = Counter()
    for delta in deltas:
        languages.update(delta.languages)
    return Totals(
        chunks=sum(delta.chunks for delta in deltas),
        length=sum(delta.length for delta in deltas),
        languages={name: count for name, count in languages.items() if count > 0},
        deltas=deltas,
    )
