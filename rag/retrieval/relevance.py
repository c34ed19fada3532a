"""The relevance floor: whether what was found is worth answering from. A pure function of candidates and their texts.

Three things speak for a chunk: how near its best sentence is in meaning, how much of what the question is about it
holds (`reading`), and whether it holds what the question asks for ("what *colour*"). A name or code that no document
holds speaks against all of them. docs/decisions/0013 has the frontier these figures were chosen on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag.retrieval.candidates import Candidates
from rag.retrieval.question import Asked
from rag.retrieval.reading import credits_of
from rag.types import Language
from rag.words import WELL_KNOWN

READ = 6
"""Chunks whose text is looked at: the most promising by words and meaning. Each costs about 0.05 ms."""

TextsOf = Callable[[Sequence[int]], Sequence[str]]
"""The texts (title and heading included) of chunks, by their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One calibration."""

    threshold: float
    sentence: float = 0.0
    """Weight of the best sentence's cosine ..."""
    is_relative: bool = False
    """... or of what it has more than the middle one of the candidates: a scale that fits any language."""
    held: float = 1.0
    """Weight of the share of content words held, by idf ** `rarity`."""
    focus: float = 0.0
    """Weight of the share of the asked-for words held."""
    unknown_name: float = 0.0
    """Taken off if the question names something that no document holds."""
    unknown_code: float = 0.0
    """The same for codes (TX-12), where names prove nothing: they are translated, or merely mentioned."""
    rarity: float = 1.0
    """0: all content words count alike; 1: by their idf."""
    apart: float = 1.0
    """Credit of a word that is held without its neighbours in the question."""


NEUTRAL_FOCUS = 0.7
"""Taken for questions that do not say what kind of thing they ask for ("does he like it?")."""
UNKNOWN_WORD = 0.8
"""The most a word that no document holds may weigh, as a part of the weightiest one's weight: in a small corpus any
turn of phrase is unknown."""

UNKNOWN_NUMBER = 0.3
"""What remains of the weight of a number that no document holds. It is a circumstance more often than the subject:
"a 125 cc scooter" is answered by "more than 50 cc"."""

BY_MEANING = Floor(
    threshold=0.85, sentence=1.0, held=0.8, focus=0.2, unknown_name=0.25, unknown_code=0.25, rarity=0.35, apart=0.6
)
"""For MiniLM and the languages it understands."""
BY_WORDS = Floor(threshold=0.45, sentence=0.4, is_relative=True, unknown_code=0.15)
"""For languages that the embedder does not understand."""
BY_FEW_WORDS = replace(BY_WORDS, threshold=0.32)
"""For those among them whose function words and endings are not known here either: less of a question is held."""
UNCALIBRATED = Floor(threshold=0.3, unknown_code=0.1)
"""For embedders whose cosines were not measured: refuses only what shares hardly a word, since an unknown scale of
cosines must not refuse paraphrases."""
NO_VECTORS = Floor(threshold=0.34, unknown_code=0.15)

_CALIBRATED = frozenset({"minilm"})
_SYLLABLES_APART = 0.25
"""Vietnamese is written in syllables, and one syllable of a word is hardly a trace of it."""


def floor_for(embedder: str | None, *, language: Language, understands: bool, has_vectors: bool) -> Floor:
    """The calibration that fits an embedder and a language."""
    if embedder is None or not has_vectors:
        floor = NO_VECTORS
    elif not understands:
        floor = BY_WORDS if language in WELL_KNOWN else BY_FEW_WORDS
    else:
        floor = BY_MEANING if embedder in _CALIBRATED else UNCALIBRATED
    return replace(floor, apart=_SYLLABLES_APART) if language == "vi" else floor


def is_relevant(candidates: Candidates, asked: Asked, floor: Floor, texts_of: TextsOf) -> bool:
    """Whether the best chunk lies above the floor: `relevance` >= `floor.threshold`."""
    if len(candidates.rows) == 0 or len(asked.terms) == 0:
        return floor.threshold <= 0
    reading = _Reading(candidates, asked, floor, texts_of)
    # Whatever the others hold, and whether it is what was asked for, can only add to this: mostly one is enough.
    enough = floor.threshold + reading.unknown
    return any(worth >= enough for worth in reading.one_by_one()) or reading.value() >= floor.threshold


