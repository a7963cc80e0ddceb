"""Secrets in files: read anew when their file changes, so that a rotation needs no restart; and who is on loopback."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from pathlib import Path

SECRETS_BYTES_MAX = 4_096
"""Of a file of secrets: a few dozen lines. What is longer is some other file."""


class Secrets:
    """The secrets in a file, one a line, read anew when the file changes: two lines are a rotation under way."""

    def __init__(self, path: str) -> None:
        """Read the file. Raises `OSError`, and `ValueError` if there is no secret in it."""
        self._path = Path(path)
        self._stamp = (0, 0)
        self._lines: tuple[bytes, ...] = ()
        self._read()
        if not self._lines:
            raise ValueError(f"{path} holds no secret")

    def current(self) -> tuple[bytes, ...]:
        """Return what the file holds, in its order; while it cannot be read, or is empty, what was read last."""
        with contextlib.suppress(OSError):  # being replaced: the ones that were read hold
            self._read()
        return self._lines

    def _read(self) -> None:
        known = self._path.stat()
        stamp = (known.st_mtime_ns, known.st_ino)
        if stamp == self._stamp:
            return
        with self._path.open("rb") as file:
            lines = [line.strip() for line in file.read(SECRETS_BYTES_MAX).splitlines()]
        if found := tuple(line for line in lines if line):
            self._stamp, self._lines = stamp, found


class Tokens(Secrets):
    """The tokens in a file, any of which lets its holder in."""

    def accepts(self, offered: bytes) -> bool:
        """Say whether `offered` is one of them, in a time that tells nothing about it."""
        accepted = False
        for token in self.current():
            accepted |= hmac.compare_digest(token, offered)
        return accepted


def is_loopback(host: str) -> bool:
    """Say whether `host` (a name or an address, without a port) is this machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
