"""Addresses as our test servers take them."""

from __future__ import annotations

import argparse
import socket

import pytest

from evaluation.address import Address, held_address, parse_address, unused_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", Address("127.0.0.1", 9000)),
        (":9000", Address("127.0.0.1", 9000)),
        ("[::1]:9000", Address("::1", 9000)),
    ],
)
def test_host_and_port_is_read(text: str, address: Address) -> None:
    """A host and a port make an address; no host is loopback, brackets are IPv6."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["9000", "localhost", "localhost:http", "localhost:70000", ""])
def test_anything_else_is_a_usage_error(text: str) -> None:
    """What has no port between 0 and 65535 is refused."""
    with pytest.raises(argparse.ArgumentTypeError):
        parse_address(text)


def test_address_prints_as_it_is_read() -> None:
    """An address's text is read back as the same address, and makes an origin."""
    address = Address("::1", 80)
    assert parse_address(str(address)) == address
    assert address.url == "http://[::1]:80"


def test_unused_address_is_loopback_with_a_port() -> None:
    """An unused address is on loopback and has a port that was free."""
    address = unused_address()
    assert address.host == "127.0.0.1"
    assert address.port > 0


def test_held_address_is_its_holders_servers_alone() -> None:
    """A server may come, go and come back there; whoever asks for any port is never given it."""
    with held_address() as address:
        for _ in range(2):
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((address.host, address.port))
                server.listen()
                with socket.create_connection((address.host, address.port)):
                    pass
        with pytest.raises(ConnectionRefusedError), socket.create_connection((address.host, address.port)):
            pass
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((address.host, address.port))
