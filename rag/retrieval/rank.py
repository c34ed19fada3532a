"""Candidates to ranked documents and passages: pure functions, and the few weights they have.

A document is worth what it holds itself (`base_scores`) and what good documents say about it (`bridged`); the first
ten are then picked so that each adds words of the question that the others lack. docs/decisions/0010 has the
figures behind every weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag.retrieval.candidates import Bridge, Candidates
from rag.retrieval.view import Floats
from rag.types import Mode

PICKS = 10
"""Documents picked for the words they add; the others follow by score."""
DISTINCT = 5
"""The first so many passages come from as many documents; later ones may be further passages of the best."""
FURTHER_PASSAGE = 2.0
"""What a document's second passage is worth less than its first, in deviations, beside its own lower score."""
LEAST_SIMILARITY = 0.3
"""A sentence that names a document is worth following even if it says little of what was asked: a question about
"the series he starred in" shares no meaning with "best known as Chris in Charmed"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What counts how much, in standard deviations over the candidates that the searches found."""

    cosine: float = 0.75
    sentence: float = 0.75
    text: float = 1.5
    title: float = 3.0
    """For a document whose title the question names, divided among those that share it."""
    forward: float = 1.5
    """A seed's sentence names the document."""
    backward: float = 0.75
    """A document's sentence names the seed."""
    shared: float = 1.5
    """Both hold a rare name; divided by how many documents do."""
    cover: float = 4.0
    """For a document that holds all those words of the question that no earlier pick holds."""


HYBRID = Weights()
_MODES: dict[Mode, Weights] = {
    "hybrid": HYBRID,
    "vector": replace(HYBRID, text=0, title=0, forward=0, backward=0, shared=0, cover=0),
    "text": replace(HYBRID, cosine=0, sentence=0, title=0, forward=0, backward=0, shared=0, cover=0),
    "graph": replace(HYBRID, title=6.0, forward=3.0, backward=1.5, shared=3.0),
}


def weights_for(mode: Mode, *, understands: bool) -> Weights:
    """The weights of a mode; vectors count little if the embedder does not understand the language."""
    weights = _MODES[mode]
    if understands or mode == "vector":
        return weights
    # Vietnamese with an English embedder: vectors alone .594, full text alone .983 (docs/decisions/0010).
    return replace(weights, cosine=weights.cosine * FOREIGN, sentence=weights.sentence * FOREIGN)


FOREIGN = 0.25
"""What remains of the weight of vectors in a language that the embedder does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedDocument:
    """A document in a ranking."""

    document: int
    score: float
    bridge: Bridge | None = None
    """The link that raised it; None if none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPassage:
    """A chunk in a ranking."""

    row: int
    score: float
    why: tuple[str, ...]
    """`words`, `meaning`, `title`, most important first; `link` if a bridge raised its document."""
    words_held: float
    """Share of the question's idf that it holds."""
    cosine: float | None
    bridge: Bridge | None = None


def rank_documents(candidates: Candidates, weights: Weights) -> list[RankedDocument]:
    """All candidate documents, best first."""
    base = base_scores(candidates, weights)
    scores, bridges = bridged(candidates, base, weights)
    return [
        RankedDocument(document=int(candidates.documents[at]), score=float(scores[at]), bridge=bridges.get(at))
        for at in covering(candidates, scores, weights.cover)
    ]


def base_scores(candidates: Candidates, weights: Weights) -> Floats:
    """What each document is worth by itself: its best chunk's words and meaning, its best sentence, its title."""
    total = np.zeros(len(candidates.documents), np.float32)
    for weight, values in _parts(candidates, weights):
        if weight:
            total += weight * standardised(best_of_documents(candidates, values), candidates.is_found)
    for document, share in candidates.titled.items():
        total[np.searchsorted(candidates.documents, document)] += weights.title * share
    return total


def _parts(candidates: Candidates, weights: Weights) -> list[tuple[float, Floats]]:
    parts = [(weights.text, candidates.text)]
    if candidates.has_vectors:
        parts += [(weights.cosine, candidates.cosine), (weights.sentence, candidates.sentence)]
    return parts


def best_of_documents(candidates: Candidates, values: Floats) -> Floats:
    """For each candidate document the greatest of its chunks' values."""
    best = np.full(len(candidates.documents), -1, np.float32)
    np.maximum.at(best, np.searchsorted(candidates.documents, candidates.document_of), values)
    return best


def standardised(values: Floats, reference: NDArray[np.bool_] | None = None) -> Floats:
    """z-scores of `values`; mean and deviation are those of the `reference` ones among them."""
    sample = values[reference] if reference is not None and reference.any() else values
    if not len(sample):
        return np.zeros_like(values)
    # By hand: nine times a question, and `mean` and `std` take four times as long for so few numbers.
    mean = np.add.reduce(sample) / np.float32(len(sample))
    away = sample - mean
    deviation = float(np.sqrt(away.dot(away) / len(sample)))
    if deviation < 1e-6 * max(1.0, abs(float(mean))):  # all alike: nothing to tell them apart by
        return np.zeros_like(values)
    return np.asarray((values - mean) / np.float32(deviation), np.float32)


