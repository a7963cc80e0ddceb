"""How many requests a Redis has read, asked over a connection of our own without a client library's doings.

Requests are what it calls reads: each is one command, or several that came at once over a connection that is shared.
Its counts of commands are no measure: what a script does inside of the server counts there as if it had been sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

from evaluation.address import Address

_READS = re.compile(rb"^total_reads_processed:(\d+)", re.MULTILINE)
ANSWER_S = 5.0


async def pongs(address: Address) -> bool:
    """Say whether a Redis answers right now, and has loaded what it keeps."""
    try:
        return (await _ask(address, b"PING\r\n")).startswith(b"+PONG")
    except (OSError, TimeoutError, EOFError):
        return False


async def requests(address: Address) -> int:
    """Return the requests that a Redis has read since its start, this one included. Raises `OSError`, `EOFError` and
    `TimeoutError`."""
    return counted(await _ask(address, b"INFO stats\r\n"))


def counted(told: bytes) -> int:
    """Return the requests in the text of `INFO stats`; 0 for a server that does not tell."""
    found = _READS.search(told)
    return int(found[1]) if found else 0


async def _ask(address: Address, command: bytes) -> bytes:
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            writer.write(command)
            line = await reader.readuntil(b"\r\n")
            return await reader.readexactly(int(line[1:])) if line.startswith(b"$") else line
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
