"""Claims about what is found in small libraries, through the real store."""

from __future__ import annotations

import itertools

import pytest

from rag.errors import EmbeddingError, InputError
from rag.ports import Vectors
from rag.resilience.deadline import Deadline
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from rag.types import Mode
from tests.retrieval.conftest import Library, WordCounts, document

PUBLIC = frozenset({"public"})


def found(passages: tuple[object, ...]) -> list[str]:
    return [passage.document for passage in passages]  # type: ignore[attr-defined]


FILLER = [
    document(f"note-{n}", f"{topic} are kept in hall {n}. Opening hours of hall {n} are on the door.", title=f"{topic}")
    for n, topic in enumerate(["Lamps", "Chairs", "Carpets", "Mirrors", "Clocks", "Vases", "Drums", "Boots", "Maps"])
]
FILM = document(
    "film", "Maximum Overdrive was shot near Leland in 1986. The crew of Maximum Overdrive stayed for a summer."
)
DIRECTOR = document("king", "A novelist from Maine, he once tried his hand at directing.", title="Stephen King")
LINK = document(
    "overdrive", "Maximum Overdrive, shot around Leland, was directed by Stephen King.", title="Maximum Overdrive"
)


async def test_a_document_that_shares_no_word_with_the_question_is_found_through_the_one_that_names_it(
    library: Library,
) -> None:
    search = await library(*FILLER, LINK, DIRECTOR)
    result = await search.retrieve("Where was Maximum Overdrive shot?", collections=PUBLIC, k=2)
    assert found(result.passages) == ["overdrive", "king"]
    assert "link: Maximum Overdrive" in result.passages[1].why


async def test_the_order_of_ingest_does_not_matter_for_what_links_find(library: Library) -> None:
    await library(DIRECTOR, *FILLER)
    search = await library(LINK)
    result = await search.retrieve("Where was Maximum Overdrive shot?", collections=PUBLIC, k=2)
    assert found(result.passages) == ["overdrive", "king"]


async def test_a_deleted_document_leads_nowhere(library: Library, store: EmbeddedStore) -> None:
    search = await library(*FILLER, LINK, DIRECTOR)
    await store.remove("public", ["overdrive"])
    await store.refresh()
    result = await search.retrieve("Where was Maximum Overdrive shot?", collections=PUBLIC, k=20)
    assert not any(reason.startswith("link") for passage in result.passages for reason in passage.why)


async def test_a_forbidden_collection_changes_neither_passages_nor_scores_nor_reasons(library: Library) -> None:
    search = await library(*FILLER, DIRECTOR, FILM)
    question = "Who directed Maximum Overdrive near Leland?"
    before = await search.retrieve(question, collections=PUBLIC, k=20)
    await library(
        document("secret", "Maximum Overdrive near Leland names Stephen King.", title="Leland", collection="staff"),
        document("other", "Who directed what near where.", collection="staff"),
    )
    after = await search.retrieve(question, collections=PUBLIC, k=20)
    assert after.passages == before.passages
    assert after.is_relevant == before.is_relevant


async def test_a_title_named_in_the_question_wins_over_equal_words(library: Library) -> None:
    search = await library(
        *FILLER,
        document("a", "The garden is open from May. It has three gates.", title="Rose Garden"),
        document("b", "The rose and the garden: open from May, three gates.", title="Notes"),
    )
    result = await search.retrieve("When is the Rose Garden open?", collections=PUBLIC, k=1)
    assert found(result.passages) == ["a"]
    assert "title" in result.passages[0].why


async def test_as_many_passages_come_as_were_asked_for_even_from_few_documents(library: Library) -> None:
    sections = "\n\n".join(
        f"# Part {n}\n\n{' '.join(f'Sentence {n} about fees and times.' for _ in range(6))}" for n in range(6)
    )
    search = await library(document("one", sections), document("two", "Fees are low. Times are long."))
    result = await search.retrieve("What are the fees and times?", collections=PUBLIC, k=5)
    assert len(result.passages) == 5
    assert set(found(result.passages[:2])) == {"one", "two"}
    assert len({passage.passage_id for passage in result.passages}) == 5


async def test_scores_never_rise_down_the_list(library: Library) -> None:
    search = await library(*FILLER, FILM, LINK, DIRECTOR)
    result = await search.retrieve("Who directed the film near hall 3?", collections=PUBLIC, k=12)
    assert all(a.score >= b.score for a, b in itertools.pairwise(result.passages))


