"""What goes between the ingest and its parsing processes: a length and a pickle, both ways."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from rag.records import Chunk, Document

CHUNKS_PER_FRAME = 32
"""Unpickling holds the interpreter; a frame of this size holds it for about a millisecond."""

_LENGTH = struct.Struct(">I")
LENGTH_BYTES = _LENGTH.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to read."""

    path: str
    file_id: str
    collection: str
    source: str
    max_bytes: int
    is_known: bool
    """Whether the store holds a complete version of this file, made of the content `known` names."""
    known: frozenset[str]
    """Content hashes of what the store holds of this file."""


class Begun(NamedTuple):
    """A document follows; its chunks come in frames of their own."""

    document: Document
    warnings: tuple[str, ...]
    is_own: bool
    """Whether the document carries an id of its own (jsonl) rather than its file's."""


class More(NamedTuple):
    """Further chunks of the document under way."""

    chunks: tuple[Chunk, ...]


class Complete(NamedTuple):
    """The document under way has all its chunks."""


class Same(NamedTuple):
    """A document that the store already holds exactly so."""

    id: str


class Trouble(NamedTuple):
    """A part of the file could not be read."""

    line: str


class Finished(NamedTuple):
    """The file is done; `error` says why nothing (more) could be read of it."""

    is_unchanged: bool = False
    error: str | None = None
    is_exhausted: bool = False
    """The process ran out of memory and should not be used again."""


Frame = Begun | More | Complete | Same | Trouble | Finished


def packed(message: Any) -> bytes:
    """The bytes of one message, its length first."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def length_of(header: bytes) -> int:
    """How many bytes follow `header`."""
    size: int = _LENGTH.unpack(header)[0]
    return size


def unpacked(body: bytes) -> Any:
    """The message in `body`. Only ever our own child's words: same program, same user, same machine."""
    return pickle.loads(body)  # noqa: S301 - see the docstring


def read_message(stream: BinaryIO) -> Any | None:
    """The next message; None at the end of the stream. Blocks."""
    header = stream.read(LENGTH_BYTES)
    if len(header) < LENGTH_BYTES:
        return None
    return unpacked(stream.read(length_of(header)))