def relevance(candidates: Candidates, asked: Asked, floor: Floor, texts_of: TextsOf) -> float:
    """What the best chunk is worth as a source of the answer; 0 where nothing was found."""
    if len(candidates.rows) == 0 or len(asked.terms) == 0:
        return 0.0
    reading = _Reading(candidates, asked, floor, texts_of)
    deque(reading.one_by_one(), maxlen=0)
    return reading.value()


class _Reading:
    """The most promising chunks, read one by one."""

    def __init__(self, candidates: Candidates, asked: Asked, floor: Floor, texts_of: TextsOf) -> None:
        self._candidates, self._asked, self._floor, self._texts_of = candidates, asked, floor, texts_of
        self._weight = _weights(candidates, asked, floor)
        self._meaning = _meaning(candidates, floor)
        promise = floor.held * (self._weight @ candidates.holds) + self._meaning
        self._places = np.argsort(-promise, kind="stable")[:READ]
        self._held: list[NDArray[np.float64]] = []
        self.unknown = _unknown(candidates, asked, floor)
        """What names that no document holds take off."""

    def one_by_one(self) -> Iterator[float]:
        """What each is worth by itself, best promise first."""
        for place in self._places.tolist():
            text = self._texts_of([int(self._candidates.rows[place])])[0]
            self._held.append(credits_of(self._asked, text, self._floor.apart))
            yield self._floor.held * float(self._held[-1] @ self._weight) + float(self._meaning[place])

    def value(self) -> float:
        """What the best is worth, when all have been read."""
        candidates, floor, places = self._candidates, self._floor, self._places
        shares = _with_document(np.stack(self._held), candidates.document_of[places], self._weight)
        worth = floor.held * shares + self._meaning[places]
        best = int(np.argmax(worth))
        value = float(worth[best])
        if floor.focus:
            value += floor.focus * _focus_held(candidates, self._asked, self._weight, int(places[best]))
        return value - self.unknown


def _weights(candidates: Candidates, asked: Asked, floor: Floor) -> NDArray[np.float64]:
    """What each term counts; they sum to 1 (to 0 if the question has no word that counts)."""
    weight = np.where(asked.content, np.maximum(candidates.idf, 0).astype(np.float64) ** floor.rarity, 0.0)
    most = UNKNOWN_WORD * float(weight.max())
    weight = np.where(candidates.is_known, weight, np.minimum(weight, most))
    for place, term in enumerate(asked.terms):
        if not candidates.is_known[place] and term.isdigit():
            weight[place] *= UNKNOWN_NUMBER
    total = float(weight.sum())
    return weight / total if total > 0 else weight


def _meaning(candidates: Candidates, floor: Floor) -> NDArray[np.float64]:
    cosines = np.maximum(candidates.sentence, 0).astype(np.float64)
    if not floor.sentence or not candidates.has_vectors:
        return np.zeros(len(cosines))
    if floor.is_relative:
        cosines = np.maximum(cosines - float(np.median(cosines)), 0)
    return floor.sentence * cosines


def _with_document(
    held: NDArray[np.float64], document_of: NDArray[np.int32], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The share each chunk holds, half of it by what the other chunks read of its document add."""
    own = held @ weight
    whole = own.copy()
    for document in set(document_of.tolist()):
        chunks = document_of == document
        whole[chunks] = float(held[chunks].max(axis=0) @ weight)
    return np.asarray((own + whole) / 2, np.float64)


def _focus_held(candidates: Candidates, asked: Asked, weight: NDArray[np.float64], chunk: int) -> float:
    places = list(asked.focus)
    total = float(weight[places].sum()) if places else 0.0
    if total <= 0:
        return NEUTRAL_FOCUS
    return float(weight[places] @ candidates.holds[places, chunk]) / total


def _unknown(candidates: Candidates, asked: Asked, floor: Floor) -> float:
    unknown = [asked.terms[place] for place in asked.named if not candidates.is_known[place]]
    if any(not term.isalpha() and not term.isdigit() for term in unknown):
        return max(floor.unknown_name, floor.unknown_code)
    return floor.unknown_name if unknown else 0.0
