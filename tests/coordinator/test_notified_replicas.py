"""Notifications that the API signs and sends, as processes meet them: one replica is told, another keeps the run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from evaluation.address import Address, unused_address
from tests.coordinator.processes import SECRET, Coordinator, get, world
from tests.proxy.processes import LABEL, SAMPLE, until
from tests.redis_server import any_server, redis_server


def metric(coordinator: Coordinator, name: str, **labels: str) -> float:
    """Return one of its samples, 0 where there is none."""
    with urllib.request.urlopen(f"{coordinator.url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = [sample for sample in SAMPLE.finditer(text) if sample[1] == name]
    return sum(float(one[3]) for one in found if labels.items() <= dict(LABEL.findall(one[2] or "")).items())


def notify(url: str, run_id: str, thread_id: str, *, secret: str = SECRET, age_s: int = 0) -> int:
    """Send a notification that was signed so long ago; return the status of its answer."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    told: dict[str, Any] = {"type": "thread.run.requires_action", "data": {"run_id": run_id, "thread_id": thread_id}}
    body = json.dumps(told)
    fields = {
        "webhook-id": "msg_test", "webhook-timestamp": str(int(at.timestamp())), "Content-Type": "application/json",
        "webhook-signature": Webhook(secret).sign("msg_test", at, body),
    }  # fmt: skip
    request = urllib.request.Request(f"{url}/v1/webhooks/assistants", body.encode(), fields)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


@pytest.mark.fault(70)
@pytest.mark.timeout(150)
def test_notification_reaches_the_replica_that_keeps_the_run_through_the_other(tmp_path: Path) -> None:
    """The API tells one replica of a run that another keeps: the other looks at once, by the store's word. One that is
    forged or six minutes old is refused."""
    told_at: Address = unused_address()
    with (
        redis_server(tmp_path, binary=any_server()) as port,
        world(tmp_path / "world", f"redis://127.0.0.1:{port}/0", {"think": [1.0, 1.0]}, webhook=told_at) as now,
    ):
        signed = ("--webhook-secret-file", str(now.secret))
        told = now.coordinator("told", told_at, *signed)
        keeper = now.coordinator("keeper", None, *signed)
        run_id = keeper.turn(1, [("create_ticket", {"user_id": "u", "subject": "Printer"})])
        thread_id = keeper.show(run_id)["thread_id"]
        assert notify(told.url, run_id, thread_id, secret="whsec_" + "A" * 32) == 401
        assert notify(told.url, run_id, thread_id, age_s=360) == 401
        until(lambda: metric(told, "holdfast_webhooks_total", result="taken"), "the API told of the run")
        until(lambda: metric(keeper, "holdfast_poll_total", kind="nudge"), "the keeper heard of it")
        assert keeper.ended(run_id)["status"] == "completed"
        assert metric(told, "holdfast_webhooks_total", result="unsigned") == 1
        assert metric(told, "holdfast_webhooks_total", result="stale") == 1
        assert metric(told, "holdfast_runs_kept") == 0
        assert [effect["tool"] for effect in now.effects()] == ["create_ticket"]
        assert get(f"{told.url}/v1/runs/{run_id}")["status"] == "completed"
