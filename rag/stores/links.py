"""Bridges between documents, joined when asked: names in sentences with the names that documents answer to.

Everything is bounded by the documents asked for and by `limit`, never by how popular a name is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag.retrieval.view import Link
from rag.stores.encoding import Hashes, is_explicit
from rag.stores.layout import Layout
from rag.stores.textindex import Numbers


class _Said(NamedTuple):
    """The names in the sentences of one document, in order: parallel arrays."""

    part: int
    """The part of the layout that the document is in."""
    keys: Hashes
    rows: Numbers
    sentences: Numbers
    """Index within the chunk."""
    places: Numbers
    """Among the keys of the part's `mentions`."""

    def kept(self, mask: NDArray[np.bool_]) -> _Said:
        """Those of them."""
        return _Said(self.part, self.keys[mask], self.rows[mask], self.sentences[mask], self.places[mask])


class _Place(NamedTuple):
    row: int
    sentence: int
    document: int


def titled(layout: Layout, keys: Hashes) -> list[Numbers]:
    """For each key the documents that answer to it, ascending."""
    found: list[list[Numbers]] = [[] for _ in keys]
    for at, part in enumerate(layout.parts):
        titles = part.segment.titles
        starts, ends = titles.slices(keys)
        for index in np.flatnonzero(ends > starts).tolist():
            documents = layout.documents_at(at, titles.numbers[starts[index] : ends[index]])
            found[index].append(documents[documents >= 0])
    none = np.zeros(0, dtype=np.int32)
    return [np.concatenate(each) if each else none for each in found]


def known_names(layout: Layout, keys: Hashes) -> list[int]:
    """For each key how many documents name it or answer to it."""
    counts = _spread(layout, keys)
    for index, documents in enumerate(titled(layout, keys)):
        naming = {document for document in documents.tolist() if keys[index] in _said(layout, document).keys}
        counts[index] += len(documents) - len(naming)
    return [int(count) for count in counts]


def links_from(layout: Layout, documents: Sequence[int], limit: int) -> list[Link]:
    """Sentences of these documents that name others: written links first, then the names that fewest answer to."""
    said = [_answered(layout, _said(layout, document)) for document in documents]
    keys = np.unique(np.concatenate([each.keys for each in said])) if said else np.zeros(0, dtype=np.uint64)
    targets = titled(layout, keys)
    degrees = np.array([len(each) for each in targets], dtype=np.int64)
    links: list[Link] = []
    for document, (_, names, rows, sentences, _) in zip(documents, said, strict=True):
        indexes = np.searchsorted(keys, names)
        explicit = is_explicit(names)
        order = np.lexsort((degrees[indexes], ~explicit))
        order = order[degrees[indexes[order]] > 0]
        found: dict[tuple[int, int, int], Link] = {}
        for at in order.tolist():
            row, sentence, index = int(rows[at]), int(sentences[at]), indexes[at]
            for target in targets[index][: limit + 1].tolist():
                if target != document and len(found) < limit:
                    link = Link(
                        source=document,
                        row=row,
                        sentence=sentence,
                        target=target,
                        degree=int(degrees[index]),
                        explicit=bool(explicit[at]),
                    )
                    found.setdefault((row, sentence, target), link)
            if len(found) >= limit:
                break
        links += found.values()
    return links


def links_to(layout: Layout, documents: Sequence[int], limit: int) -> list[Link]:
    """Sentences of other documents that name these: by written links first, then by their rarest name."""
    links: list[Link] = []
    for target in documents:
        keys = _answers(layout, target)
        degrees = np.array([len(each) for each in titled(layout, keys)], dtype=np.int64)
        explicit = is_explicit(keys)
        found: dict[tuple[int, int], Link] = {}
        mentions = _mentions(layout, keys, but=target, limit=limit)
        for index in np.lexsort((degrees, ~explicit)).tolist():
            for row, sentence, document in mentions[index]:
                if len(found) >= limit:
                    break
                link = Link(
                    source=document,
                    row=row,
                    sentence=sentence,
                    target=target,
                    degree=int(degrees[index]),
                    explicit=bool(explicit[index]),
                )
                found.setdefault((row, sentence), link)
        links += found.values()
    return links


