"""What ingest makes of the sample stays what it is, whoever makes it faster."""

from __future__ import annotations

from hashlib import sha256

from rag.ingest.chunk import CHUNKER_VERSION, build_document
from rag.ingest.parse import PARSER_VERSION, parse_file
from rag.ingest.parse.document import ParsedDocument
from tests.support.process import SAMPLE

GOLDEN = {("1", "1"): "d006dbe78fab42f7d05a84d419a35bc920e23359a5bef25583ba17e432d5bfc3"}
"""By version of the parser and of the chunker, the records of the sample."""


def test_the_same_versions_make_the_same_records() -> None:
    """Unchanged files are not read again, so whoever changes their records has to raise one of the versions"""
    digest = sha256()
    for path in sorted(path for part in ("public", "staff") for path in (SAMPLE / part).iterdir()):
        for parsed in parse_file(path, file_id=path.name):
            assert isinstance(parsed, ParsedDocument)
            document = build_document(
                parsed,
                collection="public",
                source="sample",
                document_id=parsed.id or path.name,
                file=path.name,
                content_hash="",
                size=0,
            )
            digest.update(repr(document).encode())
    assert GOLDEN.get((PARSER_VERSION, CHUNKER_VERSION)) == digest.hexdigest()
