"""A small real tool server: whatever it is asked to do it does, as often as it is asked, and writes it down.

`POST /tools/<tool>` acts: after the latency that the script has for this attempt it appends one line to the ledger and
then answers 201 with the audit id. It honours no idempotency key, and a caller that has hung up does not stop it: those
are the two properties of external tools that the incident was made of. With `--honours` it is a better tool: one key,
one entry (`evaluation.honoured_keys`). Any other method is a read and leaves no trace.

`GET /tickets?external_ref=<operation>` is the tool's own lookup, for whoever wants to know what became of a call: it
finds what was done under that `Holdfast-Operation`, and nothing that is still being worked on.

`GET /ledger` tells the truth about executions: every entry, how many requests to act have arrived, and how many of
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
from evaluation.honoured_keys import HonouredKeys, Known, Word
from policies.model import Selector
from policies.selector import parse_selector

FIRST_NUMBER = 772_900
"""The audit number that the incident's first attempt was given."""

PREFIXES = {"create_ticket": "tkt", "send_email": "eml", "refund_payment": "rfd"}


class Entry(Struct, frozen=True):
    """One execution: an effect that took place. `ts` is Unix time in seconds, read as the entry is written; `key` is
    the idempotency key that was honoured, empty if none was."""

    audit_id: str
    tool: str
    req: str
    user: str
    run: str
    tool_call: str
    operation: str
    payload_hash: str
    ts: float
    key: str = ""


class Ledger(Struct, frozen=True):
    """What `GET /ledger` answers: `arrivals` counts requests to act, `in_flight` those that have yet to."""

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

    `latencies` are seconds, by order of arrival; the last one holds for all that follow. `honours` is where a request
    has its idempotency key, None for a tool that knows no such thing.
    """

    def __init__(self, audit: Audit, latencies: tuple[float, ...], honours: Selector | None = None) -> None:
        self._audit = audit
        self._latencies = latencies
        done = ((entry.tool, entry.key, Known(entry.payload_hash, entry.audit_id)) for entry in audit.entries)
        self._keys = None if honours is None else HonouredKeys(honours, done)
        self._numbered = max((_number(entry) for entry in audit.entries), default=0)
        self._arrivals = 0
        self._in_flight = 0
        self._changed = asyncio.Condition()

    def application(self) -> web.Application:
        """Return the application that serves this tool."""
        application = web.Application()
        application.router.add_get("/ledger", self._show)
        application.router.add_get("/tickets", self._look_up)
        application.router.add_route("POST", "/tools/{tool}", self._act)
        application.router.add_route("*", "/tools/{tool}", self._read)
        return application

    async def _act(self, request: web.Request) -> web.Response:
        latency = self._latencies[min(self._arrivals, len(self._latencies) - 1)]
        audit_id = self._next_id(request.match_info["tool"])
        self._arrivals += 1
        self._in_flight += 1
        await self._tell()
        try:
            return await self._act_once(request, audit_id, latency)
        finally:
            self._in_flight -= 1
            await self._tell()

    def _next_id(self, tool: str) -> str:
        self._numbered += 1  # also by attempts that come to nothing: numbers are given on arrival
        return f"{PREFIXES.get(tool, 'aud')}_{FIRST_NUMBER + self._numbered - 1}"

    async def _act_once(self, request: web.Request, audit_id: str, latency: float) -> web.Response:
        """Act, unless the request's key says that this has been done, or is being done."""
        tool, body = request.match_info["tool"], await request.read()
        keys = self._keys
        key = "" if keys is None else keys.key_of(request.headers, body)
        entry = _entry(request, tool, audit_id, body, key)
        if keys is None or not key:
            return await self._execute(entry, latency)
        word, done = keys.arrived(tool, key, entry.payload_hash)
        if word is not Word.FRESH:
            return self._by_key(word, done)
        answer: str | None = None
        try:
            response = await self._execute(entry, latency)
            answer = audit_id
        finally:
            keys.ended(tool, key, entry.payload_hash, answer)
        return response

    async def _execute(self, entry: Entry, latency: float) -> web.Response:
        await asyncio.sleep(latency)
        entry = msgspec.structs.replace(entry, ts=time.time())
        self._audit.append(entry)
        return web.json_response(_answer(entry), status=201)

    def _by_key(self, word: Word, done: str) -> web.Response:
        if word is Word.DONE:
            entry = next(entry for entry in self._audit.entries if entry.audit_id == done)
            return web.json_response(_answer(entry), status=201, headers={"Idempotent-Replayed": "true"})
        if word is Word.AT_WORK:
            return web.json_response({"error": "a request with this key is being worked on"}, status=409)
        return web.json_response({"error": "this key came with another request"}, status=422)

    async def _look_up(self, request: web.Request) -> web.Response:
        ref = request.query.get("external_ref", "")
        found = [
            {**_answer(entry), "external_ref": ref, "created_at": entry.ts}
            for entry in self._audit.entries
            if ref and entry.operation == ref
        ]
        return web.json_response({"items": found})

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


def _number(entry: Entry) -> int:
    """Return which attempt this was, counted from 1."""
    return int(entry.audit_id.rpartition("_")[2]) - FIRST_NUMBER + 1


def _answer(entry: Entry) -> dict[str, str]:
    return {"id": entry.audit_id, "status": "created", "user_id": entry.user}


def _entry(request: web.Request, tool: str, audit_id: str, body: bytes, key: str) -> Entry:
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
        key=key,
    )


async def serve(listen: Address, ledger: Path, latencies: tuple[float, ...], honours: Selector | None) -> None:
    """Serve until SIGTERM or SIGINT. Says on stderr where it listens. Raises `OSError` when it cannot."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    audit = Audit(ledger)
    # A handler that the caller's hang-up cancelled would be a tool that takes its effect back: none does.
    runner = web.AppRunner(
        TicketTool(audit, latencies, honours).application(), access_log=None, handler_cancellation=False,
        shutdown_timeout=0.5,
    )  # fmt: skip
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
    parser.add_argument(
        "--honours", type=parse_selector, metavar="header:NAME|body:/POINTER", help="where its idempotency keys are"
    )
    arguments = parser.parse_args()
    latencies = tuple(arguments.latency or [0.0])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.listen, arguments.ledger, latencies, arguments.honours))


if __name__ == "__main__":
    main()
