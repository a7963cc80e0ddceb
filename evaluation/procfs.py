"""What the kernel counts for a process: CPU time and resident memory (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def cpu_us(pids: tuple[int, ...]) -> float:
    """Return the CPU time of all threads of `pids` so far, user and system, in microseconds (good to a clock tick)."""
    return sum(_ticks(Path("/proc", str(pid), "stat").read_text()) for pid in pids) * TICK_US


def core_us(core: int) -> float:
    """Return for how long `core` has run processes so far, or was kept from it by the host, in microseconds.

    Interrupts are left out: some kernels count the network's share of a process there, some with the process.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, counts[:8])
            return (user + nice + system + steal) * TICK_US
    raise ValueError(f"there is no core {core}")


def _ticks(stat: str) -> int:
    """Return utime and stime, the 14th and 15th field; the 2nd is a name that may hold spaces and brackets."""
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[11]) + int(fields[12])


def resident_bytes(pid: int) -> int:
    """Return the resident memory of `pid`."""
    for line in Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no resident memory: it has ended")


def children(pid: int) -> tuple[int, ...]:
    """Return the processes that `pid` has started and that still run."""
    return tuple(int(child) for child in Path("/proc", str(pid), "task", str(pid), "children").read_text().split())
