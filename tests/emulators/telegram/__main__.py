"""`python -m tests.emulators.telegram --port 0` serves the emulator and prints its address and token."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from tests.emulators.telegram import TOKEN, TelegramEmulator
from tests.emulators.telegram.control import Control


async def _serve(port: int, token: str) -> None:
    emulator = TelegramEmulator(token=token)
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
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.port, arguments.token))


main()
