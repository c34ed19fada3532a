"""Every response equals that of a server in which the forbidden collections had never been ingested, bit for bit."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.faqs.drafts import new_draft
from tests.emulators.model import ModelServer
from tests.support.neo4j import EmptyNeo4j, empty_neo4j
from tests.support.tenants import ADMIN, House, Seen, Who, opened_house, settled_line, visit, written

COLLECTIONS = ("public", "staff", "partners")
TODAY = datetime.now(tz=UTC).date()
QUESTIONS = (
    "What does theft cover cost?",
    "Who signs claims above BT-03?",
    "BT-03?",
    "Phí bảo hiểm mất cắp là bao nhiêu?",
    "Where is the Zanzibar office of Ed Wood?",
)
ENGLISH = (
    "Theft cover costs 90,000 VND a year.",
    "Theft cover is not sold to fleets.",
    "Claims above BT-03 are signed by Ed Wood.",
    "Ed Wood signs claims in Hanoi.",
    "Ed Wood moved to the Zanzibar office.",
    "The limit BT-03 is five million.",
    "See [the fee list](fees.md) for what cover costs.",
    "The Fee List names every price.",
    "Floods are covered since May.",
    "A tracker lowers the price of theft cover by a tenth.",
)
VIETNAMESE = (
    "Phí bảo hiểm mất cắp là 90.000 đồng một năm.",
    "Chủ xe báo công an trong vòng một ngày.",
    "Hạn mức BT-03 do Ed Wood ký duyệt.",
    "Xem [bảng phí](fees.md) trước khi mua bảo hiểm.",
)
TITLES = ("Fee List", "Ed Wood", "BT-03", "Mất cắp", "Handbook")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens: a document or a FAQ is written (text), or removed (None)."""

    kind: str
    collection: str
    id: str
    text: str | None
    is_asked_after: bool = False
    """Whether the admin, who reads everything, asks around right after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What happened, who may read what, and who asks."""

    story: tuple[Step, ...]
    grants: Mapping[str, frozenset[str]]
    who: Who
    is_extractive: bool

    @property
    def access(self) -> str:
        return " ".join(f"{name}={','.join(sorted(names))}" for name, names in self.grants.items())

    @property
    def permitted(self) -> frozenset[str]:
        strangers = self.grants["*"]
        platform = "web" if self.who in {"page", "member"} else "api"
        own = self.grants.get(platform, strangers)
        return own if self.who in {"token", "member"} else own & strangers


@st.composite
def documents(draw: st.DrawFn) -> str:
    until = draw(st.sampled_from([None, None, None, -2, 2]))
    head = "" if until is None else f"---\nvalid_until: {TODAY + timedelta(days=until)}\n---\n"
    language = draw(st.sampled_from([ENGLISH, ENGLISH, VIETNAMESE]))
    sentences = draw(st.lists(st.sampled_from(language), min_size=1, max_size=5))
    return f"{head}# {draw(st.sampled_from(TITLES))}\n\n{' '.join(sentences)}\n"


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(["document", "document", "document", "faq"]))
    text = None if draw(st.integers(0, 4)) == 0 else draw(documents() if kind == "document" else answers)
    return Step(
        kind=kind,
        collection=draw(st.sampled_from(COLLECTIONS)),
        id=draw(st.sampled_from(["fees.md", "b.md", "c.md", "d.md"] if kind == "document" else QUESTIONS)),
        text=text,
        is_asked_after=draw(st.integers(0, 5)) == 0,
    )


answers = st.sampled_from(["It costs 90,000 VND.", "Ask Ed Wood.", "Not at all."])
some_collections = st.frozensets(st.sampled_from(COLLECTIONS))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    grants = {"*": draw(some_collections)}
    grants |= {name: draw(some_collections) for name in ("web", "api") if draw(st.booleans())}
    return World(
        story=tuple(draw(st.lists(steps(), min_size=4, max_size=16))),
        grants=grants,
        who=draw(st.sampled_from(get_args(Who))),
        is_extractive=draw(st.booleans()),
    )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_what_may_not_be_read_has_never_been_there(world: World) -> None:
    """Answers, scores, FAQs, pages, headers, errors, prompts and log lines, over random access maps and corpora"""
    asyncio.run(_compare(world))


