"""What a turn has gathered so far: the engine's events, and the final text that they make."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from adapters.ports import Final, LiveMessage, SourceLink
from bot.words import word
from rag.generate.citations import check
from rag.generate.phrases import failure_text, incomplete_mark
from rag.types import (
    AnswerEvent,
    Citation,
    Delta,
    Done,
    Exchange,
    Failed,
    Figures,
    Outcome,
    Passage,
    Rewritten,
    Sources,
    Status,
)

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Survives the cancellation of the task that gathers it."""

    language: str
    shown: str = ""
    passages: tuple[Passage, ...] = ()
    end: Done | Failed | None = None
    figures: Figures | None = None
    """Where there is no end: what was known when the turn was cut off."""
    queue_ms: float | None = None
    trouble: str | None = None
    cited: tuple[Citation, ...] = ()
    history: tuple[Exchange, ...] = ()
    standalone: str | None = None
    """What a follow-up question was understood as."""
    suggestions: tuple[str, ...] = ()

    def apply(self, event: AnswerEvent, live: LiveMessage, trace_id: str) -> None:
        """Take note of an event and show what there is to show."""
        match event:
            case Status(key=key):
                live.status(word(key, self.language))
            case Rewritten(text=text):
                self.standalone = text
            case Figures():
                self.figures = event
            case Sources(passages=passages):
                self.passages = passages
                live.offer_sources(tuple(_link(n, passage) for n, passage in enumerate(passages, 1)))
            case Delta(text=text):
                self.shown += text
                live.append(text)
            case Done():
                self.end = event
                self.cited = event.citations
                self.shown = event.answer or self.shown
                if event.error is not None:
                    log.warning("answer_cut", trace_id=trace_id, code=event.error, cause=event.cause)
            case Failed(code=code, cause=cause):
                self.end = event
                log.warning("answer_failed", trace_id=trace_id, code=code, cause=cause)

    def stopped(self) -> None:
        """The engine had no chance to say what it cited; the text was checked as it came."""
        if self.end is None:
            _, self.cited = check(self.shown, self.passages)

    def text(self, outcome: Outcome) -> str:
        """The final text, without its note."""
        if outcome == "failed":
            code = self.end.code if isinstance(self.end, Failed) else "internal"
            return failure_text(code, self.language)
        return self.shown

    def final(self, outcome: Outcome, *, is_kept: bool) -> Final:
        """The last state of the message; `is_kept`: it can be found again, to be rated."""
        by_id = {passage.passage_id: passage for passage in self.passages}
        sources = tuple(
            _link(citation.n, by_id[citation.passage_id]) if citation.passage_id in by_id else _bare_link(citation)
            for citation in sorted(self.cited, key=lambda each: each.n)
        )
        note = None
        if outcome == "incomplete":
            note = incomplete_mark(self.language)
        elif outcome == "stopped":
            note = word("stopped", self.language)
        has_said = outcome in {"answered", "incomplete", "stopped"} and bool(self.shown)
        return Final(
            text=self.text(outcome),
            sources=sources,
            note=note,
            can_retry=outcome in {"incomplete", "failed", "busy"},
            can_rate=is_kept and has_said,
            suggestions=self.suggestions if outcome == "answered" else (),
        )


def _link(n: int, passage: Passage) -> SourceLink:
    return SourceLink(
        n=n,
        title=passage.title,
        passage_id=passage.passage_id,
        document=passage.document,
        collection=passage.collection,
        excerpt=passage.text,
        url=passage.url,
        page=passage.page,
    )


def _bare_link(citation: Citation) -> SourceLink:
    return SourceLink(
        n=citation.n,
        title=citation.title,
        collection=citation.collection,
        passage_id=citation.passage_id,
        document=citation.document,
        url=citation.url,
        page=citation.page,
    )
