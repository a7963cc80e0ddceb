"""Callers over raw sockets: what they send and what they get is bytes, and nothing re-sends, follows or decodes."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from tests.proxy.tools import PATIENCE_S, RESET


@dataclass
class Answer:
    """One HTTP answer. `raw` is everything as it came, `body` what the framing says; `interim` holds 1xx statuses."""

    status: int
    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    raw: bytes
    interim: list[int] = field(default_factory=list)
    trailers: bytes = b""

    def get(self, name: str) -> str:
        """Return a field's value, empty if it is not there. Fails if it is there twice."""
        values = [value.decode() for given, value in self.fields if given.lower() == name.lower().encode()]
        assert len(values) < 2, values
        return values[0] if values else ""

    @property
    def outcome(self) -> str:
        """Holdfast-Outcome."""
        return self.get("Holdfast-Outcome")

    @property
    def problem(self) -> str:
        """The kind of a refusal, empty if this is none."""
        if self.get("Content-Type") != "application/problem+json":
            return ""
        document = self.json()
        assert document["status"] == self.status
        assert self.get("Proxy-Status").startswith("holdfast; error=")
        return str(document["type"]).removeprefix("urn:holdfast:problem:")

    @property
    def said(self) -> tuple[int, str, str]:
        """Status, outcome and problem: what most tests ask about."""
        return self.status, self.outcome, self.problem

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Caller:
    """One connection to a data port."""

    def __init__(self, port: int, *, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, data: bytes) -> Caller:
        """Send raw bytes."""
        self.socket.sendall(data)
        return self

    def answer(self, *, head_only: bool = False) -> Answer:
        """Read one answer; `head_only` for those to HEAD, and to look at a head before its body comes."""
        interim: list[int] = []
        raw = b""
        while True:
            head = self.until(b"\r\n\r\n")
            raw += head
            line, *lines = head[:-4].split(b"\r\n")
            fields = [(name, value.removeprefix(b" ")) for name, _, value in (one.partition(b":") for one in lines)]
            status = int(line.split(b" ")[1])
            if status >= 200:
                break
            interim.append(status)
        answer = Answer(status, line, fields, b"", raw, interim)
        if not head_only and status not in {204, 304}:
            self._read_body(answer)
        return answer

    def until(self, mark: bytes) -> bytes:
        """Read up to and including `mark`. Raises ConnectionError at the connection's end."""
        while mark not in self._buffer:
            self._buffer += self._receive()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        """Read so many bytes. Raises ConnectionError at the connection's end."""
        pieces, have = [self._buffer], len(self._buffer)
        while have < size:
            pieces.append(self._receive())
            have += len(pieces[-1])
        whole = b"".join(pieces)
        self._buffer = whole[size:]
        return whole[:size]

    def chunk(self) -> bytes:
        """Read one chunk; empty is the last one, whose trailers are left to read."""
        size = int(self.until(b"\r\n"), 16)
        if not size:
            return b""
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data

    def rest(self) -> bytes:
        """Read to the connection's end, whichever way it ends."""
        data = self._buffer
        with contextlib.suppress(ConnectionError):
            while True:
                data += self._receive()
        self._buffer = b""
        return data

    def closed(self) -> bool:
        """Say whether the proxy has hung up with nothing more to say; waits for it."""
        return self.rest() == b""

    def close(self) -> None:
        """Hang up in an orderly way."""
        self.socket.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Hang up with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()

    def _read_body(self, answer: Answer) -> None:
        start = len(answer.raw)
        if answer.get("Transfer-Encoding") == "chunked":
            while data := self.chunk():
                answer.body += data
            while (line := self.until(b"\r\n")) != b"\r\n":
                answer.trailers += line
        elif length := answer.get("Content-Length"):
            answer.body = self.exactly(int(length))
        elif not answer.get("Content-Length"):
            answer.body = self.rest()
        answer.raw += answer.body
        assert len(answer.raw) >= start

    def _receive(self) -> bytes:
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionResetError("the proxy closed the connection")
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(
    target: str = "/tools/act", *fields: tuple[str, str], body: bytes = b"", method: str = "POST", version: str = "1.1"
) -> bytes:
    """Return a request with Host and, for a body, Content-Length."""
    lines = [
        f"{method} {target} HTTP/{version}",
        "Host: tools.example",
        *(f"{name}: {value}" for name, value in fields),
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n" + body


def call(
    run: str, *fields: tuple[str, str], tool: str = "act", call: str = "call-1", script: bytes = b"",
    method: str = "POST", body: bytes = b'{"subject":"printer"}', target: str = "",
) -> bytes:  # fmt: skip
    """Return a keyed call of a tool, to be answered by the tool's `script`."""
    named = (("X-Run-Id", run), ("X-Tool-Call-Id", call), ("X-Script", script.decode()))
    return request(target or f"/tools/{tool}", *(one for one in named if one[1]), *fields, body=body, method=method)


def ask(port: int, data: bytes, *, head_only: bool = False) -> Answer:
    """Send one request on a connection of its own and return the answer."""
    with Caller(port) as caller:
        return caller.send(data).answer(head_only=head_only)


@contextlib.contextmanager
def callers(port: int, count: int) -> Iterator[list[Caller]]:
    """Open so many connections."""
    opened: list[Caller] = []
    try:
        while len(opened) < count:
            opened.append(Caller(port))
        yield opened
    finally:
        for caller in opened:
            caller.close()
