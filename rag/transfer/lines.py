"""The lines of an export: JSON objects of a `kind` each, checked as data from outside.

    {"kind": "header", "format": 1, "embedding": {"model": "minilm", "dimensions": 384}, "documents": 2, ...}
    {"kind": "document", "collection": "public", "source": ..., "id": ..., "chunks": [{"text": ..., "vector": ...}]}
    {"kind": "faq", "id": ..., "question": ..., "answer": ...}
    {"kind": "end", "documents": 2, "chunks": 17, "faqs": 1}

A document is one line, so that a line that was read is a document that can be written whole. Index terms are not in
it: they follow from the texts. Vectors are little-endian numbers in base64: the chunk's as int16 (`vector`) or float32
(`floats`), its sentences' as int8 rows with a float32 scale each.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rag.analyse import analyse
from rag.cache.faq import Faq
from rag.errors import InputError, StoreTooNew
from rag.extracted import decoded
from rag.ingest.chunk import index_terms
from rag.ingest.discover import check_collection
from rag.records import Chunk, Document, Sentence
from rag.stores.vectors import MAX_DIMENSIONS, Quantised
from rag.transfer.ports import Dumped, Embedding, StoredVectors
from rag.types import Citation

FORMAT = 1
_MAX_SENTENCES = 65_535
"""Stores number the sentences of a chunk with 16 bits."""


_Collection = Annotated[str, AfterValidator(check_collection)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class EmbeddingLine(_Line):
    """The model of the vectors."""

    model: str = Field(min_length=1)
    dimensions: int = Field(gt=0, le=MAX_DIMENSIONS)


class Header(_Line):
    """The first line. The numbers say how much is to come, as far as it was known at the beginning."""

    kind: Literal["header"] = "header"
    format: int
    embedding: EmbeddingLine | None
    collections: tuple[str, ...]
    documents: int
    chunks: int

    @property
    def model(self) -> Embedding | None:
        return None if self.embedding is None else Embedding(self.embedding.model, self.embedding.dimensions)


class ChunkLine(_Line):
    """A chunk, its sentences as [start, end, name, ...], and its vectors."""

    text: str
    heading: str
    page: int | None = None
    language: str
    digest: str
    embedding_text: str | None = None
    """None: the text itself."""
    sentences: tuple[tuple[int | str, ...], ...] = Field(min_length=1, max_length=_MAX_SENTENCES)
    extracted: str | None = None
    """What a language model found in it, as `rag.extracted` says."""
    vector: str | None = None
    floats: str | None = None
    rows: str | None = None
    scales: str | None = None


class DocumentLine(_Line):
    """A document with everything that belongs to it."""

    kind: Literal["document"] = "document"
    collection: _Collection
    source: str
    id: str = Field(min_length=1)
    file: str
    title: str
    url: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    language: str
    content_hash: str
    size: int = Field(ge=0)
    names: tuple[str, ...]
    chunks: tuple[ChunkLine, ...]


class CitationLine(_Line):
    """A source of a FAQ's answer."""

    n: int
    document: str
    title: str
    collection: str
    passage_id: str
    page: int | None = None
    url: str | None = None


class FaqLine(_Line):
    """A FAQ, as `rag.cache.faq.Faq` says."""

    kind: Literal["faq"] = "faq"
    id: str = Field(min_length=1)
    collection: _Collection
    language: str
    origin: Literal["curated", "warmed"]
    question: str = Field(min_length=1)
    paraphrases: tuple[str, ...]
    answer: str = Field(min_length=1)
    citations: tuple[CitationLine, ...]
    valid_until: date | None = None
    is_stale: bool
    updated_at: datetime


class End(_Line):
    """The last line: a file without it was cut off."""

    kind: Literal["end"] = "end"
    documents: int
    chunks: int
    faqs: int


AnyLine = Header | DocumentLine | FaqLine | End
_LINES: TypeAdapter[AnyLine] = TypeAdapter(Annotated[AnyLine, Field(discriminator="kind")])


def read_line(line: bytes) -> AnyLine:
    """One line. Raises `InputError` without saying where, `StoreTooNew`."""
    try:
        return _LINES.validate_json(line)
    except ValidationError as error:
        _check_format(line)
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        raise InputError(f"{place + ': ' if place else ''}{first['msg']}") from None


