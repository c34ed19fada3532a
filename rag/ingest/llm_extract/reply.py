"""What the model answered, checked: its form by pydantic, every name against the text that it claims to be from.

A name that does not stand in the passage, its title or its heading is dropped. So what is kept depends on nothing but
the chunk (equal chunks may share it), and a document can plant no name in another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from rag.extracted import Entity, Found, Relation, UnreadChunk
from rag.ingest.extract import MAX_WORDS, name_key

_ENTITIES, _RELATIONS, _ALIASES = 40, 40, 4
_FENCE = re.compile(r"^\s*```\w*\s*|\s*```\s*$")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

_Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _EntityPart(_Part):
    name: _Name
    aliases: list[_Name] = []
    sentences: list[int] = []


class _RelationPart(_Part):
    subject: _Name
    relation: _Name
    object: _Name
    sentence: int


class _PassagePart(_Part):
    n: int
    entities: list[_EntityPart] = Field(default_factory=list)
    relations: list[_RelationPart] = Field(default_factory=list)


def read(text: str, chunks: Sequence[UnreadChunk]) -> dict[str, Found]:
    """By digest, what was found in each of these chunks; those without a valid part in the answer are missing."""
    try:
        answer: Any = orjson.loads(_FENCE.sub("", text))
    except orjson.JSONDecodeError:
        return {}
    parts = answer.get("passages") if isinstance(answer, dict) else None
    found: dict[str, Found] = {}
    for each in parts if isinstance(parts, list) else ():
        try:
            part = _PassagePart.model_validate(each)
        except ValidationError:
            continue
        if 1 <= part.n <= len(chunks):
            chunk = chunks[part.n - 1]
            found[chunk.digest] = _grounded(part, chunk)
    return found


def _grounded(part: _PassagePart, chunk: UnreadChunk) -> Found:
    keys = [f" {name_key(sentence)} " for sentence in chunk.sentences]
    everything = f" {name_key(chunk.head)} {''.join(keys)}"
    count = len(chunk.sentences)
    entities: dict[str, Entity] = {}
    for each in part.entities[:_ENTITIES]:
        if not _stands(each.name, everything):
            continue
        aliases = [alias for alias in dict.fromkeys(each.aliases) if alias != each.name and _stands(alias, everything)]
        said = {at for at in each.sentences if 0 <= at < count}
        said |= {at for at in range(count) if any(_stands(name, keys[at]) for name in (each.name, *aliases))}
        entity = Entity(each.name, tuple(aliases[:_ALIASES]), tuple(sorted(said)))
        if said:
            entities.setdefault(name_key(each.name), entity)
    relations = [
        Relation(each.subject, each.relation[:100], each.object, each.sentence)
        for each in part.relations[:_RELATIONS]
        if 0 <= each.sentence < count and all(_stands(name, everything) for name in (each.subject, each.object))
    ]
    return Found(count, entities=tuple(entities.values()), relations=tuple(dict.fromkeys(relations)))


def _stands(name: str, keys: str) -> bool:
    """Whether `name` stands in a text, whatever its case and diacritics; `keys`: the text's words as keys."""
    key = name_key(name)
    if len(key) < 2 or key.count(" ") >= MAX_WORDS:
        return False
    return f" {key} " in keys or (_UNSPACED.search(key) is not None and key in keys)
