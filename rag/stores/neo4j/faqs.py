"""FAQs as nodes; a write that changes a document outdates the answers that cite it, in its own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import orjson

from rag.cache.faq import Faq, PutOutcome
from rag.stores.neo4j.connection import Row, Transaction
from rag.types import Citation

EVERYTHING = "MATCH (f:Faq) RETURN properties(f) ORDER BY f.collection, f.question, f.id"
ONE = "MATCH (f:Faq {id: $id}) RETURN properties(f)"
VERSION = "MATCH (m:Grapevine {id: 0}) RETURN m.faq_version"

_BUMP = "MATCH (m:Grapevine {id: 0}) SET m.writer = true WITH m SET m.faq_version = m.faq_version + 1"


async def put(transaction: Transaction, faq: Faq) -> None:
    """Add it, or replace the one with its id."""
    await _run(transaction, _BUMP)
    await _run(transaction, "MERGE (f:Faq {id: $id}) SET f = $values", id=faq.id, values=properties_of(faq))


async def put_if(transaction: Transaction, faq: Faq, epoch: int, former: Faq | None) -> PutOutcome:
    """The same, if neither the collection's documents nor the FAQ changed meanwhile."""
    await _run(transaction, _BUMP)  # first, so that nobody changes anything from here on
    found = await transaction.run(
        "OPTIONAL MATCH (k:Collection {name: $collection}) OPTIONAL MATCH (f:Faq {id: $id})"
        " RETURN coalesce(k.epoch, 0), f.updated_at",
        collection=faq.collection,
        id=faq.id,
    )
    record = await found.single(strict=True)
    if record[0] != epoch:
        return "documents_changed"
    if record[1] != (former and former.updated_at.isoformat()):
        return "faq_changed"
    await _run(transaction, "MERGE (f:Faq {id: $id}) SET f = $values", id=faq.id, values=properties_of(faq))
    return "stored"


async def remove(transaction: Transaction, faq_id: str) -> Faq | None:
    """Remove and return it; None if there is none."""
    await _run(transaction, _BUMP)
    found = await transaction.run(
        "MATCH (f:Faq {id: $id}) WITH f, properties(f) AS values DELETE f RETURN values", id=faq_id
    )
    record = await found.single()
    return None if record is None else faq_of(record[0])


async def outdate(transaction: Transaction, collection: str, ids: Sequence[str]) -> None:
    """Mark the answers that cite one of these documents."""
    if ids:
        await _run(
            transaction,
            "MATCH (f:Faq) WHERE NOT f.is_stale AND any(cited IN f.cites WHERE cited IN $changed)"
            " SET f.is_stale = true WITH count(f) AS outdated WHERE outdated > 0 "
            "MATCH (m:Grapevine {id: 0}) SET m.faq_version = m.faq_version + 1",
            changed=[_cited(collection, each) for each in ids],
        )


def all_of(rows: Sequence[Row]) -> tuple[Faq, ...]:
    """From the rows of `EVERYTHING`."""
    return tuple(faq_of(row[0]) for row in rows)


def faq_of(values: dict[str, Any]) -> Faq:
    """From a node's properties."""
    until = values.get("valid_until")
    return Faq(
        id=values["id"],
        collection=values["collection"],
        language=values["language"],
        kind="curated" if values["kind"] == "curated" else "warmed",
        question=values["question"],
        paraphrases=tuple(values["paraphrases"]),
        answer=values["answer"],
        citations=tuple(Citation(**citation) for citation in orjson.loads(values["citations"])),
        valid_until=date.fromisoformat(until) if until else None,
        is_stale=values["is_stale"],
        updated_at=datetime.fromisoformat(values["updated_at"]),
    )


def properties_of(faq: Faq) -> dict[str, Any]:
    return {
        "id": faq.id,
        "collection": faq.collection,
        "language": faq.language,
        "kind": faq.kind,
        "question": faq.question,
        "paraphrases": list(faq.paraphrases),
        "answer": faq.answer,
        "citations": orjson.dumps([asdict(citation) for citation in faq.citations]).decode(),
        "cites": [_cited(citation.collection, citation.document) for citation in faq.citations],
        "valid_until": faq.valid_until and faq.valid_until.isoformat(),
        "is_stale": faq.is_stale,
        "updated_at": faq.updated_at.isoformat(),
    }


def _cited(collection: str, document: str) -> str:
    return f"{collection}/{document}"


async def _run(transaction: Transaction, query: str, **parameters: Any) -> None:
    result = await transaction.run(query, parameters)
    await result.consume()
