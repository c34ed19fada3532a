"""A model server that reads: for each passage it is sent it answers with what a test says is in there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.emulators.model import Exchange, ModelServer, Reply

_PASSAGE = re.compile(r'<passage n="(\d+)" title="([^"]*)">\n(.*?)\n</passage>', re.DOTALL)

Facts = Mapping[str, Mapping[str, Any]]
"""By a piece of a passage: the `entities` and `relations` in it."""


def entity(name: str, *sentences: int, aliases: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": name, "aliases": aliases, "sentences": sentences}


def relation(subject: str, what: str, object_: str, sentence: int = 0) -> dict[str, Any]:
    return {"subject": subject, "relation": what, "object": object_, "sentence": sentence}


def is_extraction(exchange: Exchange) -> bool:
    return "The JSON object for these" in exchange.prompt


def passages(exchange: Exchange) -> list[str]:
    """The texts of a request's passages, sentence by sentence."""
    return [text for _, _, text in _PASSAGE.findall(exchange.prompt)]


class Reader(ModelServer):
    """Answers what it is scripted to, else from the facts."""

    def __init__(self, facts: Facts | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.facts = dict(facts or {})

    @property
    def read(self) -> list[str]:
        """The texts of all passages that were sent so far."""
        return [text for each in self.exchanges if is_extraction(each) for text in passages(each)]

    def forget_script(self) -> None:
        """Answer from the facts alone from now on."""
        self._replies.clear()

    def _take(self, exchange: Exchange) -> Reply:
        reply = super()._take(exchange)
        if reply.tokens is not None or not is_extraction(exchange):
            return reply
        return replace(reply, tokens=(json.dumps({"passages": self._parts(exchange)}, ensure_ascii=False),))

    def _parts(self, exchange: Exchange) -> list[dict[str, Any]]:
        parts = []
        for number, _, text in _PASSAGE.findall(exchange.prompt):
            part: dict[str, Any] = {"n": int(number), "entities": [], "relations": []}
            for piece, fact in self.facts.items():
                if piece in text:
                    part["entities"] += fact.get("entities", ())
                    part["relations"] += fact.get("relations", ())
            parts.append(part)
        return parts
