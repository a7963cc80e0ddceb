"""A relay between a coordinator and the API that stops exactly at a request or at its answer."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import BinaryIO

from evaluation.address import Address
from tests.proxy.tools import Gate

_LENGTH = re.compile(rb"(?im)^content-length: (\d+)\r$")


class ApiRelay:
    """Passes HTTP/1.1 messages between a port of its own and the API's. What `hold` names stops there, for good."""

    def __init__(self, api: Address) -> None:
        self._api = api
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: tuple[bytes, bool] | None = None
        self._gates: list[Gate] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, named: bytes, *, answer: bool) -> Gate:
        """Stop the next request whose first line contains `named`, or once it was answered its answer."""
        gate = Gate()
        self._held = (named, answer)
        self._gates.append(gate)
        return gate

    def stop(self) -> None:
        """Accept nothing more. What is held never arrives."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for gate in self._gates:
            gate.open()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(near,), daemon=True).start()

    def _pass(self, near: socket.socket) -> None:
        far = socket.create_connection((self._api.host, self._api.port))
        with near, far, contextlib.suppress(OSError), near.makefile("rb") as asked, far.makefile("rb") as answered:
            while request := _message(asked):
                held = self._held
                if held is None or held[0] not in request.split(b"\r\n", 1)[0]:
                    far.sendall(request)
                    near.sendall(_message(answered))
                    continue
                self._held = None
                if held[1]:
                    far.sendall(request)
                    _message(answered)
                self._gates[-1].pass_through()
                return


def _message(stream: BinaryIO) -> bytes:
    """Read one message with its body; nothing at the stream's end."""
    head = b""
    while (line := stream.readline()) not in {b"", b"\r\n"}:
        head += line
    if not line:
        return b""
    length = _LENGTH.search(head)
    return head + line + (stream.read(int(length[1])) if length else b"")


@contextlib.contextmanager
def api_relay(api: Address) -> Iterator[ApiRelay]:
    """Run a relay."""
    relay = ApiRelay(api)
    try:
        yield relay
    finally:
        relay.stop()
