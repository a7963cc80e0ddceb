"""A small real tool server: whatever it is asked to do it does, as often as it is asked, and writes it down.

`POST /tools/<tool>` acts: after the latency that the script has for this attempt it appends one line to the ledger and
then answers 201 with the audit id. It honours no idempotency key, and a caller that has hung up does not stop it: those
are the two properties of external tools that the incident was made of. Any other method is a read and leaves no trace.

`GET /ledger` tells the truth about executions: every entry, how many requests that act have arrived, and how many of
them have yet to act. Once `in_flight` is 0, nothing that was sent can still add an entry: `?settled=true` waits for
that, `?arrivals=N` for the N-th arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web
from msgspec import Struct

from evaluation.address import Address, parse_address

FIRST_NUMBER = 772_900
"""The audit number that the incident's first attempt was given."""

PREFIXES = {"create_ticket": "tkt", "send_email": "eml", "refund_payment": "rfd"}


class Entry(Struct, frozen=True):
    """One execution: an effect that took place. `ts` is Unix time in seconds, read as the entry is written."""

    audit_id: str
    tool: str
    req: str
    user: str
    run: str
    tool_call: str
    operation: str
    payload_hash: str
    ts: float


class Ledger(Struct, frozen=True):
    """What `GET /ledger` answers: `arrivals` counts requests that act, `in_flight` those that have yet to."""

    arrivals: int
    in_flight: int
    entries: tuple[Entry, ...]


class Audit:
    """The append-only file of executions, one JSON line each.

    An entry is one `write` to a file opened for appending, done before the reply is sent: an execution that anybody has
    heard of is in the file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        decoder = msgspec.json.Decoder(Entry)
        self.entries = [decoder.decode(line) for line in path.read_bytes().splitlines()]

    def append(self, entry: Entry) -> None:
        """Write `entry` down. Raises `OSError` when the file does not take it whole."""
        line = msgspec.json.encode(entry) + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError("the audit ledger took only part of an entry")
        self.entries.append(entry)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class TicketTool:
    """The handlers, and the counts that they keep.

    `latencies` are seconds, by order of arrival; the last one holds for all that follow.
    """

    def __init__(self, audit: Audit, latencies: tuple[float, ...]) -> None:
        self._audit = audit
        self._latencies = latencies
        self._numbered = len(audit.entries)
        self._arrivals = 0
        self._in_flight = 0
        self._changed = asyncio.Condition()

    def application(self) -> web.Application:
        """Return the application that serves this tool."""
        application = web.Application()
        application.router.add_get("/ledger", self._show)
        application.router.add_route("POST", "/tools/{tool}", self._act)
        application.router.add_route("*", "/tools/{tool}", self._read)
        return application

    async def _act(self, request: web.Request) -> web.Response:
        tool = request.match_info["tool"]
        latency = self._latencies[min(self._arrivals, len(self._latencies) - 1)]
        audit_id = f"{PREFIXES.get(tool, 'aud')}_{FIRST_NUMBER + self._numbered}"
        self._arrivals += 1
        self._numbered += 1
        self._in_flight += 1
        await self._tell()
        try:
            body = await request.read()
            await asyncio.sleep(latency)
            entry = _entry(request, tool, audit_id, body)
            self._audit.append(entry)
        finally:
            self._in_flight -= 1
            await self._tell()
        return web.json_response({"id": audit_id, "status": "created", "user_id": entry.user}, status=201)

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response({"tool": request.match_info["tool"], "results": []})

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _show(self, request: web.Request) -> web.Response:
        try:
            arrivals = int(request.query.get("arrivals", "0"))
        except ValueError:
            raise web.HTTPBadRequest(text="arrivals is a number") from None
        settled = request.query.get("settled") == "true"
        async with self._changed:
            await self._changed.wait_for(lambda: self._arrivals >= arrivals and not (settled and self._in_flight))
        ledger = Ledger(self._arrivals, self._in_flight, tuple(self._audit.entries))
        return web.Response(body=msgspec.json.encode(ledger), content_type="application/json")


def _entry(request: web.Request, tool: str, audit_id: str, body: bytes) -> Entry:
    headers = request.headers
    return Entry(
        audit_id=audit_id,
        tool=tool,
        req=headers.get("X-Request-Id", ""),
        user=headers.get("X-User-Id", ""),
        run=headers.get("X-Run-Id", ""),
        tool_call=headers.get("X-Tool-Call-Id", ""),
        operation=headers.get("Holdfast-Operation", ""),
        payload_hash=hashlib.sha256(body).hexdigest()[:16],
        ts=time.time(),
    )


async def serve(listen: Address, ledger: Path, latencies: tuple[float, ...]) -> None:
    """Serve until SIGTERM or SIGINT. Says on stderr where it listens. Raises `OSError` when it cannot."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    audit = Audit(ledger)
    # A handler that the caller's hang-up cancelled would be a tool that takes its effect back: none does.
    runner = web.AppRunner(
        TicketTool(audit, latencies).application(), access_log=None, handler_cancellation=False, shutdown_timeout=0.5
    )
    try:
        await runner.setup()
        site = web.TCPSite(runner, listen.host, listen.port)
        await site.start()
        bound = Address(listen.host, runner.addresses[0][1])
        sys.stderr.write(f"tool server on {bound.url}, its ledger in {ledger}\n")
        await stop.wait()
    finally:
        await runner.cleanup()
        audit.close()


def main() -> None:
    """Run the tool server: `python -m evaluation.ticket_tool --listen HOST:PORT --ledger FILE`."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.ticket_tool", description=__doc__)
    parser.add_argument("--listen", type=parse_address, default=Address("127.0.0.1", 9000), metavar="HOST:PORT")
    parser.add_argument("--ledger", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--latency", type=float, action="append", metavar="SECONDS", help="of the next attempt; the last one repeats"
    )
    arguments = parser.parse_args()
    latencies = tuple(arguments.latency or [0.0])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.listen, arguments.ledger, latencies))


if __name__ == "__main__":
    main()
