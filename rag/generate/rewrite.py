"""Follow-up questions as questions of their own: by one short call to a model, or by rule where that cannot be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from openai import AsyncOpenAI, BadRequestError, OpenAIError

from rag.asked import LONGEST_QUESTION, cleaned, has_words
from rag.generate.followup import joined
from rag.generate.prompt import estimated_tokens, history_messages, language_name, neutralised
from rag.generate.thinking import ThoughtFilter
from rag.ports import Rewrite
from rag.resilience.deadline import Deadline
from rag.types import Exchange, Language, Usage

TIMEOUT_S = 3.0
"""A rewriting that takes longer costs more patience than it saves."""
_SHARE_OF_DEADLINE = 0.25
_MAX_TOKENS = 160
_EXCHANGES = 3

_RULES = """\
Rewrite the user's last message as one question that can be understood without the conversation before it.
- Put in what it refers to: the thing, the product, the place or the person that was talked about.
- Keep its language ({language}), its names, numbers and codes. Add nothing else, answer nothing.
- If it can be understood by itself, write it unchanged, also where the subject is another one now.
- Write the question and nothing else."""


class ModelRewriter:
    """Implements `rag.ports.Rewriter` with a model; whatever goes wrong with that, the rule decides."""

    def __init__(
        self,
        client: AsyncOpenAI,
        model: str,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `model` through `client`, whose own retries are off; the client belongs to the caller."""
        self._client = client
        self._model = model
        self._timeout_s = timeout_s
        self._clock = clock
        self._options: dict[str, Any] = {"temperature": 0.0, "max_completion_tokens": _MAX_TOKENS}

    async def rewrite(
        self, question: str, history: Sequence[Exchange], *, language: Language, deadline: Deadline
    ) -> Rewrite:
        """See `Rewriter.rewrite`."""
        if not history:
            return Rewrite(text=None)
        usage = Usage(model=self._model, llm_calls=1)
        body: list[Any] = [{"role": "system", "content": _RULES.format(language=language_name(language))}]
        body += [{"role": m.role, "content": m.content} for m in history_messages(history[-_EXCHANGES:])]
        body.append({"role": "user", "content": neutralised(question)})
        sent = sum(estimated_tokens(message["content"]) for message in body)
        try:
            left_s = deadline.remaining_s(self._clock()) * _SHARE_OF_DEADLINE
            async with asyncio.timeout(max(0.0, min(self._timeout_s, left_s))):
                written, usage = await self._ask(body)
        except BadRequestError as error:
            self._give_in(error)
            written = ""
        except TimeoutError:
            usage, written = replace(usage, unreported=sent), ""  # taken, as far as anybody knows
        # Garbage in place of a completion raises the others inside the client.
        except (OpenAIError, ValueError, TypeError, AttributeError, LookupError):
            written = ""
        else:
            if not usage.input_tokens:
                usage = replace(usage, unreported=sent + estimated_tokens(written))
        text = _as_question(written, question)
        if text is None:
            return Rewrite(text=joined(question, history), usage=usage)
        return Rewrite(text=None if text == question else text, by="model", usage=usage)

    async def _ask(self, body: list[Any]) -> tuple[str, Usage]:
        completion = await self._client.chat.completions.create(model=self._model, messages=body, **self._options)
        counted = completion.usage
        usage = Usage(
            model=self._model,
            llm_calls=1,
            input_tokens=counted.prompt_tokens if counted else None,
            output_tokens=counted.completion_tokens if counted else None,
        )
        choice = completion.choices[0]
        if choice.finish_reason == "length":
            return "", usage
        thoughts = ThoughtFilter()
        content = choice.message.content or ""
        return thoughts.feed(content) + thoughts.finish(), usage

    def _give_in(self, error: BadRequestError) -> None:
        """Leave out, from now on, the optional setting that the endpoint says it does not take."""
        complaint = f"{error.param} {error.message}"
        # A new dict: another question may be reading the old one.
        self._options = {name: value for name, value in self._options.items() if name not in complaint}


def _as_question(written: str, question: str) -> str | None:
    """What a model wrote, if that can be a question; None: it is something else."""
    lines = [line.strip() for line in written.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    text = cleaned(lines[0].strip("\"'“”‘’`* "))
    longest = min(LONGEST_QUESTION, 400 + 2 * len(question))
    return text if has_words(text) and len(text) <= longest else None
