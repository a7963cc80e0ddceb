"""The process: it starts without its store, is ready with it, and lets go of everything when it is told to stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.address import unused_address
from tests.coordinator.processes import answers, get, world
from tests.proxy.processes import until

TICKET = ("create_ticket", {"user_id": "u", "subject": "Printer"})
MAIL = ("send_email", {"to": "a@example.com", "subject": "Hello"})


def test_stopped_coordinator_hands_its_runs_to_the_next_one_and_nothing_runs_twice(tmp_path: Path) -> None:
    """SIGTERM in the middle of two calls: exit code 0, and whoever comes next finishes the run with their results."""
    with world(tmp_path, latency_s=1.0) as now:
        first = now.coordinator("first")
        run_id = first.turn(1, [TICKET, MAIL], [("create_ticket", {"user_id": "u", "subject": "Another"})])
        until(lambda: get(f"{now.tools.url}/_tools/audit")["in_flight"] == 2, "both calls are with the tools")
        assert first.process.stop() == 0
        assert first.process.events("coordinator.stopped")
        second = now.coordinator("second")
        run = second.ended(run_id)
        assert run["status"] == "completed"
        assert [effect["tool"] for effect in now.effects()].count("send_email") == 1
        assert len(now.effects()) == 3
        assert len(now.taken()) == 2


@pytest.mark.fault(64)
def test_killed_coordinators_runs_are_finished_by_the_next_one(tmp_path: Path) -> None:
    """Kill -9 in the middle of two calls, on the same file: each ran once, each step was taken once."""
    with world(tmp_path, latency_s=1.0) as now:
        first = now.coordinator("first")
        run_id = first.turn(1, [TICKET, MAIL])
        until(lambda: get(f"{now.tools.url}/_tools/audit")["in_flight"] == 2, "both calls are with the tools")
        first.process.kill()
        run = now.coordinator("second").ended(run_id)
        assert run["status"] == "completed"
        assert sorted(effect["tool"] for effect in now.effects()) == ["create_ticket", "send_email"]
        assert len(now.taken()) == 1


def test_coordinator_off_its_store_is_alive_and_not_ready(tmp_path: Path) -> None:
    """It says so, and goes on asking."""
    with world(tmp_path, store=f"redis://{unused_address()}/0") as now:
        address = unused_address()
        process = now.run(
            "alone", "coordinator", "--assistants", now.assistants.url, "--proxy", now.proxy.url,
            "--listen", str(address), "--store", now.store,
        )  # fmt: skip
        until(lambda: answers(f"{address.url}/livez"), "it is alive")
        until(lambda: process.events("store.unreachable"), "it says that the store is not there")
        assert not answers(f"{address.url}/readyz")
        assert process.stop() == 0


def test_token_is_asked_for_on_everything_but_probes_and_notifications(tmp_path: Path) -> None:
    """401 without it; the probes answer; a notification is refused for its signature."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with world(tmp_path / "world") as now:
        address = unused_address()
        now.coordinator("guarded", address, "--token-file", str(token))
        assert answers(f"{address.url}/metrics")
        with pytest.raises(OSError, match="401"):
            get(f"{address.url}/v1/runs")
        import urllib.request

        asked = urllib.request.Request(f"{address.url}/v1/runs", headers={"Authorization": "Bearer s3cret"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert json.load(answer) == {"runs": [], "cursor": ""}
