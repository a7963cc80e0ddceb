"""One JSON line for each thing that happened, and a reader that is gone costs lines only."""

from __future__ import annotations

import json
import os

from process.log import Log


def test_line_has_what_says_something_and_nothing_else() -> None:
    """Empty, zero and false fields are left out; levels below the wanted one are not written."""
    read, write = os.pipe()
    log = Log("holdfast-coordinator", write, level="info", now=lambda: 1_764_000_000.5)
    log.event("run.status", run_id="run_1", status="queued", was="", attempt=0)
    log.event("noise", level="debug")
    os.close(write)
    with os.fdopen(read) as lines:
        (line,) = [json.loads(line) for line in lines]
    assert line == {
        "ts": "2025-11-24T16:00:00.500Z", "level": "info", "service": "holdfast-coordinator", "event": "run.status",
        "run_id": "run_1", "status": "queued",
    }  # fmt: skip


def test_reader_that_is_gone_costs_lines_and_no_more() -> None:
    """They are counted."""
    read, write = os.pipe()
    os.close(read)
    log = Log("holdfast-coordinator", write)
    log.event("run.status", run_id="run_1")
    assert log.dropped == 1
    os.close(write)
