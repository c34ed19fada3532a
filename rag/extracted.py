"""What a language model found in a chunk, and the names that its sentences get from it.

It is kept with the chunk and goes with it: when a document is removed or its text changes, so does all that was found
there. Chunks of equal text in one collection share it, as they share vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from rag.analyse import analyse
from rag.errors import InputError
from rag.ingest.extract import MAX_NAMES, name_key
from rag.records import Chunk, Document, Key

MAX_KEYS = MAX_NAMES + 20
"""Keys of one sentence, those that were found without a model first."""
Keys = tuple[tuple[Key, ...], ...]
"""By sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadChunk:
    """A chunk that no model has read."""

    key: int
    """What the next page begins above."""
    digest: str
    head: str
    """Its title and heading, as far as the digest depends on them."""
    sentences: tuple[str, ...]
    document: str
    """For messages."""


class Entity(NamedTuple):
    """Something that has a name."""

    name: str
    aliases: tuple[str, ...]
    """Other names for it in the same passage."""
    sentences: tuple[int, ...]
    """Where it is spoken of, by whatever word."""


class Relation(NamedTuple):
    """What one sentence says about two of them."""

    subject: str
    relation: str
    object: str
    sentence: int


class Found(NamedTuple):
    """All of a chunk."""

    sentences: int
    """How many the chunk has."""
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    keys: Keys = ()
    """What each sentence is to be found by; empty where there is nothing, or nothing decided yet for the collection."""
    base: Keys = ()
    """What they name without a model, as soon as `keys` were added to that."""


class Related(NamedTuple):
    """A relation between keys."""

    subject: Key
    relation: str
    object: Key


_FOUND = TypeAdapter(Found)


def encoded(found: Found) -> str:
    """As a store and an export keep it."""
    return _FOUND.dump_json(found).decode()


def decoded(text: str) -> Found:
    """The reverse. Raises `InputError` for what `encoded` did not write."""
    try:
        found = _FOUND.validate_json(text)
    except ValidationError:
        found = None
    if found is None or not _fits(found):
        raise InputError("what a language model is said to have found is not in the form that it is kept in")
    return found


def _fits(found: Found) -> bool:
    said = [at for entity in found.entities for at in entity.sentences]
    said += [relation.sentence for relation in found.relations]
    return all(0 <= at < found.sentences for at in said) and all(
        len(each) in {0, found.sentences} for each in (found.keys, found.base)
    )


def marked_key(name: str) -> Key:
    """What `name` is called by where its diacritics tell it from another."""
    return " ".join(analyse(name).marked)


def applied(chunk: Chunk, found: Found, keys: Keys) -> Chunk:
    """`chunk` with `keys` instead of those that an earlier call added to its sentences."""
    base = found.base or tuple(sentence.names for sentence in chunk.sentences)
    sentences = tuple(
        sentence._replace(names=tuple(dict.fromkeys((*own, *added)))[: max(MAX_KEYS, len(own))])
        for sentence, own, added in zip(chunk.sentences, base, keys or ((),) * len(base), strict=True)
    )
    return chunk._replace(sentences=sentences, extracted=encoded(found._replace(keys=keys, base=base)))


def carried(chunk: Chunk, extracted: str | None) -> Chunk:
    """`chunk`, read anew from its file, with what was found in a chunk of the same digest."""
    if extracted is None or chunk.extracted is not None:
        return chunk
    found = decoded(extracted)
    if not found.keys:
        return chunk._replace(extracted=extracted)
    return applied(chunk, found._replace(base=()), found.keys)


def with_found(document: Document, extracted: Mapping[str, str]) -> Document:
    """`document` with what was found, by digest, in chunks that it shares."""
    if not extracted:
        return document
    return replace(document, chunks=tuple(carried(chunk, extracted.get(chunk.digest)) for chunk in document.chunks))


def related(extracted: str | None) -> Iterator[Related]:
    """The relations of a chunk, each pair of keys once, between names that its sentences really got."""
    if extracted is None:
        return
    found = decoded(extracted)
    seen = set()
    for relation in found.relations:
        held = found.keys[relation.sentence] if found.keys else ()
        ends = [
            next((key for key in (name_key(name), marked_key(name)) if key in held), None)
            for name in (relation.subject, relation.object)
        ]
        if ends[0] is not None and ends[1] is not None and ends[0] != ends[1]:
            made = Related(ends[0], relation.relation, ends[1])
            if made not in seen:
                seen.add(made)
                yield made
