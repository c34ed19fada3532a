"""The lines of an export as records, in order; what is wrong is told with the number of its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from rag.cache.faq import Faq
from rag.errors import InputError, StoreTooNew
from rag.transfer.lines import FORMAT, DocumentLine, End, FaqLine, Header, check_version, dumped_of, faq_of, read_line
from rag.transfer.ports import Dumped

_LONGEST_LINE = 512 * 2**20
"""A document of two million characters (ingest cuts longer ones) with 4096 dimensions takes a quarter of this."""

Item = Header | Dumped | Faq


def items(file: BinaryIO, name: str) -> Iterator[Item]:
    """Everything that a file holds, from its beginning; `name` is what messages call it.

    Raises `InputError`, at the latest at the end of a file that was cut off, and `StoreTooNew`.
    """
    file.seek(0)
    reader, number = _Reader(), 0
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
        try:
            item = reader.read(line)
        except InputError as error:
            raise InputError(f"{name}, line {number}: {error}") from error
        except StoreTooNew as error:
            raise StoreTooNew(f"{name}, line {number}: {error}") from error
        if item is not None:
            yield item
    try:
        reader.finish()
    except InputError as error:
        raise InputError(f"{name}, line {number}: {error}; export or copy it again") from error


class _Reader:
    """Which line may follow which, and whether all came that the last one tells of."""

    def __init__(self) -> None:
        self._header: Header | None = None
        self._end: End | None = None
        self._documents = self._chunks = self._faqs = 0

    def read(self, line: bytes) -> Item | None:
        """What the next line says; None for the last. Raises `InputError` without its place, `StoreTooNew`."""
        if len(line) > _LONGEST_LINE:
            raise InputError(f"it is longer than {_LONGEST_LINE // 2**20} MB")
        if not line.endswith(b"\n") and not self._is_end(line):
            raise InputError("the file ends within this line: it was cut off; export or copy it again")
        found = read_line(line)
        if isinstance(found, Header):
            return self._begin(found)
        if self._header is None:
            raise InputError("an export begins with its header")
        if self._end is not None:
            raise InputError("there is something after the line that ends an export")
        if isinstance(found, End):
            self._end = found
            return None
        if isinstance(found, FaqLine):
            self._faqs += 1
            return faq_of(found)
        return self._document(found, self._header)

    def finish(self) -> None:
        """Raises `InputError` unless the export is complete."""
        if self._end is None:
            raise InputError("the file ends here, but the line that ends an export is missing: it was cut off")
        told, held = (
            (self._end.documents, self._end.chunks, self._end.faqs),
            (self._documents, self._chunks, self._faqs),
        )
        if told != held:
            raise InputError(
                "it tells of {} documents, {} chunks and {} FAQs, but ".format(*told)
                + ("the file holds {}, {} and {}".format(*held))
            )

    def _begin(self, header: Header) -> Header:
        check_version(header.format)
        if header.format != FORMAT:
            raise InputError(f"there is no format {header.format}")
        if self._header is not None:
            raise InputError("a second header: import exports one by one")
        self._header = header
        return header

    def _document(self, line: DocumentLine, header: Header) -> Dumped:
        self._documents += 1
        self._chunks += len(line.chunks)
        return dumped_of(line, header.model)

    @staticmethod
    def _is_end(line: bytes) -> bool:
        """An editor may have taken the very last line feed away."""
        return line.rstrip().endswith(b"}") and b'"end"' in line[:40]
