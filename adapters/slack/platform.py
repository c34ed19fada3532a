"""Slack as the process sees it: takes events before Slack is told so, opens live messages, closes cleanly."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError, SlackClientError

from adapters.live.budget import LocalBudget
from adapters.live.pacer import backoff_s
from adapters.live.publisher import Publisher
from adapters.ports import Budget, Inbound, StopOutcome, StopRequest
from adapters.slack.inbound import from_command, from_event, is_direct, place_of
from adapters.slack.limits import charges
from adapters.slack.live import SlackTransport, meaning
from adapters.slack.render import SlackRenderer, SlackScreen, harmless
from adapters.slack.words import HELP, words

log = logging.getLogger(__name__)

Accept = Callable[[Inbound], Awaitable[None]]
"""Records the question as owed and queues it; raises if it could not be recorded."""
Stop = Callable[[StopRequest], Awaitable[StopOutcome]]
SlackLiveMessage = Publisher[SlackScreen]
COMMAND = "/ask"
_REFUSED = {
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "not_allowed_token_type",
}


class SlackRefused(Exception):
    """Slack does not know a token."""

    def __init__(self, setting: str) -> None:
        shape = "xoxb-" if setting == "SLACK_BOT_TOKEN" else "xapp-"
        super().__init__(f"Slack refused {setting}: set it to the {shape} token that your app's settings show")


class Socket(Protocol):
    """What is needed of Bolt's Socket Mode handler."""

    async def connect_async(self) -> None: ...

    async def close_async(self) -> None: ...


class SlackPlatform:
    """One app in one workspace.

    Args:
        app: Bolt, with its client; made by the caller.
        socket: Bolt's Socket Mode handler for it; None where events come by another way.
        accept: Takes a question; has recorded it durably when it returns. May be called again with the same event id.
        stop: Stops the answer being written in a lane.
        budget: What calls may be spent; None: Slack's limits, counted in this process.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        app: AsyncApp,
        *,
        socket: Socket | None,
        accept: Accept,
        stop: Stop,
        budget: Budget | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._socket = socket
        self._accept = accept
        self._stop = stop
        self._budget = budget or LocalBudget(charges, now=now)
        self._now = now
        self._me = ""
        self._tasks: set[asyncio.Task[None]] = set()
        app.middleware(self._take)
        app.event("app_mention")(_taken)
        app.event("message")(_taken)
        app.command(COMMAND)(_answer_command)

    async def identify(self) -> str:
        """The bot's name; raises `SlackRefused`, or `ConnectionError` if Slack cannot be reached."""
        try:
            answer = await self._app.client.auth_test()
        except SlackApiError as error:
            if error.response.get("error") in _REFUSED:
                raise SlackRefused("SLACK_BOT_TOKEN") from None
            raise ConnectionError(f"Slack does not answer ({meaning(error)})") from None
        except (SlackClientError, OSError, TimeoutError) as error:
            raise ConnectionError(f"Slack does not answer ({type(error).__name__})") from None
        self._me = str(answer["user_id"])
        return str(answer.get("user") or self._me)

    async def run(self) -> None:
        """Receive events over Socket Mode until cancelled; raises `SlackRefused`. Waits out everything else."""
        assert self._socket is not None
        name = await self._until_it_works(self.identify)
        try:
            await self._until_it_works(self._connect)
            log.info("Slack: listening as @%s", name)
            await asyncio.Event().wait()
        finally:
            await self._socket.close_async()

    def open_message(
        self,
        inbound: Inbound,
        *,
        on_posted: Callable[[str], Awaitable[None]] | None = None,
        on_delivered: Callable[[], Awaitable[None]] | None = None,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> SlackLiveMessage:
        """A message that will grow where the question was asked: in its thread, or in the direct message."""
        return self._message(inbound, None, on_posted, on_delivered, permit)

    def reopen_message(
        self,
        inbound: Inbound,
        message_id: str,
        *,
        on_posted: Callable[[str], Awaitable[None]] | None = None,
        on_delivered: Callable[[], Awaitable[None]] | None = None,
        permit: Callable[[], Awaitable[bool]] | None = None,
    ) -> SlackLiveMessage:
        """The message that an interrupted answer was growing in; `message_id` is what `on_posted` was told last."""
        return self._message(inbound, message_id, on_posted, on_delivered, permit)

    async def close(self) -> None:
        """Cut off what is still being delivered; the questions stay owed."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, body: dict[str, Any], next: Callable[[], Awaitable[None]]) -> None:  # noqa: A002 - Bolt passes arguments by name
        """Runs before Bolt acknowledges: what is said to us is recorded first. If that fails, Slack delivers again."""
        if not self._me:
            await self.identify()
        is_command = body.get("command") == COMMAND
        read = from_command if is_command else from_event
        inbound = read(body, me=self._me, received_at=self._now())
        if inbound is not None and inbound.text:
            if not is_command and inbound.text.lower() in {"stop", "/stop", "dừng"}:
                await self._stop(
                    StopRequest(
                        platform="slack",
                        conversation=inbound.conversation,
                        asker=inbound.sender,
                        presser=inbound.sender,
                    )
                )
            else:
                await self._accept(inbound)
        await next()

    async def _connect(self) -> None:
        assert self._socket is not None
        try:
            await self._socket.connect_async()
        except SlackApiError as error:
            if error.response.get("error") in _REFUSED:
                raise SlackRefused("SLACK_APP_TOKEN") from None
            raise ConnectionError(f"Slack does not answer ({meaning(error)})") from None
        except (SlackClientError, OSError, TimeoutError) as error:
            raise ConnectionError(f"Slack does not answer ({type(error).__name__})") from None

    async def _until_it_works(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        failures = 0
        while True:
            try:
                return await attempt()
            except ConnectionError as error:
                failures += 1
                if failures in {1, 10, 100, 1000}:
                    log.warning("%s; trying again", error)
                await asyncio.sleep(backoff_s(failures))

    def _message(
        self,
        inbound: Inbound,
        reopen: str | None,
        on_posted: Callable[[str], Awaitable[None]] | None,
        on_delivered: Callable[[], Awaitable[None]] | None,
        permit: Callable[[], Awaitable[bool]] | None,
    ) -> SlackLiveMessage:
        channel, thread = place_of(inbound.conversation)
        sentences = words(inbound.language_hint)
        heading = None
        if thread is None and not is_direct(channel):
            # Names the asker without notifying them: they have just asked.
            question = harmless(" ".join(inbound.text.split())[:300], ())
            heading = sentences.asked.format(who=f"<@{inbound.sender}>", question=question)
        return Publisher(
            chat=inbound.conversation,
            renderer=SlackRenderer(sentences),
            transport=SlackTransport(client=self._app.client, channel=channel, thread_ts=thread, heading=heading),
            budget=self._budget,
            now=self._now,
            on_posted=on_posted,
            on_delivered=on_delivered,
            permit=permit,
            reopen=reopen,
            spawn=self._spawn,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _taken() -> None:
    """Nothing is left to do: the question was taken before."""


async def _answer_command(ack: AsyncAck, body: dict[str, Any]) -> None:
    """Acknowledge; a command without a question gets the way to ask, seen by its sender only."""
    if str(body.get("text") or "").strip():
        await ack()
    else:
        await ack(HELP)