def shared_names(layout: Layout, documents: Sequence[int], degree: tuple[int, int], limit: int) -> list[Link]:
    """Rare names in sentences of these documents, joined with the sentences of others that hold them."""
    links: list[Link] = []
    for source in documents:
        said = _said(layout, source)
        held = _held_by(layout, said)
        is_wanted = ~is_explicit(said.keys) & (held >= degree[0]) & (held <= degree[1])
        _, names, rows, sentences, _ = said.kept(is_wanted)
        keys, first = np.unique(names, return_index=True)
        degrees = held[is_wanted][first]
        # Each of these names stands in another document too, so no more than `limit` of them are needed.
        rarest = np.lexsort((first, degrees))[:limit]
        mentions = _mentions(layout, keys[rarest], but=source)
        found: list[Link] = []
        for index, others in zip(rarest.tolist(), mentions, strict=True):
            if len(found) >= limit:
                break
            found += [
                Link(
                    source=source,
                    row=int(rows[at]),
                    sentence=int(sentences[at]),
                    target=other.document,
                    target_row=other.row,
                    target_sentence=other.sentence,
                    degree=int(degrees[index]),
                )
                for at in np.flatnonzero(names == keys[index]).tolist()[:limit]
                for other in others[:limit]
            ]
        links += found[:limit]
    return links


def _said(layout: Layout, document: int) -> _Said:
    parts, places = layout.document_places_of(np.array([document]))
    at, place = int(parts[0]), int(places[0])
    segment = layout.parts[at].segment
    first, last = segment.first_sentence[segment.first_row[place : place + 2]].tolist()
    # Of the same type as the array, or numpy would convert all of it.
    start, end = np.searchsorted(segment.said_in, np.array([first, last], dtype=np.int32)).tolist()
    sentences = segment.said_in[start:end]
    chunks = segment.row_of_sentence[sentences]
    return _Said(
        at,
        segment.said[start:end],
        layout.rows_at(at, chunks),
        sentences - segment.first_sentence[chunks],
        segment.said_at[start:end],
    )


def _answered(layout: Layout, said: _Said) -> _Said:
    """The names among them that some document answers to."""
    mask = layout.parts[said.part].segment.is_title[said.places]
    for at, part in enumerate(layout.parts):
        if at != said.part:
            starts, ends = part.segment.titles.slices(said.keys)
            mask = mask | (ends > starts)
    return said.kept(mask)


def _held_by(layout: Layout, said: _Said) -> NDArray[np.int64]:
    """For each name how many documents hold it in a sentence."""
    own = layout.parts[said.part].held_by[said.places].astype(np.int64)
    return own + _spread(layout, said.keys, but=said.part)


def _answers(layout: Layout, document: int) -> Hashes:
    parts, places = layout.document_places_of(np.array([document]))
    segment, place = layout.parts[int(parts[0])].segment, int(places[0])
    return segment.answers[segment.first_answer[place] : segment.first_answer[place + 1]]


def _spread(layout: Layout, keys: Hashes, *, but: int = -1) -> NDArray[np.int64]:
    """For each key how many documents hold it in a sentence, those of one part left out."""
    counts = np.zeros(len(keys), dtype=np.int64)
    for number, part in enumerate(layout.parts):
        known = part.segment.mentions.keys
        if number != but and len(known):
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            counts += np.where(known[at] == keys, part.held_by[at], 0)
    return counts


def _mentions(layout: Layout, keys: Hashes, *, but: int, limit: int | None = None) -> list[list[_Place]]:
    """For each key the sentences that hold it, in order (the first `limit`), those of one document left out."""
    found: list[list[_Place]] = [[] for _ in keys]
    for at, part in enumerate(layout.parts):
        segment = part.segment
        starts, ends = segment.mentions.slices(keys)
        sizes = ends - starts
        if not sizes.any():
            continue
        which = np.repeat(np.arange(len(keys)), sizes)
        numbers = np.concatenate(
            [segment.mentions.numbers[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        )
        chunks = segment.row_of_sentence[numbers]
        rows = layout.rows_at(at, chunks)
        documents = layout.documents_at(at, segment.document_of[chunks])
        kept = np.flatnonzero((rows >= 0) & (documents != but))
        if limit is not None:
            kept = kept[_rank_within(which[kept]) < limit]
        sentences = numbers - segment.first_sentence[chunks]
        columns = (each[kept].tolist() for each in (which, rows, sentences, documents))
        for index, row, sentence, document in zip(*columns, strict=True):
            found[index].append(_Place(row, sentence, document))
    return found


def _rank_within(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2 ... within each run of equal values."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
