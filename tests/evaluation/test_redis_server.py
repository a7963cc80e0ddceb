"""A redis-server is found where there is one, and kept as a ledger should be."""

from __future__ import annotations

from pathlib import Path

import pytest

import evaluation.redis_server
from evaluation.address import Address
from evaluation.redis_server import redis_command, redis_server


def test_server_of_the_machine_is_found_and_one_that_pip_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the search path first; else where the environment has its programs, or inside a package."""
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server() == str(program)
    monkeypatch.setattr(evaluation.redis_server, "system_path", lambda: "/nowhere")
    assert redis_server() != str(program)


def test_what_it_is_told_is_kept() -> None:
    """Appended, synchronised every second, and never evicted."""
    command = " ".join(redis_command("redis-server", Address("127.0.0.1", 7), Path("kept")))
    assert "--port 7" in command
    assert "--appendonly yes --appendfsync everysec --maxmemory-policy noeviction" in command
