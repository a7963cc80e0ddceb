"""Plot the Grafana dashboard's own queries over a real scrape: processes on loopback under a load with faults, and
Debian's Prometheus, asked through its HTTP API. Needs `prometheus` on the PATH."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from evaluation.child import ChildDied
from evaluation.dashboard.board import Panel, Query, panels
from evaluation.dashboard.drawing import Series, picture
from evaluation.dashboard.load import Load
from evaluation.dashboard.world import Machinery, machinery
from evaluation.redis_server import system_path

BOARD = Path(__file__).parents[2] / "helm/holdfast/files/dashboard.json"
TOOL = "create_ticket"
POINTS = 50
"""Of each series: as many as a graph has room for."""
SETTLE_S = 3.0
"""Before and after, for scrapes to have seen it."""


async def taken(directory: Path, prometheus: str, seconds: int) -> tuple[str, list[str]]:
    """Return the picture of `seconds` of load, and the titles of its empty panels. Raises `ChildDied`."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        machinery(session, directory, prometheus) as running,
    ):
        await asyncio.sleep(SETTLE_S)
        began = time.time()
        await Load(session, running, seconds).run()
        await asyncio.sleep(SETTLE_S)
        ended = time.time()
        board = panels(json.loads(BOARD.read_text()), TOOL, round(ended - began))
        drawn = [(panel, await _series(session, running, panel, began, ended)) for panel in board]
    empty = [panel.title for panel, series in drawn if panel.kind != "row" and not series]
    return picture(drawn, ended - began), empty


async def _series(
    session: aiohttp.ClientSession, running: Machinery, panel: Panel, began: float, ended: float
) -> list[Series]:
    found: list[Series] = []
    for query in panel.queries:
        found += await _asked(session, running.prometheus, query, began, ended)
    return found


async def _asked(
    session: aiohttp.ClientSession, prometheus: str, query: Query, began: float, ended: float
) -> list[Series]:
    asked: Mapping[str, Any] = {
        "query": query.expr, "start": began, "end": ended, "step": max(1.0, (ended - began) / POINTS),
    }  # fmt: skip
    async with session.post(f"{prometheus}/api/v1/query_range", data=asked, raise_for_status=True) as answer:
        result = (await answer.json())["data"]["result"]
    return [
        Series(query.name(one["metric"]), tuple((float(at) - began, float(number)) for at, number in one["values"]))
        for one in result
    ]


def main() -> int:
    """Take the picture and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.dashboard", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="of load (%(default)s)")
    parser.add_argument("--svg", type=Path, default=Path("build/dashboard.svg"), metavar="FILE", help="%(default)s")
    arguments = parser.parse_args()
    prometheus = shutil.which("prometheus", path=system_path())
    if prometheus is None:
        sys.stderr.write("there is no prometheus here (Debian: apt install prometheus)\n")
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-dashboard-") as directory:
            drawn, empty = uvloop.run(taken(Path(directory), prometheus, arguments.seconds))
    except (ChildDied, TimeoutError, aiohttp.ClientError) as error:
        sys.stderr.write(f"no picture: {error!r}\n")
        return 1
    arguments.svg.parent.mkdir(parents=True, exist_ok=True)
    arguments.svg.write_text(drawn)
    sys.stdout.write(f"{arguments.svg}, {len(drawn) // 1_024} KiB; without data: {', '.join(empty) or 'none'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
