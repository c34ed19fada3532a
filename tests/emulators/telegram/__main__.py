"""`python -m tests.emulators.telegram --port 0` serves the emulator and prints its address and token."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from aiohttp import web

from tests.emulators.telegram import TOKEN, TelegramEmulator
from tests.emulators.telegram.checks import parsed
from tests.emulators.telegram.control import Control
from tests.emulators.telegram.world import Json


class _Lenient(TelegramEmulator):
    """Takes rich messages and texts with a parse mode as plain text: for measuring bots that send those."""

    async def call(self, method: str, params: Json) -> web.StreamResponse:
        params.pop("parse_mode", None)
        if rich := parsed(params.pop("rich_message", None), "rich message"):
            params["text"] = rich["markdown"]
        return await super().call({"sendRichMessage": "sendMessage"}.get(method, method), params)


async def _serve(port: int, token: str, *, latency_s: float, is_lenient: bool) -> None:
    emulator = (_Lenient if is_lenient else TelegramEmulator)(token=token, latency_s=latency_s)
    app = emulator.app()
    Control(emulator).add_to(app)
    await emulator.start(port=port, app=app)
    sys.stdout.write(f"{emulator.url} {token}\n")
    sys.stdout.flush()
    try:
        await asyncio.Event().wait()
    finally:
        await emulator.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until a call is carried out")
    parser.add_argument("--lenient", action="store_true", help="take rich messages and parse modes as plain text")
    arguments = parser.parse_args()
    served = _serve(arguments.port, arguments.token, latency_s=arguments.latency, is_lenient=arguments.lenient)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(served)


main()
