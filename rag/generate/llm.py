"""Writes answers with a language model behind any OpenAI-compatible endpoint, token by token.

One retry layer only: the client is made with `max_retries=0`, and this module tries once more (for bulk work as often
as its `Patience` says), before the first token and while the deadline allows. After the first token there is no retry:
the reader has seen the beginning.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from openai import AsyncOpenAI, AsyncStream, BadRequestError, OpenAIError
from openai.types.chat import ChatCompletionChunk

from rag.errors import ModelError, ModelInterrupted, ModelTimeout, ModelTruncated, ModelUnavailable
from rag.generate.failures import endpoint, explained, is_worth_retrying, retry_after_s
from rag.generate.prompt import Message, estimated_tokens, messages
from rag.generate.thinking import ThoughtFilter
from rag.ports import GenerationRequest, Token
from rag.resilience.deadline import Deadline
from rag.types import Usage

Chunks = AsyncStream[ChatCompletionChunk]

# What garbage in a stream raises inside the client: undecodable bytes and broken JSON are ValueErrors, JSON of another
# shape ends in the others.
_GARBAGE = (ValueError, TypeError, AttributeError, LookupError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, in seconds. The turn's deadline comes first in every case."""

    stall_s: float = 20.0
    """Between two pieces of the stream, once it runs."""
    tail_s: float = 2.0
    """For the usage figures, after the model has said that it is done."""
    retries: int = 1
    backoff_s: float = 0.5
    """Before the first retry, twice as long before each further one, times a random factor between .5 and 1.5."""
    longest_backoff_s: float = 5.0
    """An endpoint that asks for more is not retried."""
    worthwhile_s: float = 1.0
    """Of the deadline that must be left for a retry to make sense."""


class _Asked(NamedTuple):
    """What the model is sent, and until when."""

    messages: Sequence[Message]
    deadline: Deadline


class Completion(NamedTuple):
    """A whole answer."""

    text: str
    usage: Usage


