"""FAQs in the store: what outdates them, and what survives."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rag.cache.faq import Faq, new_faq
from rag.stores.embedded import EmbeddedStore
from rag.types import Citation
from tests.support.faqs import Bench
from tests.support.knowledge import make_document


def cited(document: str, collection: str = "public") -> Faq:
    """A warmed FAQ about this document."""
    citation = Citation(n=1, document=document, title="T", collection=collection, passage_id="p", page=3)
    return new_faq(
        collection=collection,
        question=f"What does {document} say?",
        answer="90,000 VND [1].",
        kind="warmed",
        paraphrases=("Sao?", "How?"),
        citations=(citation,),
    )


async def test_a_faq_comes_back_as_it_was(bench: Bench, tmp_path: Path) -> None:
    """Everything about a FAQ survives a restart."""
    faq = cited("theft.md")
    await bench.store.put_faq(faq)
    await bench.store.close()
    again = EmbeddedStore(tmp_path / "knowledge.db")
    assert await again.faqs() == (faq,)
    await again.close()


async def test_a_changed_document_outdates_what_cites_it_at_once(bench: Bench, tmp_path: Path) -> None:
    """Whoever sees the new document in the file sees the FAQ outdated, in the same transaction; others stay."""
    about_theft, about_calls = cited("theft.md"), cited("calls.md", "staff")
    same_name = cited("calls.md")  # a document of this id in another collection
    for faq in (about_theft, about_calls, same_name):
        await bench.store.put_faq(faq)
    before = await bench.store.faq_version()
    # Another connection, as another process has it, sees both or neither.
    with sqlite3.connect(tmp_path / "knowledge.db") as other:
        await bench.write("theft.md", "Theft cover costs 95,000 VND a year.")
        stale = {id_ for (id_,) in other.execute("SELECT id FROM faqs WHERE is_stale")}
    other.close()
    assert stale == {about_theft.id}
    assert await bench.store.faq_version() > before
    await bench.store.remove("staff", ["calls.md"])
    assert {faq.id for faq in await bench.store.faqs() if faq.is_stale} == {about_theft.id, about_calls.id}


async def test_an_unrelated_change_outdates_nothing(bench: Bench) -> None:
    """A new document, and vectors for known ones, leave the FAQs as they are."""
    await bench.store.put_faq(cited("theft.md"))
    await bench.store.put([make_document("fire.md", "Fire is covered.")])
    assert not any(faq.is_stale for faq in await bench.store.faqs())


async def test_a_failed_change_outdates_nothing(bench: Bench) -> None:
    """Removing what is not there outdates nothing."""
    await bench.store.put_faq(cited("theft.md"))
    assert await bench.store.remove("public", ["fire.md"]) == 0
    assert not any(faq.is_stale for faq in await bench.store.faqs())


async def test_an_answer_made_from_older_documents_is_not_stored(bench: Bench) -> None:
    """A conditional put notices that documents changed or that somebody edited the FAQ, and writes nothing."""
    public = frozenset({"public"})
    faq, epoch = cited("theft.md"), await bench.store.epoch(public)
    await bench.write("theft.md", "Changed.")
    assert await bench.store.put_faq_if(faq, epoch=epoch, former=None) == "documents_changed"
    assert await bench.store.faqs() == ()
    epoch = await bench.store.epoch(public)
    assert await bench.store.put_faq_if(faq, epoch=epoch, former=None) == "stored"
    assert await bench.store.put_faq_if(faq, epoch=epoch, former=None) == "faq_changed"
    await bench.store.remove_faq(faq.id)
    assert await bench.store.put_faq_if(faq, epoch=epoch, former=faq) == "faq_changed"
    assert await bench.store.faqs() == ()
