"""This machine and this environment: interpreter, libraries, file descriptors, clock."""

from __future__ import annotations

import platform
import resource
import sys
import time

from cli.checkup.finding import Finding, error, ok, warning
from process.floors import FLOORS, installed, shortfalls

PYTHON_OLDEST = (3, 11)

DESCRIPTORS_MIN = 4096
"""Two per call under way (caller and tool); the defaults allow 100 calls per tool, and 100 late ones in all."""

BUILT_S = 1_767_225_600
"""2026-01-01T00:00Z: a clock that says less was never set."""


def examine_machine() -> list[Finding]:
    """Look at everything that needs no store."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [python(sys.version_info[:3]), *libraries(), file_descriptors(descriptors), clock(time.time())]


def python(version: tuple[int, ...]) -> Finding:
    """Judge the interpreter."""
    name = f"{platform.python_implementation()} {'.'.join(map(str, version))}"
    if version < PYTHON_OLDEST:
        return error("python", f"{name} is too old", "use Python 3.11 or newer")
    return ok("python", name)


def libraries() -> list[Finding]:
    """Judge the installed versions by the floors that `holdfast proxy` insists on at start."""
    short = [error("libraries", shortfall.message, shortfall.remedy) for shortfall in shortfalls()]
    return short or [ok("libraries", ", ".join(f"{floor.library} {installed(floor.library)}" for floor in FLOORS))]


def file_descriptors(soft_limit: int) -> Finding:
    """Judge the soft limit of open files, which bounds how many calls can be under way."""
    if soft_limit == resource.RLIM_INFINITY:
        return ok("file-descriptors", "unlimited")
    if soft_limit < DESCRIPTORS_MIN:
        message = f"at most {soft_limit} open files: calls beyond some {soft_limit // 2} at once are refused"
        return warning("file-descriptors", message, f"ulimit -n {DESCRIPTORS_MIN}, or LimitNOFILE= in the unit")
    return ok("file-descriptors", f"at most {soft_limit} open files")


def clock(now_s: float) -> Finding:
    """Judge the wall clock, which stamps logs and history (leases go by the store's clock, never by this one)."""
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    if now_s < BUILT_S:
        return error("clock", f"the clock says {told}: it was never set", "start chrony or systemd-timesyncd")
    return ok("clock", told)
