"""Work that one replica does for all: receiving from a bot that hands its updates to one poller only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from bot.outbox import BEAT_S, Outbox
from bot.state.sqlite import StateError

log = structlog.get_logger(__name__)


async def leading(outbox: Outbox, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do `work` whenever it is our turn to, until cancelled; raises what it raises. The next leader follows at once.

    Two pollers of one bot would only throw each other out (409), a batch of updates lost in between each time.
    """
    task: asyncio.Task[None] | None = None
    try:
        while True:
            is_ours = await _leads(outbox, name, was=task is not None)
            if is_ours and task is None:
                log.info("leading", what=name)
                task = asyncio.create_task(work(), name=name)
            elif not is_ours and task is not None:
                log.warning("leading_no_more", what=name)
                await _end(task)
                task = None
            if task is None:
                await asyncio.sleep(BEAT_S / 2)
            else:
                await asyncio.wait({task}, timeout=BEAT_S)
                if task.done():
                    task.result()
                    return
    finally:
        if task is not None:
            await _end(task)
            try:
                await outbox.resign(name)
            except StateError as error:
                log.error("not_resigned", what=name, reason=str(error))  # noqa: TRY400 - an expected fault


async def _leads(outbox: Outbox, name: str, *, was: bool) -> bool:
    try:
        return await outbox.lead(name)
    except StateError as error:
        log.error("leader_unknown", what=name, reason=str(error))  # noqa: TRY400 - an expected fault
        return was


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