@pytest.mark.services
@pytest.mark.slow
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_what_may_not_be_read_has_never_been_in_neo4j(world: World) -> None:
    """The same over Neo4j, where every collection has indexes of its own in one database"""

    async def compare() -> None:
        async with empty_neo4j("5") as neo4j:
            await _compare(world, neo4j)

    asyncio.run(compare())


async def _compare(world: World, neo4j: EmptyNeo4j | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with ModelServer() as server:

            async def seen_in(
                name: str, story: Sequence[Step], passages: Sequence[str] | None
            ) -> tuple[_Told, Sequence[str]]:
                if neo4j is not None:
                    await neo4j.empty()
                async with opened_house(
                    Path(folder, name),
                    access=world.access,
                    server=server,
                    is_extractive=world.is_extractive,
                    neo4j=None if neo4j is None else neo4j.server,
                ) as house:
                    for step in story:
                        await _happen(house, step)
                    if passages is None:
                        passages = await house.passage_ids(COLLECTIONS)
                    return await _told(house, world.who, passages), passages

            whole, passages = await seen_in("whole", world.story, None)
            clean, _ = await seen_in("clean", _never_forbidden(world), passages)
            for ours, theirs in zip(whole, clean, strict=True):
                assert ours == theirs


_Told = list[Seen | Mapping[str, Any]]


async def _told(house: House, who: Who, passages: Sequence[str]) -> _Told:
    """What a caller sees, what is logged of them, and what other servers are told because of them."""
    before = len(house.lines)
    exchanges = [] if house.model is None else house.model.exchanges
    asked = len(exchanges)
    async with house.caller(who) as client:
        seen = await visit(client, questions=QUESTIONS, passages=passages, collections=COLLECTIONS)
    sent = [{each.path: each.body} for each in exchanges[asked:]]
    if who in {"anonymous", "token"}:
        # The chat page is the web's, whoever fetches it: what it offers is compared as `page` and `member` see it.
        seen = [each for each in seen if not each[0].startswith("GET / ")]
    return [*seen, *(settled_line(line) for line in house.lines[before:]), *sent]


async def _happen(house: House, step: Step) -> None:
    if step.kind == "faq":
        draft = new_draft(step.id, answer=step.text or "-", collection=step.collection)
        await (house.core.faqs.remove(draft.faq_id) if step.text is None else house.core.faqs.add(draft))
    elif step.text is None:
        await house.core.store.remove(step.collection, [step.id])
        await house.core.store.refresh()
    else:
        await house.feed([written(step.collection, step.id, step.text)])
    if step.is_asked_after:
        async with house.caller("anonymous") as client:
            for question in QUESTIONS:
                body = {"question": question, "collections": sorted(await house.core.collections())}
                headers = {"Authorization": f"Bearer {ADMIN}"}
                async with client.post("/api/v1/ask", json=body, headers=headers) as response:
                    assert response.status in {200, 403}  # 403: the last document of a collection went just now


def _never_forbidden(world: World) -> list[Step]:
    """Only what is permitted and still holds today, in the order in which it came about."""
    last = {(step.kind, step.collection, step.id): at for at, step in enumerate(world.story)}
    expired = f"valid_until: {TODAY - timedelta(days=2)}"
    return [
        Step(kind=step.kind, collection=step.collection, id=step.id, text=step.text)
        for at, step in enumerate(world.story)
        if last[step.kind, step.collection, step.id] == at
        and step.text is not None
        and expired not in step.text
        and step.collection in world.permitted
    ]
