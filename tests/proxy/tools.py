"""A tool that does as it is told, byte by byte, and keeps a ledger of its own: what it was asked to do, and how often.

It runs in threads beside the test. A request says by its `X-Script` field which script answers it; scripts are plain
functions over a blocking socket, so that a test reads like what happens on the wire. Executions are counted here, at
the tool's side, where a second ticket would be filed.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PATIENCE_S = 60.0
"""No script and no wait of a test lasts longer; what does has failed."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset."""

TLS_HANDSHAKE = 0x16
"""The first byte of a ClientHello: somebody takes this tool for one that speaks TLS."""

Script = Callable[["Wire", "Execution"], None]


class Gone(Exception):
    """The proxy hung up."""


@dataclass
class Execution:
    """One request as the tool saw it. `head` is raw, with its empty line; `body` is as framed, chunks taken apart."""

    connection: int
    head: bytes
    body: bytes = b""
    whole: bool = False

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.partition(b"\r\n")[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields in their order and case."""
        lines = self.head.split(b"\r\n")[1:-2]
        return [(name, value.removeprefix(b" ")) for name, _, value in (line.partition(b":") for line in lines)]

    def get(self, name: bytes) -> bytes:
        """Return a field's value, empty if it is not there. Fails if it is there twice."""
        values = [value for given, value in self.fields if given.lower() == name.lower()]
        assert len(values) < 2, values
        return values[0] if values else b""


class Wire:
    """The tool's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        connection.settimeout(PATIENCE_S)

    def until(self, mark: bytes) -> bytes:
        """Read up to and including `mark`. Raises `Gone`."""
        while mark not in self._buffer:
            self._buffer += self._receive()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        """Read so many bytes. Raises `Gone`."""
        while len(self._buffer) < size:
            self._buffer += self._receive()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def body(self, execution: Execution) -> bytes:
        """Read the body that the head announces. Raises `Gone`."""
        if execution.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            assert self.exactly(2) == b"\r\n"
            return body
        return self.exactly(int(execution.get(b"content-length") or 0))

    def send(self, data: bytes) -> None:
        """Send raw bytes. Raises `Gone`."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Gone from error

    def reply(self, body: bytes = b"", status: bytes = b"200 OK", *fields: bytes) -> None:
        """Send a whole reply with a Content-Length."""
        head = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body)))
        self.send(head + b"\r\n" + body)

    def close(self) -> None:
        """Hang up in an orderly way."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        raise Gone

    def reset(self) -> None:
        """Hang up with a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()
        raise Gone

    def hung_up(self) -> bool:
        """Wait until the proxy hangs up; False if it sends something."""
        try:
            return not self._buffer and not self._socket.recv(1)
        except TimeoutError:
            raise AssertionError("the proxy did not hang up") from None
        except OSError:
            return True

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(65_536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        if data[0] == TLS_HANDSHAKE:
            self.send(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
            raise Gone
        return data


class Tool:
    """Listens on a port of `host` from `start` to `stop`."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.connections = 0
        self._busy = 0
        self._ledger: list[Execution] = []
        self._changed = threading.Condition()
        self._scripts: dict[bytes, tuple[Script, bool]] = {b"": (succeed, True)}
        self._numbers = itertools.count(1)
        self._listener = socket.create_server((host, 0), backlog=1024)
        self._sockets: set[socket.socket] = set()
        self._failures: list[BaseException] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"

    def start(self) -> None:
        """Begin to accept."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Hang up on everybody; fail if a script did."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        assert not self._failures, self._failures

    def script(self, script: Script, *, reads_body: bool = True) -> bytes:
        """Return the name by which requests ask for `script`; without `reads_body` it starts right after the head."""
        name = b"s%d" % next(self._numbers)
        self._scripts[name] = (script, reads_body)
        return name

    def answer_all(self, script: Script) -> None:
        """Let `script` answer every request that names none."""
        self._scripts[b""] = (script, True)

    def executions(self, run: str) -> list[Execution]:
        """Return what came in for a run, in its order: everything whose head was whole."""
        with self._changed:
            return [one for one in self._ledger if one.get(b"x-run-id") == run.encode()]

    def await_executions(self, run: str, count: int = 1) -> list[Execution]:
        """Wait until so many whole requests of a run have come in."""
        with self._changed:
            enough = self._changed.wait_for(
                lambda: sum(one.whole for one in self._ledger if one.get(b"x-run-id") == run.encode()) >= count,
                PATIENCE_S,
            )
        assert enough, f"{len(self.executions(run))} of {count} executions of {run}"
        return self.executions(run)

    def idle(self) -> bool:
        """Say whether no script is under way."""
        with self._changed:
            return self._busy == 0

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.add(connection)
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        wire = Wire(connection)
        try:
            while True:
                self._one(wire, number)
        except Gone:
            pass
        except BaseException as error:  # noqa: BLE001  a thread's failure is the test's, and is told at its end
            self._failures.append(error)
        finally:
            self._sockets.discard(connection)
            connection.close()

    def _one(self, wire: Wire, number: int) -> None:
        execution = Execution(number, wire.until(b"\r\n\r\n"))
        with self._changed:
            self._ledger.append(execution)
        script, reads_body = self._scripts[execution.get(b"x-script")]
        if reads_body:
            execution.body = wire.body(execution)
            self._note_whole(execution)
        with self._changed:
            self._busy += 1
        try:
            script(wire, execution)
        finally:
            with self._changed:
                self._busy -= 1

    def _note_whole(self, execution: Execution) -> None:
        with self._changed:
            execution.whole = True
            self._changed.notify_all()


@dataclass
class Gate:
    """Two points in a script that a test steers: it is told when the script has come here, and lets it go on."""

    _reached: threading.Event = field(default_factory=threading.Event)
    _opened: threading.Event = field(default_factory=threading.Event)

    def pass_through(self) -> None:
        """Script: say that this point is reached, and wait until the test opens the gate."""
        self._reached.set()
        assert self._opened.wait(PATIENCE_S), "the test never opened the gate"

    def await_reached(self) -> None:
        """Test: wait until the script is here."""
        assert self._reached.wait(PATIENCE_S), "the script never came here"

    def open(self) -> None:
        """Test: let the script go on."""
        self._opened.set()


def succeed(wire: Wire, execution: Execution) -> None:
    """Answer 200 with a number that no other execution gets, so that a replay can be told from a second execution."""
    wire.reply(b'{"ticket":%d}' % next(_tickets), b"200 OK", b"Content-Type: application/json")


def says(raw: bytes) -> Script:
    """Answer with raw bytes and go on listening."""
    return lambda wire, _: wire.send(raw)


def ends_after(raw: bytes, *, reset: bool = False) -> Script:
    """Send raw bytes, then hang up."""

    def script(wire: Wire, _: Execution) -> None:
        wire.send(raw)
        wire.reset() if reset else wire.close()

    return script


def waits(gate: Gate, then: Script = succeed) -> Script:
    """Do nothing until the test opens the gate, then go on."""

    def script(wire: Wire, execution: Execution) -> None:
        gate.pass_through()
        then(wire, execution)

    return script


@contextlib.contextmanager
def tool(host: str = "127.0.0.1") -> Iterator[Tool]:
    """Run a tool."""
    running = Tool(host)
    running.start()
    try:
        yield running
    finally:
        running.stop()


_tickets = itertools.count(1)