async def test_vietnamese_is_found_when_typed_without_diacritics(library: Library) -> None:
    search = await library(
        document("huy", "Khách hủy hợp đồng trong 14 ngày được hoàn lại 80% phí.", title="Hủy hợp đồng"),
        document("mua", "Khách mua hợp đồng tại văn phòng hoặc qua ứng dụng.", title="Mua hợp đồng"),
        document("xe", "Xe máy điện được bảo vệ khi ngập nước.", title="Xe máy điện"),
    )
    result = await search.retrieve("huy hop dong duoc hoan bao nhieu", collections=PUBLIC, k=1)
    assert found(result.passages) == ["huy"]
    assert result.language == "vi"


async def test_a_code_is_found_however_it_is_written(library: Library) -> None:
    search = await library(*FILLER, document("form", "Send form BT-03 to the office within five days."))
    for question in ("form BT03?", "What is bt-03 for?"):
        result = await search.retrieve(question, collections=PUBLIC, k=1)
        assert found(result.passages) == ["form"]


async def test_what_was_just_ingested_is_found_by_its_words_before_it_has_vectors(library: Library) -> None:
    search = await library(*FILLER, FILM, vectors=False)
    result = await search.retrieve("Where was Maximum Overdrive shot?", collections=PUBLIC, k=1)
    assert found(result.passages) == ["film"]
    assert result.passages[0].cosine is None


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text", "graph"])
async def test_every_mode_finds_the_obvious(library: Library, mode: Mode) -> None:
    search = await library(*FILLER, FILM)
    result = await search.retrieve("Where was Maximum Overdrive shot?", collections=PUBLIC, k=1, mode=mode)
    assert found(result.passages) == ["film"]


async def test_text_mode_asks_for_no_embedding(store: EmbeddedStore) -> None:
    await store.put([FILM])
    await store.refresh()
    embedder = WordCounts()
    result = await Search(store, embedder).retrieve("Overdrive?", collections=PUBLIC, mode="text")
    assert embedder.asked == 0
    assert result.timings.embed_ms is None
    assert found(result.passages) == ["film"]


async def test_nothing_is_found_where_nothing_may_be_read(library: Library) -> None:
    search = await library(FILM)
    for collections in (frozenset[str](), frozenset({"elsewhere"})):
        result = await search.retrieve("Overdrive?", collections=collections)
        assert result.passages == ()
        assert not result.is_relevant


@pytest.mark.parametrize("question", ["👍🎉", "?!", "word " * 10_000, 'AND ( OR " * /', "\x00\ud7ff", "🇻🇳 phí"])
async def test_odd_questions_get_an_answer_not_an_error(library: Library, question: str) -> None:
    search = await library(*FILLER, FILM)
    await search.retrieve(question, collections=PUBLIC)


async def test_an_empty_question_is_refused_in_words(library: Library) -> None:
    search = await library(FILM)
    with pytest.raises(InputError, match="question is empty"):
        await search.retrieve("  \n", collections=PUBLIC)
    with pytest.raises(InputError, match="between 1 and 100"):
        await search.retrieve("Overdrive?", collections=PUBLIC, k=0)


async def test_a_question_about_something_else_is_not_relevant(library: Library) -> None:
    search = await library(*FILLER, FILM, LINK)
    on_topic = await search.retrieve("Where was Maximum Overdrive shot?", collections=PUBLIC)
    off_topic = await search.retrieve("How do I bake sourdough bread with rye flour?", collections=PUBLIC)
    assert on_topic.is_relevant
    assert not off_topic.is_relevant


async def test_an_embedder_that_misses_the_deadline_is_named(store: EmbeddedStore) -> None:
    class Late(WordCounts):
        async def embed(self, texts: object, *, urgent: bool = False) -> Vectors:
            raise TimeoutError

    await store.put([FILM])
    with pytest.raises(EmbeddingError, match="word-counts did not embed"):
        await Search(store, Late()).retrieve("Overdrive?", collections=PUBLIC, deadline=Deadline.after(5))


async def test_a_passage_can_be_opened_by_id_only_where_it_may_be_read(library: Library) -> None:
    search = await library(FILM)
    passage = (await search.retrieve("Overdrive?", collections=PUBLIC, k=1)).passages[0]
    opened = await search.passage(passage.passage_id, collections=PUBLIC)
    assert opened is not None
    assert opened.text == passage.text
    assert await search.passage(passage.passage_id, collections=frozenset({"staff"})) is None
    assert await search.passage("nonsense", collections=PUBLIC) is None
