"""A company's network in small: names that only its proxy resolves, certificates that only its own CA vouches for."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Company:
    """The proxy and its CA."""

    ca_file: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """`host:port` of every CONNECT."""
    doors: dict[str, int] = field(default_factory=dict)
    """Host to the port on 127.0.0.1 where its TLS ends."""


@asynccontextmanager
async def company(folder: Path, hosts: Mapping[str, str]) -> AsyncIterator[Company]:
    """A CONNECT proxy through which `https://<host>` leads to a plain server (`hosts`: name to its http address)."""
    certificate, key = await asyncio.to_thread(_certificate, folder, sorted(hosts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    one = Company(ca_file=certificate)
    async with contextlib.AsyncExitStack() as stack:
        for host, target in hosts.items():
            port = urlsplit(target).port
            assert port is not None
            one.doors[host] = await stack.enter_async_context(_forwarder(port, context))
        one.url = f"http://127.0.0.1:{await stack.enter_async_context(_proxy(one))}"
        yield one


def _certificate(folder: Path, hosts: list[str]) -> tuple[Path, Path]:
    certificate, key = folder / "ca.pem", folder / "ca.key"
    names = ",".join(f"DNS:{host}" for host in hosts)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=company", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@asynccontextmanager
async def _forwarder(target: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, target)

    async with _served(accept, context) as port:
        yield port


@asynccontextmanager
async def _proxy(one: Company) -> AsyncIterator[int]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, where, _ = head.split(" ", 2)
        one.asked.append(where)
        door = one.doors.get(where.partition(":")[0])
        if method != "CONNECT" or door is None:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join(reader, writer, door)

    async with _served(accept, None) as port:
        yield port


@asynccontextmanager
async def _served(accept: Accept, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    running = set[asyncio.Task[None]]()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await accept(reader, writer)
        running.discard(task)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    there, back = await asyncio.open_connection("127.0.0.1", port)
    try:
        await asyncio.gather(_pump(reader, back), _pump(there, writer))
    finally:
        writer.transport.abort()
        back.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.transport.abort()
