"""A run told to people and programs: steps, calls, submissions and timeline; no argument and no output."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from coordinator.keeping import label_of
from coordinator.records import Call, Run, Step


def instant(at_ms: int) -> str:
    """Return a wall-clock moment as RFC 3339, in UTC, to the millisecond; empty for none."""
    if not at_ms:
        return ""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(run: Run) -> dict[str, Any]:
    """Return one run for a listing."""
    step = run.step
    waiting = 0 if step is None or step.state != "open" else sum(call.given is None for call in step.calls)
    return {
        "run_id": run.run_id, "thread_id": run.thread_id, "backend": run.backend, "tenant": run.tenant,
        "user": run.user, "turn": run.turn, "status": label_of(run), "created": instant(run.created_ms),
        "looked": instant(run.looked_ms), "expires": instant(run.expires_ms), "ended": instant(run.ended_ms),
        "why": run.why, "steps": len(run.steps), "waiting": waiting,
    }  # fmt: skip


def whole(run: Run) -> dict[str, Any]:
    """Return everything that is known of a run, its timeline in order."""
    timeline = [
        {"at": instant(event.at_ms), "what": event.what, "call": event.call, "detail": event.detail}
        for event in run.history
    ]
    return line(run) | {"steps": [_step(step) for step in run.steps], "timeline": timeline}


def _step(step: Step) -> dict[str, Any]:
    attempts = [
        {"number": one.number, "at": instant(one.at_ms), "end": one.end or "unknown", "detail": one.detail}
        for one in step.attempts
    ]
    return {
        "step_id": step.step_id, "state": step.state, "since": instant(step.since_ms),
        "calls": [_call(call) for call in step.calls], "submissions": attempts,
    }  # fmt: skip


def _call(call: Call) -> dict[str, Any]:
    told: dict[str, Any] = {
        "tool_call_id": call.tool_call_id, "tool": call.tool, "effect": "write" if call.write else "read",
        "payload_hash": call.arguments[:16], "deadline": instant(call.deadline_ms), "known_as": call.known_as,
        "stray": call.stray,
    }  # fmt: skip
    given = call.given
    if given is None:
        return told | {"result": "", "outcome": "", "operation": "", "at": ""}
    return told | {
        "result": given.source, "outcome": given.outcome, "operation": given.operation, "at": instant(given.at_ms),
        "output_hash": given.digest[:16],
    }  # fmt: skip
