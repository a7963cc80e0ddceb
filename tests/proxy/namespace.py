"""A network namespace of a test's own: a process in it reaches us by two cables, each of which can be cut.

Needs root and Debian's iproute2. Cutting is what a partition is: nothing is refused, nothing is reset, nothing arrives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest

_numbers = count(1)


@dataclass(frozen=True)
class Cable:
    """A pair of interfaces. `ours` and `theirs` are the addresses at its ends."""

    ours: str
    theirs: str
    interface: str

    def cut(self) -> None:
        """Let nothing through."""
        _ip("link", "set", self.interface, "down")

    def mend(self) -> None:
        """Let everything through again."""
        _ip("link", "set", self.interface, "up")


@dataclass(frozen=True)
class Namespace:
    """Where a process is started by putting `within` before its command."""

    within: tuple[str, ...]
    cables: tuple[Cable, ...]


@contextlib.contextmanager
def namespace(cables: int) -> Iterator[Namespace]:
    """Make a namespace with so many cables to ours. Skips where that is not possible (in CI a skip is a failure)."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    number = next(_numbers)
    name = f"hf{os.getpid()}n{number}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield Namespace(("ip", "netns", "exec", name), tuple(_cable(name, number, which) for which in range(cables)))
    finally:
        _ip("netns", "delete", name)  # its interfaces go with it, and so do their other ends


def _cable(name: str, number: int, which: int) -> Cable:
    subnet = f"10.{200 + os.getpid() % 50}.{(os.getpid() // 50 + number) % 250}"
    cable = Cable(f"{subnet}.{which * 4 + 1}", f"{subnet}.{which * 4 + 2}", f"hf{os.getpid()}{number}{which}"[-15:])
    _ip("link", "add", cable.interface, "type", "veth", "peer", "name", f"in{which}", "netns", name)
    _ip("address", "add", f"{cable.ours}/30", "dev", cable.interface)
    _ip("link", "set", cable.interface, "up")
    _ip("-n", name, "address", "add", f"{cable.theirs}/30", "dev", f"in{which}")
    _ip("-n", name, "link", "set", f"in{which}", "up")
    return cable


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)
