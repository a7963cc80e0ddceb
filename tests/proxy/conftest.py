"""The proxy that tests share, one a worker, and a check that it is none the worse for them in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proxy import house as houses
from tests.proxy.house import House


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
