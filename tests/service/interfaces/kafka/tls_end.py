"""Encryption before a broker that has none: tansu's command line refuses a certificate with its key."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.service.interfaces.kafka.certificates import Certificates


@contextmanager
def tls_end(port: int, behind: str, issued: Certificates) -> Iterator[None]:
    """What comes to the port of this machine by TLS goes on to the address behind, and back."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.server, issued.server_key)
    host, _, inner = behind.partition(":")

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to, on = await asyncio.open_connection(host, int(inner))
        await asyncio.gather(_carry(reader, on), _carry(to, writer))

    async def serve() -> None:
        async with await asyncio.start_server(visit, "127.0.0.1", port, ssl=context):
            listening.set()
            await asyncio.to_thread(ended.wait)

    listening, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        assert listening.wait(60)
        yield
    finally:
        ended.set()
        thread.join()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while content := await reader.read(2**16):
            writer.write(content)
            await writer.drain()
    writer.close()
