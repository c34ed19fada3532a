"""What stands in for the process in tests of the Slack adapter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from adapters.ports import Inbound, StopOutcome, StopRequest
from tests.emulators.slack import SlackEmulator


@dataclass
class Process:
    """Keeps what it accepted, and answers nothing by itself."""

    accepted: asyncio.Queue[Inbound] = field(default_factory=asyncio.Queue)
    stops: list[StopRequest] = field(default_factory=list)
    acknowledged_before: list[int] = field(default_factory=list)
    failures: int = 0
    slack: SlackEmulator | None = None

    async def accept(self, inbound: Inbound) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the state store is away")
        assert self.slack is not None
        self.acknowledged_before.append(len(self.slack.acknowledged))
        self.accepted.put_nowait(inbound)

    async def stop(self, request: StopRequest) -> StopOutcome:
        self.stops.append(request)
        return "stopped"
