"""What a figure must be read with: the commit, the machine, the disk, and the versions that were compared."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from evaluation.bench.systems import Cores

SYNCS = 50
PACKAGES = ("aiohttp", "uvloop", "httptools", "redis", "hiredis")


class Environment(Struct, frozen=True):
    """Where and with what the figures came about. `fsync_us` is the median of a 4 KiB append made durable."""

    commit: str
    taken_at: str
    cores: int
    server_core: int
    other_core: int
    processor: str
    kernel: str
    python: str
    packages: dict[str, str]
    programs: dict[str, str]
    fsync_us: float


def look_around(cores: Cores, directory: Path, programs: dict[str, str]) -> Environment:
    """Describe this machine; `programs` are the paths of foreign ones whose versions count."""
    return Environment(
        commit=_commit(),
        taken_at=time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        cores=os.cpu_count() or 1,
        server_core=cores.server,
        other_core=cores.other,
        processor=_processor(),
        kernel=platform.release(),
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in PACKAGES},
        programs={name: _said(path, "-v") for name, path in programs.items()},
        fsync_us=_fsync_us(directory),
    )


def _commit() -> str:
    """Return the short commit, with `+` where tracked files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).resolve().parent.parent.parent
    commit = _said("git", "-C", str(root), "rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    return commit + ("+" if _said("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no") else "")


def _said(*command: str) -> str:
    """Return the first line that a program says, on either stream; nothing when it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603  # our words
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _fsync_us(directory: Path) -> float:
    """Append and synchronise: what each group of SQLite commits pays on this disk, at the least."""
    taken: list[float] = []
    descriptor = os.open(directory / "fsync", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(SYNCS):
            begin = time.perf_counter()
            os.write(descriptor, b"\0" * 4096)
            os.fdatasync(descriptor)
            taken.append((time.perf_counter() - begin) * 1e6)
    finally:
        os.close(descriptor)
    return statistics.median(taken)
