"""A relay between a proxy and its Redis that stops exactly at a command or at its reply.

Commands are told apart by what they carry: a claim writes a record that is `in_flight`, a settlement one that is
`completed`, `unknown` or `free`. Replies come in the order of their commands, so holding one holds all after it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.proxy.tools import Gate

Command = list[bytes]
Matches = Callable[[Command], bool]

CLAIM = b"in_flight"
SETTLE = (b"completed", b"unknown", b"free")


def claims(command: Command) -> bool:
    """Say whether a command claims."""
    return CLAIM in command


def settles(command: Command) -> bool:
    """Say whether a command settles."""
    return any(phase in command for phase in SETTLE)


class Relay:
    """Passes bytes between a loopback port and the server's. What `hold` names stops there until its gate is opened."""

    def __init__(self, server_port: int) -> None:
        self.commands: list[Command] = []
        self.refusing = False
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._gates: list[Gate] = []
        self._stopped = False
        self._held: tuple[Matches, bool, Gate] | None = None
        self.port: int = self._listener.getsockname()[1]

    def hold(self, matches: Matches, *, reply: bool) -> Gate:
        """Stop the next matching command, or once it is carried out its reply, and everything after it."""
        gate = Gate()
        self._held = (matches, reply, gate)
        self._gates.append(gate)
        return gate

    def release(self) -> None:
        """Hold nothing any more; what is held goes on."""
        self._held = None
        for gate in self._gates:
            gate.open()

    def start(self) -> None:
        """Begin to accept."""
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up(self) -> None:
        """End every connection."""
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """End everything. A command that is held never reaches the server."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.release()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._server_port))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [near, far]
            replies = threading.Lock()
            threading.Thread(target=self._up, args=(near, far, replies), daemon=True).start()
            threading.Thread(target=self._down, args=(near, far, replies), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket, replies: threading.Lock) -> None:
        with near, far, contextlib.suppress(OSError, EOFError), near.makefile("rb") as stream:
            while True:
                raw, command = _read_command(stream.readline, stream.read)
                self.commands.append(command)
                held = self._held
                if held is None or not held[0](command):
                    far.sendall(raw)
                    continue
                self._held = None
                if not held[1]:
                    held[2].pass_through()
                    if not self._stopped:
                        far.sendall(raw)
                    continue
                with replies:  # nothing that the server says from here on gets through
                    far.sendall(raw)
                    held[2].pass_through()
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _down(self, near: socket.socket, far: socket.socket, replies: threading.Lock) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65_536):
                with replies:
                    near.sendall(data)
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)


def _read_command(line: Callable[[], bytes], read: Callable[[int], bytes]) -> tuple[bytes, Command]:
    """Read one RESP array of bulk strings. Raises EOFError."""
    head = line()
    if not head:
        raise EOFError
    raw, command = head, []
    for _ in range(int(head[1:])):
        size = line()
        value = read(int(size[1:]) + 2)
        raw += size + value
        command.append(value[:-2])
    return raw, command


@contextlib.contextmanager
def relay_to(server_port: int) -> Iterator[Relay]:
    """Run a relay."""
    relay = Relay(server_port)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
