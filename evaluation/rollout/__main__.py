"""`python -m evaluation.rollout`: restart two sidecars and two coordinators under load, and show the tools' ledger.

Exits with 1 if the ledger does not show every intended effect exactly once, or anything else went otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from evaluation.bench.systems import choose_cores, redis
from evaluation.child import ChildDied
from evaluation.redis_server import redis_server
from evaluation.rollout.replicas import HERE
from evaluation.rollout.restart import Rollout, roll


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def rolled(url: str | None, rooms: Path) -> Rollout:
    """Restart everything, on the Redis at `url` or on one of our own. Raises `ChildDied`, `TimeoutError`."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-rollout-")))
        if url is None:
            program = redis_server()
            if program is None:
                raise ChildDied("there is no redis-server on this machine: name one with --redis")
            _, own = await stack.enter_async_context(redis(folder, choose_cores().other, program))
            return await roll(folder, own, _say, rooms)
        return await roll(folder, url.rstrip("/"), _say, rooms)


def shown(found: Rollout) -> str:
    """Return it in words."""
    lines = ["", f"{'':<20}{'before':>14}{'after':>14}", f"the tools' ledger   {'asked   done'.rjust(14) * 2}"]
    lines += [
        f"  {tool:<18}{found.before.intended.get(tool, 0):>7}{found.before.done.get(tool, 0):>7}"
        f"{asked:>7}{found.after.done.get(tool, 0):>7}"
        for tool, asked in sorted(found.after.intended.items())
    ]
    lines += ["(what was asked for and not done, before, was under way)"]
    lines += ["", f"done twice: {found.twice}, never: {found.never}", "", "what callers were answered"]
    lines += [f"  {times:>5}  {told}" for told, times in sorted(found.answers.items())]
    lines += ["", *(f"{'yes' if check.holds else 'NO '}  {check.claim}" for check in found.checks)]
    return "\n".join(lines)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.rollout", description=__doc__)
    parser.add_argument("--redis", metavar="URL", help="an empty Redis, redis://HOST:PORT; without, one of its own")
    parser.add_argument(
        "--before", metavar="CHECKOUT", type=Path, default=HERE, help="files of the version that is replaced"
    )
    wanted = parser.parse_args()
    try:
        found = asyncio.run(rolled(wanted.redis, wanted.before.resolve()))
    except (ChildDied, TimeoutError) as error:
        _say(str(error) or "it took far too long and was given up")
        return 5
    sys.stdout.write(f"{shown(found)}\n")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