def _check_format(line: bytes) -> None:
    """A later format may have other fields: it is named rather than the first of them."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    if isinstance(found, dict) and found.get("kind") == "header":
        check_version(found.get("format"))


def check_version(number: object) -> None:
    """Raises `StoreTooNew` for a format that this version does not read."""
    if isinstance(number, int) and number > FORMAT:
        raise StoreTooNew(
            f"it was exported by a newer version of Grapevine (format {number}, this version reads {FORMAT}): "
            "update Grapevine"
        )


def document_line(dumped: Dumped) -> bytes:
    """A document and its vectors as a line."""
    document = dumped.document
    chunks = [_chunk_fields(chunk, vectors) for chunk, vectors in zip(document.chunks, dumped.vectors, strict=True)]
    fields = ("collection", "source", "id", "file", "title", "url", "valid_from", "valid_until", "language")
    values = {name: getattr(document, name) for name in (*fields, "content_hash", "size", "names")}
    return _line({"kind": "document"} | values | {"chunks": chunks})


def _chunk_fields(chunk: Chunk, vectors: StoredVectors | None) -> dict[str, Any]:
    return {
        "text": chunk.text,
        "heading": chunk.heading,
        "page": chunk.page,
        "language": chunk.language,
        "digest": chunk.digest,
        "embedding_text": None if chunk.embedding_text == chunk.text else chunk.embedding_text,
        "sentences": [(sentence.start, sentence.end, *sentence.names) for sentence in chunk.sentences],
    } | (
        ({} if chunk.extracted is None else {"extracted": chunk.extracted})
        | ({} if vectors is None else _vector_fields(vectors))
    )


def _vector_fields(vectors: StoredVectors) -> dict[str, str]:
    is_fixed = vectors.chunk.dtype == np.int16
    return {
        "vector" if is_fixed else "floats": _encoded(vectors.chunk.astype("<i2" if is_fixed else "<f4")),
        "rows": _encoded(vectors.sentences.rows),
        "scales": _encoded(vectors.sentences.scales.astype("<f4")),
    }


def dumped_of(line: DocumentLine, embedding: Embedding | None) -> Dumped:
    """The document of a line, without its terms. Raises `InputError`."""
    chunks = tuple(_chunk(ordinal, each) for ordinal, each in enumerate(line.chunks))
    fields = ("collection", "source", "id", "file", "title", "url", "valid_from", "valid_until", "language")
    values = {name: getattr(line, name) for name in (*fields, "content_hash", "size", "names")}
    document = Document(chunks=chunks, title_terms=(), **values)
    return Dumped(document=document, vectors=tuple(_vectors(each, embedding) for each in line.chunks))


def with_terms(dumped: Dumped) -> Dumped:
    """The same, ready to be written: its index terms as ingest would have made them."""
    document = dumped.document
    chunks = []
    for chunk in document.chunks:
        marked, folded, length = index_terms(document.title, chunk.heading, chunk.text)
        chunks.append(chunk._replace(marked=marked, folded=folded, length=length))
    values = {name: getattr(document, name) for name in Document.__dataclass_fields__}
    values |= {"chunks": tuple(chunks), "title_terms": analyse(document.title).folded}
    return Dumped(document=Document(**values), vectors=dumped.vectors)


def _chunk(ordinal: int, line: ChunkLine) -> Chunk:
    return Chunk(
        ordinal=ordinal,
        text=line.text,
        heading=line.heading,
        page=line.page,
        language=line.language,
        marked=(),
        folded=(),
        length=0,
        sentences=_sentences(line.sentences, len(line.text)),
        embedding_text=line.text if line.embedding_text is None else line.embedding_text,
        digest=line.digest,
        extracted=_extracted(line),
    )


def _sentences(rows: Sequence[tuple[int | str, ...]], length: int) -> tuple[Sentence, ...]:
    found, at = [], 0
    for row in rows:
        start, end, *names = row if len(row) > 1 else (None, None)
        if not isinstance(start, int) or not isinstance(end, int) or not at <= start <= end <= length:
            raise InputError("a sentence is not [start, end, name, ...] in order and within its chunk")
        if any(not isinstance(name, str) for name in names):
            raise InputError("the name in a sentence is not text")
        found.append(Sentence(start, end, tuple(map(str, names))))
        at = end
    return tuple(found)


def _extracted(line: ChunkLine) -> str | None:
    if line.extracted is not None and decoded(line.extracted).sentences != len(line.sentences):
        raise InputError("what a language model found does not fit the sentences of its chunk")
    return line.extracted


def _vectors(line: ChunkLine, embedding: Embedding | None) -> StoredVectors | None:
    chunk = line.vector if line.floats is None else line.floats
    if chunk is None or line.rows is None or line.scales is None:
        if chunk is None and line.rows is None and line.scales is None:
            return None
        raise InputError("of vector, rows and scales some are missing")
    if embedding is None:
        raise InputError("there is a vector, but the header names no embedding model")
    scales = _decoded(line.scales, "<f4").astype(np.float32)
    rows = _decoded(line.rows, "i1")
    if len(rows) != len(scales) * embedding.dimensions:
        raise InputError(f"the vectors of the sentences do not have {embedding.dimensions} dimensions")
    vectors = StoredVectors(
        chunk=_decoded(chunk, "<f4").astype(np.float32)
        if line.vector is None
        else _decoded(chunk, "<i2").astype(np.int16),
        sentences=Quantised(rows.astype(np.int8).reshape(len(scales), embedding.dimensions), scales),
    )
    vectors.check(embedding.dimensions, len(line.sentences))
    return vectors


def faq_line(faq: Faq) -> bytes:
    """A FAQ as a line."""
    values = asdict(faq)
    values["origin"] = values.pop("kind")
    return _line({"kind": "faq"} | values)


def faq_of(line: FaqLine) -> Faq:
    """The FAQ of a line."""
    values = {name: getattr(line, name) for name in Faq.__dataclass_fields__}
    citations = tuple(Citation(**citation.model_dump()) for citation in line.citations)
    return Faq(**(values | {"kind": line.origin, "citations": citations}))


def plain_line(line: Header | End) -> bytes:
    """The first or the last line."""
    return _line(line.model_dump())


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _encoded(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _decoded(text: str, kind: str) -> NDArray[Any]:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), kind)
    except (binascii.Error, ValueError):
        raise InputError("a vector is not base64 of whole numbers") from None
