"""Follow-ups made to stand alone: by a model in one short call, by rule where that cannot be."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI

from rag.generate.followup import RuleRewriter
from rag.generate.rewrite import ModelRewriter
from rag.ports import Rewrite
from rag.resilience.deadline import Deadline
from rag.types import Exchange
from tests.emulators.model import ModelServer, Reply

BEFORE = (Exchange(question="What does theft cover cost for a motorbike?", answer="It costs 90,000 VND [1]."),)
BY_RULE = "theft cover cost motorbike: And for cars?"
WHOLE = "What does theft cover cost for cars?"


async def rewritten(
    client: AsyncOpenAI,
    question: str = "And for cars?",
    history: tuple[Exchange, ...] = BEFORE,
    timeout_s: float = 30.0,
    left_s: float = 60.0,
) -> Rewrite:
    rewriter = ModelRewriter(client, "fast", timeout_s=timeout_s)
    return await rewriter.rewrite(question, history, language="en", deadline=Deadline.after(left_s))


async def test_a_model_makes_a_follow_up_whole(server: ModelServer, client: AsyncOpenAI) -> None:
    """One call, with the conversation, without numbers that stood for other passages; what it cost is told."""
    server.script(Reply(rewrites=True, tokens=(WHOLE,)))
    rewrite = await rewritten(client)
    assert (rewrite.text, rewrite.by, rewrite.usage.llm_calls) == (WHOLE, "model", 1)
    assert rewrite.usage.input_tokens
    (exchange,) = server.exchanges
    assert exchange.body["model"] == "fast"
    assert exchange.body["temperature"] == 0.0
    assert [message["content"] for message in exchange.body["messages"][1:]] == [
        "What does theft cover cost for a motorbike?",
        "It costs 90,000 VND.",
        "And for cars?",
    ]


async def test_a_question_that_the_model_leaves_alone_stands_alone(server: ModelServer, client: AsyncOpenAI) -> None:
    """The rule is not asked for a second opinion."""
    rewrite = await rewritten(client)
    assert (rewrite.text, rewrite.by) == (None, "model")


async def test_the_first_question_costs_no_call(server: ModelServer, client: AsyncOpenAI) -> None:
    """Without history there is nothing to rewrite."""
    assert await rewritten(client, history=()) == Rewrite(text=None)
    assert server.exchanges == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(rewrites=True, status=500),
        Reply(rewrites=True, status=429),
        Reply(rewrites=True, tokens=("",)),
        Reply(rewrites=True, tokens=("…",)),
        Reply(rewrites=True, tokens=("It costs 5.\n\nDo you want to know more?",)),
        Reply(rewrites=True, tokens=("very long " * 200,)),
        Reply(rewrites=True, tokens=("What does theft",), finish="length"),
    ],
)
async def test_whatever_goes_wrong_with_the_model_the_rule_decides(
    server: ModelServer, client: AsyncOpenAI, reply: Reply
) -> None:
    """An error, an empty, cut or rambling reply: nobody waits longer, and the call is counted."""
    server.script(reply)
    rewrite = await rewritten(client)
    assert (rewrite.text, rewrite.by, rewrite.usage.llm_calls) == (BY_RULE, "rule", 1)
    assert rewrite.usage.unreported == 0  # told, or turned away


@pytest.mark.parametrize(("timeout_s", "left_s"), [(0.05, 60.0), (30.0, 0.2)])
async def test_a_slow_model_is_not_waited_for(
    server: ModelServer, client: AsyncOpenAI, timeout_s: float, left_s: float
) -> None:
    """Neither beyond its own time nor beyond a quarter of what is left for the answer; its prompt counts as spent."""
    server.script(Reply(rewrites=True, tokens=(WHOLE,), late=True))
    rewrite = await rewritten(client, timeout_s=timeout_s, left_s=left_s)
    assert (rewrite.text, rewrite.usage.input_tokens, rewrite.usage.unreported > 100) == (BY_RULE, None, True)


async def test_thoughts_and_quotation_marks_are_taken_off(server: ModelServer, client: AsyncOpenAI) -> None:
    """What a reasoning model thinks is no part of the question."""
    server.script(Reply(rewrites=True, tokens=(f'<think>cars, so...</think>\n"{WHOLE}"',)))
    assert (await rewritten(client)).text == WHOLE


async def test_an_option_that_the_endpoint_refuses_is_left_out_from_then_on(
    server: ModelServer, client: AsyncOpenAI
) -> None:
    """Once the rule decides, then the model again."""
    refusal = "Unsupported value: 'temperature' does not support 0.0 with this model."
    server.script(Reply(rewrites=True, status=400, message=refusal), Reply(rewrites=True, tokens=(WHOLE,)))
    rewriter = ModelRewriter(client, "fast", timeout_s=30.0)
    deadline = Deadline.after(60.0)
    first = await rewriter.rewrite("And for cars?", BEFORE, language="en", deadline=deadline)
    second = await rewriter.rewrite("And for cars?", BEFORE, language="en", deadline=deadline)
    assert (first.text, second.text) == (BY_RULE, WHOLE)
    assert "temperature" not in server.exchanges[-1].body


async def test_the_rule_needs_no_model() -> None:
    """It gives what is to be looked up, or says that the question stands alone."""
    deadline = Deadline.after(1.0)
    rule = RuleRewriter()
    assert (await rule.rewrite("And for cars?", BEFORE, language="en", deadline=deadline)).text == BY_RULE
    assert (await rule.rewrite("What are the opening hours?", BEFORE, language="en", deadline=deadline)).text is None
