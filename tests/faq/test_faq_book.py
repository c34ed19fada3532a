"""What is served to whom."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.cache.faq import Faq, FaqBook, FaqMatch, new_faq
from rag.stores.embedded import EmbeddedStore
from tests.support.faqs import Bench

PUBLIC, STAFF = frozenset({"public"}), frozenset({"staff"})


def faq(question: str, answer: str = "Yes.", collection: str = "public", **fields: object) -> Faq:
    made = new_faq(collection=collection, question=question, answer=answer, kind="curated")
    return replace(made, **fields)  # type: ignore[arg-type]  # a test names the fields it cares about


async def book_of(bench: Bench, *faqs: Faq) -> FaqBook:
    for each in faqs:
        await bench.store.put_faq(each)
    await bench.book.refresh()
    return bench.book


async def test_paraphrases_are_asked_for_too(bench: Bench) -> None:
    """A question and each of its paraphrases get the answer, however they are punctuated."""
    book = await book_of(bench, faq("What does theft cover cost?", paraphrases=("Price of theft cover",)))
    for text in ("what does theft cover cost", "PRICE of theft cover?!"):
        assert book.match(text, collections=PUBLIC).faq is not None
    assert book.match("What does theft cover pay?", collections=PUBLIC) == FaqMatch()
    assert book.match("🙂", collections=PUBLIC) == FaqMatch()


async def test_a_forbidden_faq_looks_like_none(bench: Bench) -> None:
    """Who may not read a collection cannot tell a FAQ in it, ready, stale or expired, from no FAQ at all."""
    book = await book_of(
        bench,
        faq("May I ask one?", collection="staff"),
        faq("May I ask two?", collection="staff", is_stale=True),
        faq("May I ask three?", collection="staff", valid_until=date(2020, 1, 1)),
    )
    for number in ("one", "two", "three", "four"):
        assert book.match(f"May I ask {number}?", collections=PUBLIC) == FaqMatch()
        assert book.match(f"May I ask {number}?", collections=frozenset()) == FaqMatch()
    assert book.match("May I ask two?", collections=STAFF).refused_by == "stale"
    assert book.match("May I ask three?", collections=STAFF).refused_by == "expired"


NAMES = ("public", "staff", "partners")
FAQS = st.lists(
    st.builds(
        faq,
        st.sampled_from(["Phí là bao nhiêu?", "Phi la bao nhieu?", "Phì là bao nhiêu?"]),
        st.sampled_from(["1", "2", "3"]),
        st.sampled_from(NAMES),
        language=st.sampled_from(["vi", "en"]),
        is_stale=st.booleans(),
        kind=st.sampled_from(["curated", "warmed"]),
    ),
    max_size=8,
)


@given(
    faqs=FAQS, readable=st.sets(st.sampled_from(NAMES)), asked=st.sampled_from(["phi la bao nhieu", "Phí là bao nhiêu"])
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_forbidden_faqs_change_nothing(bench: Bench, faqs: list[Faq], readable: set[str], asked: str) -> None:
    """What a caller is served equals what they would be served if the forbidden FAQs had never been added."""
    for old in await bench.store.faqs():
        await bench.store.remove_faq(old.id)
    allowed = frozenset(readable)
    whole = (await book_of(bench, *faqs)).match(asked, collections=allowed, language="vi")
    for each in faqs:
        if each.collection not in allowed:
            await bench.store.remove_faq(each.id)
    assert (await book_of(bench)).match(asked, collections=allowed, language="vi") == whole


async def test_the_askers_language_is_preferred(bench: Bench) -> None:
    """Of two FAQs with the same question the one in the asker's language answers; else any is better than none."""
    book = await book_of(bench, faq("TN-01?", "English.", language="en"), faq("TN-01?", "Tiếng Việt.", language="vi"))
    answers = {
        language: book.match("tn-01", collections=PUBLIC, language=language).faq for language in ("en", "vi", "fr")
    }
    assert {language: found and found.answer for language, found in answers.items()} | {"fr": ""} == {
        "en": "English.",
        "vi": "Tiếng Việt.",
        "fr": "",
    }
    assert answers["fr"] is not None


async def test_typed_without_diacritics_it_is_still_found(bench: Bench) -> None:
    """Vietnamese typed plainly finds its FAQ, unless it could be two different questions."""
    book = await book_of(bench, faq("Gửi mã ở đâu?", "Mã."))
    assert book.match("gui ma o dau", collections=PUBLIC).faq is not None
    assert book.match("Gửi má ở đâu?", collections=PUBLIC).faq is None
    book = await book_of(bench, faq("Gửi má ở đâu?", "Má."))
    assert book.match("gui ma o dau", collections=PUBLIC).faq is None
    found = book.match("gửi má ở đâu", collections=PUBLIC).faq
    assert found is not None
    assert found.answer == "Má."


async def test_the_day_after_its_documents_expire_it_is_silent(bench: Bench) -> None:
    """A FAQ answers through the last valid day, and not after."""
    day = date(2026, 12, 31)
    book = FaqBook(bench.store, today=lambda: day)
    await bench.store.put_faq(faq("Price?", valid_until=date(2026, 12, 31)))
    await book.refresh()
    assert book.match("price", collections=PUBLIC).faq is not None
    day = date(2027, 1, 1)
    assert book.match("price", collections=PUBLIC) == FaqMatch(refused_by="expired")


async def test_another_process_changes_are_followed(bench: Bench, tmp_path: Path) -> None:
    """A FAQ that somebody else adds is served, and not any more when its answer goes stale or it is removed."""
    theirs = EmbeddedStore(tmp_path / "knowledge.db")
    book = FaqBook(bench.store, poll_s=0.01)
    await book.open()
    added = faq("Hotline?")

    async def served(answer: str | None) -> None:
        async with asyncio.timeout(20):
            while (found := book.match("hotline", collections=PUBLIC).faq) is None or found.answer != answer:
                if found is None and answer is None:
                    return
                await asyncio.sleep(0.005)

    await theirs.put_faq(added)
    await served(added.answer)
    await theirs.put_faq(replace(added, answer="1900 0000", updated_at=datetime.now(UTC)))
    await served("1900 0000")
    await theirs.remove_faq(added.id)
    await served(None)
    assert book.match("hotline", collections=PUBLIC).faq is None
    await book.close()
    await theirs.close()
