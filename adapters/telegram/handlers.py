"""All that people can say and press, in the order in which it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from aiogram import Router

from adapters.desk import Desk
from adapters.telegram.buttons import Buttons
from adapters.telegram.commands import Commands
from adapters.telegram.draft import StopButton
from adapters.telegram.moves import Moves
from adapters.telegram.ports import Accept, Stop
from adapters.telegram.questions import Questions
from adapters.telegram.speech import Speech


class Handlers:
    """What happens to each kind of update. None of these waits for an answer to be written.

    Args:
        accept: Takes a question.
        stop: Stops an answer.
        desk: Knows what was said and what the documents say.
        speech: Says fixed texts.
        first: Routers that are asked before all others, e.g. those of admins.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        accept: Accept,
        stop: Stop,
        desk: Desk,
        speech: Speech,
        first: Sequence[Router] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routers = (
            *first,
            Moves(desk).router(),
            Commands(accept=accept, stop=stop, desk=desk, speech=speech, now=now).router(),
            Questions(accept=accept, speech=speech, now=now).router(),
            Buttons(accept=accept, stop=stop, desk=desk, speech=speech, now=now).router(),
            StopButton(stop).router(),
        )

    def router(self) -> Router:
        """One router over all."""
        router = Router(name="telegram")
        router.include_routers(*self._routers)
        return router
