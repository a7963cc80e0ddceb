"""`python -m evaluation.bench`: measure, print the table, and write it down where asked.

Exits with 1 when something could not be measured as it should be, or with `--strict` when a target was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import aiohttp
import msgspec
import uvloop
from rich.console import Console
from rich.progress import Progress

from evaluation.bench.environment import look_around
from evaluation.bench.load import WrongAnswer
from evaluation.bench.measure import Bench
from evaluation.bench.rendering import markdown, show
from evaluation.bench.report import Report, report
from evaluation.bench.startup import Restarts
from evaluation.bench.systems import NAMES, choose_cores, programs, stand
from evaluation.bench.workloads import FULL, GUARDED, QUICK, Effort, plan
from evaluation.child import ChildDied
from evaluation.sidecar import POLICIES

COLUMNS_PIPED = 140
DISK = Path("/var/tmp")  # noqa: S108  # a directory of our own is made in it
"""By the file hierarchy standard this outlives a reboot, so it is a disk; /tmp may be memory, where fsync costs
nothing."""


async def bench(effort: Effort, wanted: tuple[str, ...], directory: Path, policies: Path) -> Report:
    """Start everything, measure, and end everything. Raises `ChildDied`, `WrongAnswer`, `TimeoutError`."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.other})
    # No refresh in the background: a thread that draws would be part of the load.
    with Progress(console=Console(stderr=True), auto_refresh=False, transient=True) as progress:
        bar = progress.add_task("starting")

        def say(what: str) -> None:
            progress.update(bar, advance=1, description=what, refresh=True)

        async with (
            aiohttp.ClientSession() as session,
            stand(session, directory, cores, wanted, policies) as standing,
        ):
            restarted = sum(system.name in GUARDED for system in standing.systems)
            steps = len(standing.systems) + effort.rounds * (len(plan(standing.systems, 0)) + restarted)
            progress.update(bar, total=steps)
            measured = Bench(session, standing, effort)
            restarts = Restarts(session, directory, standing, measured, effort.restart_keys)
            for system in standing.systems:
                say(f"warming up {system.name}")
                await measured.warm_up(system)
            for number in range(effort.rounds):
                await measured.run(number, say)
                await restarts.run(number, say)
    environment = look_around(cores, directory, programs())
    return report(environment, effort, measured.samples, restarts.starts, standing.missing)


def main() -> int:
    """Run the bench and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, and as much less sure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample and target")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables for a document")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target was missed")
    parser.add_argument("--systems", default=",".join(NAMES), metavar="A,B", help="of: %(default)s")
    parser.add_argument("--directory", type=Path, default=DISK, help="on the disk that SQLite is to use")
    parser.add_argument("--policies", type=Path, default=POLICIES, metavar="FOLDER", help="for create_ticket (shipped)")
    arguments = parser.parse_args()
    wanted = tuple(arguments.systems.split(","))
    if unknown := set(wanted) - set(NAMES):
        parser.error(f"no such system: {', '.join(sorted(unknown))}")
    effort = QUICK if arguments.quick else FULL
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=arguments.directory) as directory:
            found = uvloop.run(bench(effort, wanted, Path(directory), arguments.policies.resolve()))
    except (ChildDied, WrongAnswer, TimeoutError, aiohttp.ClientError) as error:
        sys.stderr.write(f"the bench gave up: {error}\n")
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    columns = None if sys.stdout.isatty() else max(COLUMNS_PIPED, shutil.get_terminal_size().columns)
    show(Console(width=columns, highlight=False, soft_wrap=False), found)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(found))
    return int(arguments.strict and any(target.verdict == "missed" for target in found.targets))


if __name__ == "__main__":
    sys.exit(main())
