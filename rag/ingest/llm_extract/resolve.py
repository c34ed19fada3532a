"""Which keys the sentences of a collection get: one for all spellings of a name, but two where marks tell two apart.

Keys ignore case and diacritics (`rag.ingest.extract.name_key`), so "Bảo hiểm Xe Máy" and "bao hiem xe may" are one.
Where a collection has two spellings with different diacritics ("Hòa Bình", "Hoa Bình"), each keeps its own key, and
what was typed without any stays apart from both: nobody can tell which one is meant. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from rag.extracted import Found, Keys, marked_key
from rag.ingest.extract import name_key
from rag.records import Key


def resolved(found: Mapping[str, Found]) -> dict[str, Keys]:
    """By digest, the keys of each sentence; empty where no sentence has any."""
    ambiguous = _ambiguous(name for each in found.values() for name in _names(each))

    def key_of(name: str) -> Key:
        key = name_key(name)
        return marked_key(name) if key in ambiguous and not name.isascii() else key

    result: dict[str, Keys] = {}
    for digest, each in found.items():
        keys: list[dict[Key, None]] = [{} for _ in range(each.sentences)]
        names: dict[Key, list[Key]] = {}
        for entity in each.entities:
            called = [key_of(name) for name in (entity.name, *entity.aliases)]
            names.update(dict.fromkeys(called, called))
            for at in entity.sentences:
                keys[at].update(dict.fromkeys(called))
        for relation in each.relations:
            for end in map(key_of, (relation.subject, relation.object)):
                keys[relation.sentence].update(dict.fromkeys(names.get(end, [end])))
        result[digest] = tuple(map(tuple, keys)) if any(keys) else ()
    return result


def _names(found: Found) -> Iterable[str]:
    for entity in found.entities:
        yield entity.name
        yield from entity.aliases
    for relation in found.relations:
        yield relation.subject
        yield relation.object


def _ambiguous(names: Iterable[str]) -> frozenset[Key]:
    spellings: defaultdict[Key, set[Key]] = defaultdict(set)
    for name in set(names):
        if not name.isascii():
            spellings[name_key(name)].add(marked_key(name))
    return frozenset(key for key, marked in spellings.items() if len(marked) > 1)
