"""The proxy that tests share, one a worker, and a check that it is none the worse for them in the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.proxy import house as houses
from tests.proxy import tools
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.relays import Relay, relay_to
from tests.proxy.tools import Tool
from tests.redis_server import redis_server


@pytest.fixture(scope="session")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The proxy of this worker."""
    with houses.house(tmp_path_factory.mktemp("house")) as house:
        yield house
        assert house.proxy.lines("task.failed") == []
        assert house.proxy.lines("request.failed") == []


@pytest.fixture
def house(shared_house: House) -> House:
    """The shared proxy with its tool; alive when the test begins."""
    assert shared_house.proxy.process.poll() is None
    return shared_house


@dataclass(frozen=True)
class RedisDatabase:
    """A database of one's own on a worker's Redis."""

    server_port: int
    number: int

    @property
    def url(self) -> str:
        """How a proxy gets there."""
        return self.through(self.server_port)

    def through(self, port: int) -> str:
        """How a proxy gets there by way of a relay."""
        return f"redis://127.0.0.1:{port}/{self.number}"


DATABASES_MAX = 1_000
_databases = count()


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis server for this worker."""
    with redis_server(tmp_path_factory.mktemp("redis"), "--databases", str(DATABASES_MAX)) as port:
        yield port


@pytest.fixture
def database(redis_port: int) -> RedisDatabase:
    """An empty database."""
    return RedisDatabase(redis_port, next(_databases) % DATABASES_MAX)


@pytest.fixture
def relay(redis_port: int) -> Iterator[Relay]:
    """A relay in front of this worker's Redis."""
    with relay_to(redis_port) as running:
        yield running


@pytest.fixture
def tool() -> Iterator[Tool]:
    """A scripted tool of the test's own."""
    with tools.tool() as running:
        yield running


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder with one policy, `act`."""
    return policy_folder(tmp_path / "policies", policy("act"))
