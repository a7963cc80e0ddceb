"""What the kernel counts for a process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from evaluation.child import child
from evaluation.procfs import children, core_us, cpu_us, resident_bytes

IDLE = [sys.executable, "-c", "import signal; signal.pause()"]


def test_cpu_time_is_this_processs_own() -> None:
    """The CPU time of a process grows as it works, as much as the process itself says."""
    before_us, before_s = cpu_us((os.getpid(),)), time.process_time()
    while time.process_time() - before_s < 0.1:
        sum(range(1000))
    worked_us = (time.process_time() - before_s) * 1e6
    assert abs(cpu_us((os.getpid(),)) - before_us - worked_us) <= 20_000


def test_cpu_time_of_nobody_is_nothing() -> None:
    """Without processes there is no CPU time."""
    assert cpu_us(()) == 0


def test_resident_memory_grows_with_what_is_held() -> None:
    """Memory that is written to is resident."""
    before = resident_bytes(os.getpid())
    held = bytearray(os.urandom(32 << 20))
    assert resident_bytes(os.getpid()) - before > len(held) // 2


def test_children_are_found_until_they_end(tmp_path: Path) -> None:
    """A process that was started is among the children of the one that started it, as long as it runs."""
    with child("idle", IDLE, tmp_path) as idle:
        assert idle.pid in children(os.getpid())
    assert idle.pid not in children(os.getpid())


def test_core_is_busy_with_whoever_runs_on_it() -> None:
    """A core's time holds what a process that is kept on it takes."""
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    os.sched_setaffinity(0, {core})
    try:
        before_us, before_s = core_us(core), time.process_time()
        while time.process_time() - before_s < 0.1:
            sum(range(1000))
        assert core_us(core) - before_us >= 80_000
    finally:
        os.sched_setaffinity(0, allowed)


def test_core_that_is_not_there_is_an_error() -> None:
    """A core that the machine lacks has no time."""
    with pytest.raises(ValueError, match="no core 99999"):
        core_us(99_999)
