"""What the kernel counts for a process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from evaluation.bench.procfs import children, cpu_us, resident_bytes
from evaluation.child import child

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
