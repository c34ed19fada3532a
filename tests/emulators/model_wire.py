"""What the scripted model server writes: OpenAI's JSON bodies, the echo of a prompt's passages, embeddings of words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

_PASSAGE = re.compile(r'<passage n="(\d+)"[^>]*>\n(.*?)\n</passage>', re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?])\s")


def words(text: str) -> tuple[str, ...]:
    """`text` in pieces of one word with the space before it, as a model would stream it."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))


def echo(prompt: str) -> tuple[str, ...]:
    """The first sentence of each of the first three passages in `prompt`, with its number."""
    sentences = []
    for number, text in _PASSAGE.findall(prompt)[:3]:
        sentence = _SENTENCE.split(text.strip(), maxsplit=1)[0]
        sentences.append(f"{sentence} [{number}]")
    return words("\n\n".join(sentences) or "NO_ANSWER")


def embedding(text: str, dimensions: int) -> list[float]:
    """A unit vector of hashed words: texts that share words are near each other, the same everywhere."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % dimensions] += 1.0
    norm = sum(value * value for value in vector) ** 0.5
    return [value / norm for value in vector] if norm else [1.0, *vector[1:]]


def error(status: int, message: str, code: str | None, *, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def usage_of(body: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, int]:
    prompt = sum(len(str(message.get("content", "")).split()) for message in body.get("messages", []))
    return {"prompt_tokens": prompt, "completion_tokens": len(tokens), "total_tokens": prompt + len(tokens)}


def chunk(body: Mapping[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": body.get("model", "")}
    return {**frame, "choices": choices}


def completion(body: Mapping[str, Any], tokens: Sequence[str], finish: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(tokens)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage_of(body, tokens),
    }
