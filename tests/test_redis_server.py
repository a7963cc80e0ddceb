"""Ports that servers under test are given are theirs for as long as they may come back."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import redis

from tests.redis_server import held_port, redis_server


def test_held_port_is_given_to_nobody_else_and_connecting_there_is_refused() -> None:
    """Neither to who asks for that one, nor to who asks for any; nothing listens there."""
    with held_port() as port, socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_server_that_comes_back_finds_its_port_held_for_it(tmp_path: Path) -> None:
    """It may listen there, leave, and listen there again."""
    with held_port() as port:
        for _ in range(2):
            with redis_server(tmp_path, port=port) as given, redis.Redis(port=given) as client:
                assert given == port
                assert client.ping()
