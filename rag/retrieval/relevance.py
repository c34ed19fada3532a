"""The relevance floor: whether what was found is worth answering from. A pure function of the candidates.

Three things speak for a chunk: how near its best sentence is in meaning, how many of the question's content words it
holds, and whether it holds what the question asks for ("what *colour*"). A name or code that no document holds speaks
against all of them. docs/decisions/0011 has the frontier these figures were chosen on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rag.retrieval.candidates import Candidates
from rag.retrieval.question import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One calibration."""

    threshold: float
    sentence: float
    """Weight of the best sentence's cosine."""
    held: float = 0.6
    """Weight of the share of content words held, by idf ** `rarity`."""
    focus: float = 0.2
    """Weight of the share of the asked-for words held."""
    unknown_name: float = 0.25
    """Taken off if the question names something that no document holds."""
    rarity: float = 0.5
    """0: all content words count alike; 1: by their idf."""


NEUTRAL_FOCUS = 0.7
"""Taken for questions that do not say what kind of thing they ask for ("does he like it?")."""

BY_MEANING = Floor(threshold=0.8, sentence=1.0)
"""For MiniLM and the languages it understands."""
BY_WORDS = Floor(threshold=0.44, sentence=0.0, held=1.0, focus=0.0, rarity=1.0)
"""For languages that the embedder does not understand: its cosines say nothing there."""
UNCALIBRATED = Floor(threshold=0.35, sentence=0.0, held=1.0, focus=0.0)
"""For embedders whose cosines were not measured: refuses only what shares hardly a word, since an unknown scale of
cosines must not refuse paraphrases."""
NO_VECTORS = Floor(threshold=0.4, sentence=0.0, held=1.0, focus=0.0)

_CALIBRATED = frozenset({"minilm"})


def floor_for(embedder: str | None, *, understands: bool, has_vectors: bool) -> Floor:
    """The calibration that fits an embedder and a language."""
    if not understands:
        return BY_WORDS
    if embedder is None or not has_vectors:
        return NO_VECTORS
    return BY_MEANING if embedder in _CALIBRATED else UNCALIBRATED


def is_relevant(candidates: Candidates, asked: Asked, floor: Floor) -> bool:
    """Whether the best chunk lies above the floor."""
    return relevance(candidates, asked, floor) >= floor.threshold


def relevance(candidates: Candidates, asked: Asked, floor: Floor) -> float:
    """What the best chunk is worth as a source of the answer; 0 where nothing was found."""
    if len(candidates.rows) == 0 or len(asked.terms) == 0:
        return 0.0
    weight = np.where(asked.content, candidates.idf.astype(np.float64) ** floor.rarity, 0.0)
    total = float(weight.sum())
    held = weight @ candidates.holds / total if total > 0 else np.zeros(len(candidates.rows))
    worth = floor.held * held
    if floor.sentence and candidates.has_vectors:
        worth = worth + floor.sentence * np.maximum(candidates.sentence, 0)
    best = int(np.argmax(worth))
    value = float(worth[best])
    if floor.focus:
        value += floor.focus * _focus_held(candidates, asked, weight, best)
    if any(not candidates.is_known[place] for place in asked.named):
        value -= floor.unknown_name
    return value


def _focus_held(candidates: Candidates, asked: Asked, weight: np.ndarray, chunk: int) -> float:
    places = list(asked.focus)
    total = float(weight[places].sum()) if places else 0.0
    if total <= 0:
        return NEUTRAL_FOCUS
    return float(weight[places] @ candidates.holds[places, chunk]) / total