class OpenAIAnswerer:
    """Implements `rag.ports.Answerer`. Keeps no state between answers but which options the endpoint refuses."""

    def __init__(
        self,
        client: AsyncOpenAI,
        model: str,
        *,
        temperature: float | None = 0.2,
        max_tokens: int | None = None,
        answers_json: bool = False,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer with `model` through `client`, whose own retries are off; the client belongs to the caller."""
        self._client = client
        self._model = model
        self._patience = patience or Patience()
        self._sleep = sleep
        self._jitter = jitter
        self._clock = clock
        self._endpoint = endpoint(str(client.base_url))
        self._options: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if temperature is not None:
            self._options["temperature"] = temperature
        if max_tokens is not None:
            self._options["max_completion_tokens"] = max_tokens
        if answers_json:
            self._options["response_format"] = {"type": "json_object"}

    @property
    def model(self) -> str:
        """The name the endpoint knows it by."""
        return self._model

    async def close(self) -> None:
        """Nothing to do: the client belongs to whoever made it."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Token | Usage, None]:
        """A `Usage` of one call, tokens as they come, then the whole `Usage`, also when a `ModelError` follows.

        The first estimates its prompt, as the reader may leave before the figures. Closing it hangs up.
        """
        asked = messages(request)
        answer = _Answer(usage=Usage(model=self._model), sent=sum(estimated_tokens(each.content) for each in asked))
        yield replace(answer.usage, llm_calls=1, unreported=answer.sent)
        try:
            async with aclosing(self._whole(_Asked(asked, request.deadline), answer)) as texts:
                async for text in texts:
                    yield Token(text)
        except ModelError:
            yield answer.spent
            raise
        yield answer.spent

    async def complete(self, asked: Sequence[Message], *, deadline: Deadline) -> Completion:
        """The whole answer to these messages, for work that nobody watches. Raises a `ModelError`."""
        answer = _Answer(usage=Usage(model=self._model))
        async with aclosing(self._whole(_Asked(asked, deadline), answer)) as texts:
            text = "".join([text async for text in texts])
        return Completion(text, answer.usage)

    async def _whole(self, request: _Asked, answer: _Answer) -> AsyncGenerator[str, None]:
        """The visible text, piece by piece; raises a `ModelError` at its end if it is not all of an answer."""
        try:
            async with aclosing(self._texts(request, answer)) as texts:
                async for text in texts:
                    answer.has_begun = True
                    yield text
        finally:
            if answer.chunks is not None:
                await answer.chunks.close()
        self._check(answer)

    async def _texts(self, request: _Asked, answer: _Answer) -> AsyncGenerator[str, None]:
        """The visible text, piece by piece, over one attempt or two."""
        while True:
            thoughts = ThoughtFilter()
            try:
                answer.usage = replace(answer.usage, llm_calls=answer.usage.llm_calls + 1)
                answer.is_unreported = True
                answer.chunks = await self._open(request)
                while (chunk := await self._next(request, answer, answer.chunks)) is not None:
                    if text := thoughts.feed(answer.read(chunk)):
                        yield text
                if text := thoughts.finish():
                    yield text
            except (OpenAIError, *_GARBAGE) as error:
                await self._recover(error, request, answer)
            else:
                return

    async def _recover(self, error: Exception, request: _Asked, answer: _Answer) -> None:
        """Wait for the retry if there is to be one; otherwise raise what `error` means."""
        if answer.chunks is None:
            answer.is_unreported = False  # turned away: an endpoint that is down uses up nobody's allowance
        else:
            await answer.chunks.close()
            answer.chunks = None
        if answer.has_begun:
            raise ModelInterrupted(f"{self._endpoint} broke off in the middle ({type(error).__name__})") from None
        if isinstance(error, BadRequestError) and self._give_in(error):
            return
        failure = explained(error, endpoint=self._endpoint, model=self._model)
        pause_s = retry_after_s(error)
        if pause_s is None:
            pause_s = self._patience.backoff_s * 2**answer.usage.retries * (0.5 + self._jitter())
        left_s = request.deadline.remaining_s(self._clock()) - pause_s
        if (
            answer.usage.retries >= self._patience.retries
            or not is_worth_retrying(error)
            or pause_s > self._patience.longest_backoff_s
            or left_s < self._patience.worthwhile_s
        ):
            # None: the client's own messages may quote the key or the question.
            raise failure from None
        answer.usage = replace(answer.usage, retries=answer.usage.retries + 1)
        await self._sleep(pause_s)

    def _give_in(self, error: BadRequestError) -> bool:
        """Leave out, from now on, the optional setting that the endpoint says it does not take."""
        complaint = f"{error.param} {error.message}"
        for name in self._options:
            if name in complaint:
                # A new dict: another answer may be reading the old one.
                self._options = {key: value for key, value in self._options.items() if key != name}
                return True
        return False

    async def _open(self, request: _Asked) -> Chunks:
        body: list[Any] = [{"role": message.role, "content": message.content} for message in request.messages]
        options: Mapping[str, Any] = self._options
        try:
            async with asyncio.timeout(request.deadline.remaining_s(self._clock())):
                stream: Chunks = await self._client.chat.completions.create(
                    model=self._model, messages=body, stream=True, **options
                )
                return stream
        except TimeoutError:
            raise ModelTimeout(f"{self._endpoint} sent nothing before the deadline") from None

    async def _next(self, request: _Asked, answer: _Answer, chunks: Chunks) -> ChatCompletionChunk | None:
        """The next piece; None at the end. The timeout spans no `yield`: it must never strike in the reader's code."""
        left_s = request.deadline.remaining_s(self._clock())
        wait_s = left_s
        if answer.finish is not None:
            wait_s = min(left_s, self._patience.tail_s)
        elif answer.has_begun:
            wait_s = min(left_s, self._patience.stall_s)
        try:
            async with asyncio.timeout(wait_s):
                return await anext(chunks, None)
        except TimeoutError:
            if answer.finish is not None:
                return None
            if not answer.has_begun:
                raise ModelTimeout(f"{self._endpoint} wrote no word before the deadline") from None
            if wait_s == left_s:
                raise ModelTimeout(f"{self._endpoint} was still writing at the deadline") from None
            raise ModelInterrupted(f"{self._endpoint} fell silent for {wait_s:g} s in the middle") from None
        except (OpenAIError, *_GARBAGE):
            if answer.finish is not None:
                # The answer is whole; only its usage figures are lost.
                return None
            raise

    def _check(self, answer: _Answer) -> None:
        """Raise if the stream ended in order but not with a whole answer."""
        if not answer.has_begun:
            if answer.finish == "length":
                raise ModelUnavailable(f"{self._model} at {self._endpoint} used up its tokens before its first word")
            if not answer.has_chunks:
                raise ModelUnavailable(
                    f"{self._endpoint} answered with something that is no completion: check OPENAI_BASE_URL "
                    "(it usually ends in /v1)"
                )
            raise ModelUnavailable(f"{self._model} at {self._endpoint} gave an empty answer")
        if answer.finish is None:
            raise ModelInterrupted(f"{self._endpoint} closed the stream before the answer was whole")
        if answer.finish in {"length", "content_filter"}:
            raise ModelTruncated(f"{self._model} at {self._endpoint} ended the answer early ({answer.finish})")


@dataclass(slots=True, kw_only=True)
class _Answer:
    """What is known of one answer while it comes in."""

    usage: Usage
    has_begun: bool = False
    """A visible word was handed on."""
    has_chunks: bool = False
    finish: str | None = None
    chunks: Chunks | None = None
    sent: int = 0
    """Tokens of the prompt, estimated."""
    is_unreported: bool = False
    """The endpoint has taken the prompt and not told what that costs."""
    received: list[str] = field(default_factory=list)
    """What it wrote, thoughts included."""

    @property
    def spent(self) -> Usage:
        """The usage, with an estimate where the endpoint told none."""
        if not self.is_unreported:
            return self.usage
        return replace(self.usage, unreported=self.sent + estimated_tokens("".join(self.received)))

    def read(self, chunk: ChatCompletionChunk) -> str:
        """Take note of a piece of the stream; its visible text.

        The client does not validate what it decodes, so nothing here is sure to have the type it declares.
        """
        self.has_chunks = True
        usage = getattr(chunk, "usage", None)
        if usage is not None:
            self.usage = replace(
                self.usage, input_tokens=usage.prompt_tokens or None, output_tokens=usage.completion_tokens or None
            )
            self.is_unreported = self.is_unreported and not usage.prompt_tokens
        choices = getattr(chunk, "choices", None)
        if not choices:
            return ""
        self.finish = choices[0].finish_reason or self.finish
        text = getattr(choices[0].delta, "content", None)
        if not isinstance(text, str):
            return ""
        self.received.append(text)
        return text
