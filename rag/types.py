"""The values that flow through the core. All are immutable; none knows a platform, a web server or a settings file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from rag.resilience.deadline import Deadline

Mode = Literal["hybrid", "vector", "text", "graph"]
Outcome = Literal["answered", "refused", "smalltalk", "incomplete", "stopped", "busy", "limited", "gone", "failed"]
CacheHit = Literal["none", "faq", "exact", "similar"]
Language = str
"""A primary language subtag: `en`, `vi`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Who asks, reduced to what matters here: the collections they may read. Empty means: nothing."""

    collections: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One earlier question of the conversation and the answer it got."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody wants to know, from whom, and until when the answer is of use."""

    text: str
    audience: Audience
    deadline: Deadline
    language: Language | None = None
    """The language to answer in; None means the language of `text`."""
    history: tuple[Exchange, ...] = ()
    """Earlier exchanges of the conversation, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document, as retrieval found it."""

    passage_id: str
    document: str
    """The document's id, unique within (collection, source)."""
    title: str
    collection: str
    text: str
    score: float
    """Higher is better; comparable only within one result."""
    why: tuple[str, ...] = ()
    """What found it, most important first: `words`, `meaning`, `title`, `link: <title of the naming document>`."""
    heading: str = ""
    """The path of headings above the text, joined with ` > `."""
    page: int | None = None
    url: str | None = None
    words_held: float | None = None
    """Share (0 to 1) of the question's idf mass that this passage holds; None when it was not measured."""
    cosine: float | None = None
    """Cosine similarity of question and passage; None without vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A `[n]` in an answer and the passage it stands for."""

    n: int
    document: str
    title: str
    collection: str
    passage_id: str
    page: int | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds per stage by a monotonic clock; None where the stage did not happen."""

    rewrite_ms: float | None = None
    embed_ms: float | None = None
    retrieve_ms: float | None = None
    pool_wait_ms: float | None = None
    llm_first_token_ms: float | None = None

    def merged(self, other: Timings) -> Timings:
        """These timings, with the stages that `other` measured taken from there."""
        return replace(self, **{name: value for name in self.__slots__ if (value := getattr(other, name)) is not None})


_N = TypeVar("_N", int, float)


def _sum(one: _N | None, other: _N | None) -> _N | None:
    return other if one is None else one if other is None else one + other


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer cost."""

    model: str | None = None
    llm_calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """In the currency of the model profile's prices; None where the price is not known."""
    retries: int = 0
    hedged: bool = False
    unreported: int = 0
    """About how many tokens were sent and read in calls that told no figures (or not yet); high rather than low."""

    def after(self, earlier: Usage | None) -> Usage:
        """This and an earlier call of the same turn together; the model is the one that wrote the answer."""
        if earlier is None:
            return self
        return replace(
            self,
            model=self.model or earlier.model,
            llm_calls=self.llm_calls + earlier.llm_calls,
            input_tokens=_sum(self.input_tokens, earlier.input_tokens),
            output_tokens=_sum(self.output_tokens, earlier.output_tokens),
            cost=_sum(self.cost, earlier.cost),
            retries=self.retries + earlier.retries,
            unreported=self.unreported + earlier.unreported,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the engine is doing now, as a key the platform puts into words: `retrieving`, `generating`."""

    key: Literal["retrieving", "generating"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """The question leaned on the conversation; this is what it was understood as. Its answer is for nobody else."""

    text: str
    by: Literal["model", "rule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the answer has cost so far, for a turn that ends before `Done`: stopped, or with nobody left to read it."""

    timings: Timings
    usage: Usage
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The passages that the answer is being written from, numbered from 1 in this order."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """The next piece of the answer's Markdown."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The answer is complete, or as complete as it will get (`incomplete`)."""

    outcome: Outcome
    answer: str
    """The whole answer, exactly the joined deltas, save where citations were mended after the fact."""
    citations: tuple[Citation, ...] = ()
    cache: CacheHit = "none"
    similarity: float | None = None
    passages: int = 0
    timings: Timings = field(default_factory=Timings)
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    """A short code of what went wrong (`incomplete` only), without question text or secrets."""
    cause: str | None = None
    """One line on it for the log; never for the asker, never with a key or the question."""
    epoch: int | None = None
    """The corpus epoch the answer was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No answer came, and nothing was shown."""

    code: str
    """`model_unavailable`, `model_refused_key`, `model_busy`, `timeout`, `store_unavailable`,
    `embedding_unavailable`, `internal`."""
    cause: str
    """One line for the log; never for the asker, never with a key or the question."""
    timings: Timings = field(default_factory=Timings)
    usage: Usage = field(default_factory=Usage)


AnswerEvent = Status | Rewritten | Figures | Sources | Delta | Done | Failed