def bridged(candidates: Candidates, base: Floats, weights: Weights) -> tuple[NDArray[np.float64], dict[int, Bridge]]:
    """Scores with what links add, and for each raised document (by place) its best link.

    The best single path counts, never the sum, and it adds as the side of a right triangle does: much to a document
    that has little of its own, little to one that ranks high anyway (else clusters that name each other crowd out
    the rest).
    """
    place = {int(document): at for at, document in enumerate(candidates.documents)}
    best: dict[int, tuple[float, Bridge]] = {}
    for bridge in candidates.bridges:
        gain = max(0.0, float(base[place[bridge.source]])) * strength(bridge, weights)
        at = place[bridge.target]
        if gain > 0 and (at not in best or gain > best[at][0]):
            best[at] = (gain, bridge)
    scores = base.astype(np.float64)
    for at, (gain, _) in best.items():
        own = float(scores[at])
        scores[at] = float(np.hypot(own, gain)) if own > 0 else max(own, gain)
    return scores, {at: bridge for at, (_, bridge) in best.items()}


def strength(bridge: Bridge, weights: Weights) -> float:
    """What share of the seed's score a bridge carries over."""
    if bridge.kind == "shared":
        return weights.shared * bridge.similarity * bridge.other_similarity / bridge.degree
    weight = weights.forward if bridge.kind == "forward" else weights.backward
    return weight * max(LEAST_SIMILARITY, bridge.similarity) / bridge.degree


def covering(candidates: Candidates, scores: NDArray[np.float64], weight: float) -> list[int]:
    """Places in order of rank; the first picks also by the words (by idf) that they add."""
    order = [int(at) for at in np.lexsort((candidates.documents, -scores))]
    total = float(candidates.idf.sum())
    if weight == 0 or total <= 0:
        return order
    held = np.zeros((len(candidates.documents), len(candidates.idf)), np.bool_)
    np.logical_or.at(held, np.searchsorted(candidates.documents, candidates.document_of), candidates.holds.T)
    pool = order[: 3 * PICKS]
    missing = candidates.idf.astype(np.float64) / total
    chosen: list[int] = []
    while pool and len(chosen) < PICKS:
        best = pool.pop(int(np.argmax(scores[pool] + weight * (held[pool] @ missing))))
        chosen.append(best)
        missing[held[best]] = 0
    taken = set(chosen)
    return chosen + [at for at in order if at not in taken]


def rank_passages(
    candidates: Candidates, ranking: list[RankedDocument], weights: Weights, k: int
) -> list[RankedPassage]:
    """The `k` best chunks: one each of the best documents, then what is best of either kind."""
    own = chunk_scores(candidates, weights)
    chunks: dict[int, list[int]] = {}
    for at in np.lexsort((candidates.rows, -own)):
        chunks.setdefault(int(candidates.document_of[at]), []).append(int(at))
    firsts: list[tuple[float, int, RankedDocument]] = []
    further: list[tuple[float, int, RankedDocument]] = []
    ceiling = np.inf
    for ranked in ranking:
        ceiling = min(ceiling, ranked.score)  # covering may have put a lower score first: scores fall all the same
        places = _led(candidates, chunks.get(ranked.document, []), ranked, own)
        firsts += [(ceiling, at, ranked) for at in places[:1]]
        further += [
            (ceiling - FURTHER_PASSAGE - max(0.0, float(own[places[0]] - own[at])), at, ranked) for at in places[1:]
        ]
    fixed = firsts[: min(DISTINCT, k)]
    rest = sorted(firsts[len(fixed) :] + further, key=lambda item: -item[0])
    result = []
    ceiling = np.inf
    for score, at, ranked in [*fixed, *rest][:k]:
        ceiling = min(ceiling, score)
        result.append(_passage(candidates, weights, at, ceiling, ranked))
    return result


def chunk_scores(candidates: Candidates, weights: Weights) -> Floats:
    """What each chunk is worth by itself."""
    total = np.zeros(len(candidates.rows), np.float32)
    for weight, values in _parts(candidates, weights):
        total += weight * standardised(values)
    return total


def _led(candidates: Candidates, places: list[int], ranked: RankedDocument, own: Floats) -> list[int]:
    """A document's chunks, best first; the one that a link leads to is worth a deviation more."""
    if ranked.bridge is None or ranked.bridge.row < 0:
        return places
    row = ranked.bridge.row
    return sorted(places, key=lambda at: -(float(own[at]) + (1.0 if candidates.rows[at] == row else 0.0)))


def _passage(candidates: Candidates, weights: Weights, at: int, score: float, ranked: RankedDocument) -> RankedPassage:
    total = float(candidates.idf.sum())
    held = float(candidates.idf[candidates.holds[:, at]].sum()) / total if total > 0 else 0.0
    reasons: list[tuple[float, str]] = []
    if candidates.text[at] > 0:
        reasons.append((weights.text * held, "words"))
    cosine = float(candidates.cosine[at]) if candidates.has_vectors and candidates.cosine[at] > -1 else None
    if cosine is not None:
        meaning = max(cosine, float(candidates.sentence[at]))
        reasons.append(((weights.cosine + weights.sentence) * meaning, "meaning"))
    if ranked.document in candidates.titled:
        reasons.append((weights.title * candidates.titled[ranked.document], "title"))
    if ranked.bridge is not None:
        reasons.append((strength(ranked.bridge, weights), "link"))
    why = tuple(name for value, name in sorted(reasons, key=lambda pair: -pair[0]) if value > 0.1)
    return RankedPassage(
        row=int(candidates.rows[at]), score=score, why=why, words_held=held, cosine=cosine, bridge=ranked.bridge
    )
