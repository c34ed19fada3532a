"""The tables of `knowledge.db`, their version, and the values that belong to the store as a whole.

A document's rows go when it goes: everything below `documents` hangs on it by a cascading key.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rag.errors import EmbeddingMismatch, StoreTooNew
from rag.stores import extracted
from rag.stores.connection import damaged, explained, transaction

VERSION = 1
APPLICATION_ID = 0x47525056
"""`GRPV`, so that somebody else's SQLite file is not mistaken for ours."""

_TABLES = """
-- Values of the whole store; see the functions below.
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- The epoch of a collection's last change. A name stays when its last document goes: epochs never run backwards.
CREATE TABLE collections (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number is never used twice, so readers find what is new above the highest number they know.
CREATE TABLE documents (
    doc INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL,
    file TEXT NOT NULL, title TEXT NOT NULL, url TEXT, language TEXT NOT NULL,
    valid_from TEXT, valid_until TEXT,
    content_hash TEXT NOT NULL, size INTEGER NOT NULL, updated_at TEXT NOT NULL, chunks INTEGER NOT NULL,
    names TEXT NOT NULL, name_hashes BLOB NOT NULL, title_terms TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX document_identity ON documents (collection, source, id);
CREATE INDEX documents_of_collection ON documents (collection, doc);

CREATE TABLE chunks (
    chunk INTEGER PRIMARY KEY AUTOINCREMENT,
    doc INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, ordinal INTEGER NOT NULL,
    passage_id TEXT NOT NULL, text TEXT NOT NULL, heading TEXT NOT NULL, page INTEGER, language TEXT NOT NULL,
    digest TEXT NOT NULL,
    embedding_head TEXT,         -- the embedding text is this and the text ...
    embedding_text TEXT,         -- ... or this, where it does not end with the text
    length INTEGER NOT NULL,
    terms BLOB NOT NULL,         -- uint64 hashes, and
    counts BLOB NOT NULL,        -- uint16 counts, of the terms with diacritics kept
    folded_terms BLOB,           -- the same without diacritics; null where nothing differs
    folded_counts BLOB,
    spans BLOB NOT NULL,         -- int32 pairs: where each sentence begins and ends
    names TEXT,                  -- JSON: per sentence the keys it names; null where there are none
    name_hashes BLOB NOT NULL,   -- uint64, and
    name_sentences BLOB NOT NULL -- uint16 index of the sentence
) STRICT;
CREATE UNIQUE INDEX chunk_place ON chunks (doc, ordinal);
CREATE UNIQUE INDEX chunk_passage ON chunks (passage_id);
CREATE INDEX chunk_digest ON chunks (digest);

-- Fixed point, see rag/stores/vectors.py. Numbered by arrival, so that readers find the ones they lack.
CREATE TABLE vectors (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    chunk INTEGER NOT NULL UNIQUE REFERENCES chunks ON DELETE CASCADE,
    vector BLOB NOT NULL,        -- int16
    sentences BLOB NOT NULL,     -- int8, one row per sentence, and
    scales BLOB NOT NULL         -- float32 scale of each
) STRICT;

-- Chunks without vectors.
CREATE TABLE pending (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    doc INTEGER NOT NULL
) STRICT;
CREATE INDEX pending_of_document ON pending (doc);

-- What readers have to forget; only the latest are kept, `removed_floor` in meta says from where on.
CREATE TABLE removed (seq INTEGER PRIMARY KEY AUTOINCREMENT, doc INTEGER NOT NULL) STRICT;

CREATE TABLE faqs (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, language TEXT NOT NULL, kind TEXT NOT NULL,
    question TEXT NOT NULL, paraphrases TEXT NOT NULL, answer TEXT NOT NULL, citations TEXT NOT NULL,
    valid_until TEXT, is_stale INTEGER NOT NULL, updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE faq_cites (
    collection TEXT NOT NULL, document TEXT NOT NULL, faq TEXT NOT NULL REFERENCES faqs ON DELETE CASCADE,
    PRIMARY KEY (collection, document, faq)
) STRICT, WITHOUT ROWID;
CREATE INDEX faq_citing ON faq_cites (faq);

-- A replaced document is deleted and inserted, so this fires for changed and for removed ones, in their transaction.
CREATE TRIGGER faq_outdated AFTER DELETE ON documents BEGIN
    UPDATE faqs SET is_stale = 1 WHERE is_stale = 0 AND id IN
        (SELECT faq FROM faq_cites WHERE collection = OLD.collection AND document = OLD.id); END;

CREATE TRIGGER faq_added AFTER INSERT ON faqs BEGIN
    INSERT INTO meta VALUES ('faq_version', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1; END;
CREATE TRIGGER faq_changed AFTER UPDATE ON faqs BEGIN
    INSERT INTO meta VALUES ('faq_version', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1; END;
CREATE TRIGGER faq_removed AFTER DELETE ON faqs BEGIN
    INSERT INTO meta VALUES ('faq_version', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1; END;
"""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in an empty file; check version and owner of any other.

    Raises `StoreTooNew`, `StoreCorrupt`, `StoreUnavailable`.
    """
    with explained(path):
        if _is_ours(connection, path):
            connection.execute(extracted.TABLE)
            return
        with transaction(connection):
            if _is_ours(connection, path):  # another process was quicker
                return
            for statement in (*_TABLES.split(";\n"), extracted.TABLE):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={VERSION}")


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """False for an empty file."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if owner == 0 and version == 0 and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        return False
    if owner != APPLICATION_ID:
        raise damaged(path, "it is a database, but not a knowledge store")
    if version > VERSION:
        raise StoreTooNew(
            f"{path} was written by a newer version of Grapevine (its format is {version}, this version reads "
            f"{VERSION}). Update Grapevine, or move the file away and run `grapevine ingest` again."
        )
    return True


def bump(connection: sqlite3.Connection, collections: set[str]) -> int:
    """Count one more change and mark these collections with it. Belongs into the transaction of the change."""
    epoch = 1 + int(meta(connection, "epoch") or 0)
    set_meta(connection, "epoch", epoch)
    connection.executemany("INSERT OR REPLACE INTO collections VALUES (?, ?)", [(name, epoch) for name in collections])
    return epoch


def meta(connection: sqlite3.Connection, key: str) -> int | str | None:
    """A value of the whole store."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def set_meta(connection: sqlite3.Connection, key: str, value: int | str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def embedding(connection: sqlite3.Connection) -> tuple[str, int] | None:
    """Name and dimensions of the model that the vectors come from; None as long as there are none."""
    name = meta(connection, "embedding_model")
    return None if name is None else (str(name), int(meta(connection, "embedding_dimensions") or 0))


def check_embedding(connection: sqlite3.Connection, name: str, dimensions: int) -> None:
    """Raises `EmbeddingMismatch` unless the store is empty of vectors or holds this model's."""
    known = embedding(connection)
    if known is not None and known != (name, dimensions):
        raise EmbeddingMismatch(
            f"the stored vectors come from {known[0]} ({known[1]} dimensions), not from {name} ({dimensions}). "
            f"Set EMBEDDING_MODEL back, or run `grapevine ingest --re-embed` to compute them anew."
        )
