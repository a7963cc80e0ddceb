"""`HOST:PORT` as our own test servers take and print it."""

from __future__ import annotations

import argparse
import contextlib
import socket
from collections.abc import Iterator

from msgspec import Struct


class Address(Struct, frozen=True):
    """Where a server listens; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the origin, without a trailing slash."""
        return f"http://{self}"


def parse_address(text: str) -> Address:
    """Read `HOST:PORT` or `[V6]:PORT`. Raises `argparse.ArgumentTypeError`, which argparse reports as a usage error."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def unused_address() -> Address:
    """Return a loopback address that was free a moment ago, for a server that cannot be asked for its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


@contextlib.contextmanager
def held_address() -> Iterator[Address]:
    """Yield a loopback address that nobody else is given meanwhile, for a server that leaves and comes back. Connecting
    to it is refused as long as that server is away."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # bound and never listening: servers share it so
        held.bind(("127.0.0.1", 0))
        yield Address("127.0.0.1", held.getsockname()[1])
