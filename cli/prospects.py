"""What each turn would bring to a call, in its policy's own times; and how an unknown outcome of it would end."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.records import ProbePlan
from policies.model import ToolPolicy
from policies.units import show_duration

Answer = tuple[str, str, str]
"""A turn's name, what it brings, and the field that says so."""


def answers(policy: ToolPolicy) -> Iterator[Answer]:
    """Yield what each turn brings, in the order in which a person asks."""
    timers, result = policy.timeouts, policy.result
    hold, late, upstream = (show_duration(ms) for ms in (timers.hold_ms, timers.late_ms, timers.upstream_ms))
    kept, known = show_duration(result.retention_ms), show_duration(result.remember_ms)
    reused = "422 key-reused, never forwarded"
    if policy.key.on_reuse == "separate":
        reused = "another call, since the fingerprint is part of the key"
    ended = _ended(policy)
    yield "first call", f"forwarded once; a final reply is kept for {kept}", "result.retention"
    yield "duplicate in flight", f"waits up to {hold} for the same reply, then 409 in-flight", "timeouts.hold"
    yield "duplicate afterwards", f"the same reply for {kept}, then 409 result-unavailable up to {known}", "result"
    yield "same key, other content", reused, "key.onReuse" if policy.key.on_reuse == "separate" else "fingerprint"
    yield from _same_effect(policy)
    yield "time-out", f"504 outcome-unknown after {upstream}; a reply is awaited for {late} more", "timeouts"
    yield "duplicate after it", f"waits up to {hold} for the late reply, else {ended}", "unknown.then"
    yield "connection lost", f"502 outcome-unknown; duplicates get {ended}", "unknown.then"
    yield "tool not reached", f"{_tries(policy)}502 or 504 not-sent; the key is free again", "retry"


def unknown(policy: ToolPolicy, plan: ProbePlan | None) -> Iterator[Answer]:
    """Yield how an unknown outcome of this call would end. `plan` is its probe, where it has one."""
    rules, probe = policy.unknown, policy.unknown.probe
    if probe is not None and plan is None:
        yield "probe", "none: the request lacks something that its target is made of", "unknown.probe.get"
    elif probe is not None and plan is not None:
        times = [show_duration(ms) for ms in (probe.after_ms, probe.every_ms, probe.for_ms)]
        schedule = f"first after {times[0]}, then every {times[1]} for {times[2]}"
        yield "probe", f"GET {plan.target}: {schedule}", "unknown.probe.get"
        yield "not found", _not_found(probe.free_after_ms), "unknown.probe.notApplied"
    if rules.then == "resend" and rules.within_ms is not None:
        where = policy.upstream.idempotency
        value = f"by {where} with the operation id, up to {show_duration(rules.within_ms)} after the first attempt"
        yield "resend", value, "unknown.within"


def _not_found(free_after_ms: int | None) -> str:
    if free_after_ms is None:
        return "stays unknown: it may still arrive"
    return f"the key is free once it is not there {show_duration(free_after_ms)} after"


def _same_effect(policy: ToolPolicy) -> Iterator[Answer]:
    rules = policy.effect_key
    if rules is None:
        return
    window = show_duration(rules.window_ms)
    said = {
        "observe": "forwarded, and counted",
        "hold": "waits while the first is in flight or unknown, then is forwarded",
        "replay": f"the first one's result, up to {window} after its success",
        "refuse": f"409 effect-duplicate that names the first, up to {window} after its success",
    }
    yield "same effect, other key", said[rules.then], "effectKey.then"


def _ended(policy: ToolPolicy) -> str:
    if policy.unknown.probe is not None:
        return "what a probe finds, or 409 outcome-unknown"
    if policy.unknown.then == "resend":
        return "the result of a resend, later 409 outcome-unknown"
    return "409 outcome-unknown, never a second call"


def _tries(policy: ToolPolicy) -> str:
    again = [reason for reason in policy.retry.on if reason != "not-sent"]
    tries = policy.retry.attempts
    if tries == 1 or not policy.retry.on:
        return ""
    return f"{tries} tries{', also after ' + ' and '.join(again) if again else ''}, then "
