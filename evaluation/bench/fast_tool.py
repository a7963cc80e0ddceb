"""The tool behind every system of the bench: it answers 201 with little work of its own, and counts.

`POST /tools/...` is an execution and is answered after the delay; `GET /tools/...` is a read, answered 200 at once.
`PUT /_bench/delay/<microseconds>` sets the delay, `GET /_bench/executions` tells the count since the start. Requests
have a Content-Length or no body; pipelining and chunks are not spoken, and a request in them closes the connection.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque
from typing import cast

import uvloop

from evaluation.address import Address, parse_address
from evaluation.bench.alarm import Alarm
from evaluation.bench.framing import BadFraming, split_message

CREATED_BODY = (
    b'{"id":"tkt_772900","status":"created","user_id":"usr_1042","subject":"Export fails since this morning"}'
)


def answer(status: bytes, body: bytes) -> bytes:
    """Return a whole response with a JSON body."""
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


CREATED = answer(b"201 Created", CREATED_BODY)
READ = answer(b"200 OK", b'{"results":[]}')
NOT_FOUND = answer(b"404 Not Found", b"{}")


class Tool:
    """The count and the delay, and the answers that wait for it: first come, first served, as the delay is one for
    all."""

    def __init__(self) -> None:
        self.executions = 0
        self.delay_s = 0.0
        self._waiting: deque[tuple[float, asyncio.Transport]] = deque()
        self._alarm = Alarm(self._serve)

    def execute(self, transport: asyncio.Transport) -> None:
        """Count an execution and answer it after the delay."""
        self.executions += 1
        if not self.delay_s:
            transport.write(CREATED)
            return
        self._waiting.append((time.monotonic() + self.delay_s, transport))
        if len(self._waiting) == 1:
            self._alarm.arm(self._waiting[0][0])

    def _serve(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1].write(CREATED)
        if self._waiting:
            self._alarm.arm(self._waiting[0][0])


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is one in all but its bases

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        self._buffer = data = self._buffer + data if self._buffer else data
        try:
            message = split_message(data, bodiless=data.startswith(b"GET "))
        except BadFraming:
            self._transport.abort()
            return
        if message is None:
            return
        self._buffer = b""
        if data.startswith(b"POST /tools/"):
            self._tool.execute(self._transport)
        elif data.startswith(b"GET /tools/"):
            self._transport.write(READ)
        else:
            self._transport.write(self._control(message[0].split(b" ", 2)[1]))

    def _control(self, target: bytes) -> bytes:
        match target.split(b"/"):
            case [b"", b"_bench", b"executions"]:
                return answer(b"200 OK", b"%d" % self._tool.executions)
            case [b"", b"_bench", b"delay", microseconds]:
                self._tool.delay_s = int(microseconds) / 1e6
                return answer(b"200 OK", b"{}")
            case _:
                return NOT_FOUND


async def serve(listen: Address) -> None:
    """Serve until the process ends."""
    tool = Tool()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(tool), listen.host, listen.port)
    await server.serve_forever()


def main() -> None:
    """Run the tool: `python -m evaluation.bench.fast_tool --listen HOST:PORT`."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.bench.fast_tool")
    parser.add_argument("--listen", type=parse_address, required=True, metavar="HOST:PORT")
    uvloop.run(serve(parser.parse_args().listen))


if __name__ == "__main__":
    main()
