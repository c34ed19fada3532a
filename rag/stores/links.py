"""Bridges between documents, joined when asked: names in sentences with the names that documents answer to.

Everything is bounded by the chunks asked for and by `limit`, never by how popular a name is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag.retrieval.candidates import MAX_PLACES
from rag.retrieval.view import Link
from rag.stores.encoding import Hashes, is_explicit
from rag.stores.layout import Layout
from rag.stores.textindex import Numbers


class _Said(NamedTuple):
    """The names in the sentences of some chunks of one part of the layout, chunk by chunk: parallel arrays."""

    part: int
    keys: Hashes
    rows: Numbers
    documents: Numbers
    sentences: Numbers
    """Index within the chunk."""
    places: Numbers
    """Among the keys of the part's `mentions`."""

    def kept(self, mask: NDArray[np.bool_]) -> _Said:
        """Those of them."""
        return _Said(
            self.part,
            self.keys[mask],
            self.rows[mask],
            self.documents[mask],
            self.sentences[mask],
            self.places[mask],
        )


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


def links_from(layout: Layout, rows: Sequence[int], limit: int) -> list[Link]:
    """Sentences of these chunks that name other documents: written links first, then the names that fewest answer to.

    At most `limit` of one document.
    """
    links: list[Link] = []
    for said in (_answered(layout, each) for each in _said(layout, rows)):
        keys, indexes = np.unique(said.keys, return_inverse=True)
        targets = [each.tolist() for each in titled(layout, keys)]
        degrees = np.array([len(each) for each in targets], dtype=np.int64)[indexes]
        explicit = is_explicit(said.keys)
        found: dict[int, dict[tuple[int, int, int], Link]] = {}
        for at in np.lexsort((degrees, ~explicit)).tolist():
            source, row, sentence = int(said.documents[at]), int(said.rows[at]), int(said.sentences[at])
            mine = found.setdefault(source, {})
            for target in targets[indexes[at]][: limit + 1]:
                if target != source and len(mine) < limit:
                    link = Link(
                        source=source,
                        row=row,
                        sentence=sentence,
                        target=target,
                        degree=int(degrees[at]),
                        explicit=bool(explicit[at]),
                    )
                    mine.setdefault((row, sentence, target), link)
        links += [link for source in sorted(found) for link in found[source].values()]
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


def shared_names(layout: Layout, rows: Sequence[int], degree: tuple[int, int], limit: int) -> list[Link]:
    """Rare names in sentences of these chunks, joined with the sentences of other documents that hold them."""
    links: list[Link] = []
    for said in _said(layout, rows):
        held = _held_by(layout, said)
        is_wanted = ~is_explicit(said.keys) & (held >= degree[0]) & (held <= degree[1])
        is_wanted &= _places(layout, said) <= MAX_PLACES
        degrees, said = held[is_wanted], said.kept(is_wanted)  # noqa: PLW2901 - the others are of no use
        # Each of these names stands in another document too, so no more than `limit` of them are needed.
        order = np.lexsort((np.arange(len(degrees)), degrees))
        chosen: dict[int, dict[int, list[int]]] = {}
        for at, document, key in zip(
            order.tolist(), said.documents[order].tolist(), said.keys[order].tolist(), strict=True
        ):
            mine = chosen.setdefault(document, {})
            if key in mine or len(mine) < limit:
                mine.setdefault(key, []).append(at)
        keys = np.array(sorted({key for mine in chosen.values() for key in mine}), dtype=said.keys.dtype)
        mentions = dict(zip(keys.tolist(), _mentions(layout, keys), strict=True))
        for source, mine in sorted(chosen.items()):
            found = [
                Link(
                    source=source,
                    row=int(said.rows[at]),
                    sentence=int(said.sentences[at]),
                    target=other.document,
                    target_row=other.row,
                    target_sentence=other.sentence,
                    degree=int(degrees[at]),
                )
                for key, places in mine.items()
                for at in places[:limit]
                for other in [other for other in mentions[key] if other.document != source][:limit]
            ]
            links += found[:limit]
    return links


def _said(layout: Layout, rows: Sequence[int]) -> list[_Said]:
    """What these chunks name, by part of the layout."""
    found: list[_Said] = []
    numbers = np.sort(np.asarray(rows, dtype=np.int64))
    parts, chunks = layout.places_of(numbers)
    for at in dict.fromkeys(parts.tolist()):
        here = parts == at
        places = chunks[here]
        segment = layout.parts[at].segment
        # Of the same type as the array, or numpy would convert all of it.
        first, last = segment.first_sentence[places], segment.first_sentence[places + 1]
        starts, ends = np.searchsorted(segment.said_in, np.stack([first, last]).astype(np.int32))
        sizes = ends - starts
        which = np.repeat(np.arange(len(places)), sizes)
        taken = np.arange(len(which)) + (starts - np.cumsum(sizes) + sizes)[which]
        found.append(
            _Said(
                at,
                segment.said[taken],
                numbers[here][which].astype(np.int32),
                layout.documents_at(at, segment.document_of[places])[which],
                segment.said_in[taken] - first[which],
                segment.said_at[taken],
            )
        )
    return found


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


def _places(layout: Layout, said: _Said) -> NDArray[np.int64]:
    """For each name in how many sentences it stands."""
    total = np.zeros(len(said.keys), dtype=np.int64)
    for at, part in enumerate(layout.parts):
        mentions = part.segment.mentions
        if at == said.part:
            total += mentions.first[said.places + 1] - mentions.first[said.places]
        else:
            starts, ends = mentions.slices(said.keys)
            total += ends - starts
    return total


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


def _mentions(layout: Layout, keys: Hashes, *, but: int = -1, limit: int | None = None) -> list[list[_Place]]:
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
