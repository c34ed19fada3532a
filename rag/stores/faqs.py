"""FAQs in `knowledge.db`: functions of one connection. Triggers outdate an answer with the documents that it cites."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from datetime import date, datetime

import orjson

from rag.cache.faq import Faq, PutOutcome
from rag.stores import reader
from rag.stores.connection import transaction
from rag.stores.schema import meta
from rag.types import Citation


def put(connection: sqlite3.Connection, faq: Faq) -> None:
    """Add it, or replace the one with its id."""
    with transaction(connection):
        _write(connection, faq)


def put_if(connection: sqlite3.Connection, faq: Faq, epoch: int, former: Faq | None) -> PutOutcome:
    """The same, if neither the collection's documents nor the FAQ changed meanwhile."""
    with transaction(connection):
        if reader.epoch(connection, frozenset({faq.collection})) != epoch:
            return "documents_changed"
        row = connection.execute("SELECT updated_at FROM faqs WHERE id = ?", (faq.id,)).fetchone()
        if (row and row[0]) != (former and former.updated_at.isoformat()):
            return "faq_changed"
        _write(connection, faq)
    return "stored"


def _write(connection: sqlite3.Connection, faq: Faq) -> None:
    connection.execute("DELETE FROM faqs WHERE id = ?", (faq.id,))
    connection.execute(
        "INSERT INTO faqs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(faq.id, faq.collection, faq.language, faq.kind, faq.question),
            orjson.dumps(faq.paraphrases).decode(),
            faq.answer,
            orjson.dumps([asdict(citation) for citation in faq.citations]).decode(),
            faq.valid_until and faq.valid_until.isoformat(),
            int(faq.is_stale),
            faq.updated_at.isoformat(),
        ),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO faq_cites VALUES (?, ?, ?)",
        [(citation.collection, citation.document, faq.id) for citation in faq.citations],
    )


def remove(connection: sqlite3.Connection, faq_id: str) -> Faq | None:
    """Remove and return it; None if there is none."""
    with transaction(connection):
        row = connection.execute("SELECT * FROM faqs WHERE id = ?", (faq_id,)).fetchone()
        connection.execute("DELETE FROM faqs WHERE id = ?", (faq_id,))
    return None if row is None else _faq(row)


def one(connection: sqlite3.Connection, faq_id: str) -> Faq | None:
    """The one with this id; None if there is none."""
    row = connection.execute("SELECT * FROM faqs WHERE id = ?", (faq_id,)).fetchone()
    return None if row is None else _faq(row)


def everything(connection: sqlite3.Connection) -> tuple[Faq, ...]:
    """All of them, in order of (collection, question)."""
    return tuple(map(_faq, connection.execute("SELECT * FROM faqs ORDER BY collection, question, id")))


def version(connection: sqlite3.Connection) -> int:
    """Grows with every change to any FAQ."""
    return int(meta(connection, "faq_version") or 0)


def _faq(row: tuple[str, ...]) -> Faq:
    id_, collection, language, kind, question, paraphrases, answer, citations, until, is_stale, updated_at = row
    return Faq(
        id=id_,
        collection=collection,
        language=language,
        kind="curated" if kind == "curated" else "warmed",
        question=question,
        paraphrases=tuple(orjson.loads(paraphrases)),
        answer=answer,
        citations=tuple(Citation(**citation) for citation in orjson.loads(citations)),
        valid_until=date.fromisoformat(until) if until else None,
        is_stale=bool(is_stale),
        updated_at=datetime.fromisoformat(updated_at),
    )
