"""Records of Holdfast's own: the proxy's lines, the coordinator's events, the audit of the simulated tools.

Their fields are those of docs/metrics.md, docs/coordinator.md and docs/simulators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.triage.event import TEXT_MAX, Event, Kind
from evaluation.triage.moments import moment
from evaluation.triage.naming import fields_in, number, plain, written

PROXY, COORDINATOR, TOOLS = "holdfast-proxy", "holdfast-coordinator", "tools-audit"
CUT = "answer cut off"
"""How the detail of an effect begins whose caller was left without its answer."""

ALARMS = {
    "settled.conflict",
    "claim.lost",
    "settle.given-up",
    "store.memory-lost",
    "lease.lapsed",
    "result.conflict",
    "result.late",
    "call.overdue",
}
NO_TENANT = "-"
"""What the proxy writes where the policy names no tenant; everybody else writes nothing."""

FORWARDED = {"executed", "unprotected", "observed"}
COORDINATORS: dict[str, Kind] = {
    "step.asked": "asked",
    "tool.called": "told",
    "step.submitted": "submitted",
    "result.duplicate": "resubmitted",
    "turn.started": "message",
    "coordinator.started": "restart",
}


def is_audit(value: Mapping[str, Any]) -> bool:
    """Say whether this is a line of the simulated tools' audit."""
    return "audit_id" in value and "arrived_at" in value and "answered" in value


def from_audit(value: Mapping[str, Any], text: str) -> Event:
    """Read one effect: when its request came, when it took place, and whether its answer got through."""
    fields = fields_in(value)
    arrived = moment(value.get("arrived_at"))
    faults = value.get("faults")
    fields["detail"] = ",".join(str(fault) for fault in faults) if isinstance(faults, list) else ""
    if value.get("answered") == 0:
        fields["detail"] = CUT + (f" ({plain(fields['detail'])})" if fields["detail"] else "")
    fields["status"] = number(value.get("answered"))
    began = None if arrived is None else arrived.ms
    return _event("effect", TOOLS, text, fields, began=began)


def from_proxy(value: Mapping[str, Any], text: str) -> Event | None:
    """Read a line of the proxy's; None for one that tells nothing about what ran."""
    fields = fields_in(value)
    name = str(value.get("event", ""))
    if fields.get("tenant") == NO_TENANT:
        del fields["tenant"]
    if fields.get("payload"):
        fields["hashed"] = PROXY  # keyed, and of more than the body: not to be laid beside anybody else's
    if name == "proxy.started":
        return _event("restart", PROXY, text, fields | {"detail": name})
    if name in ALARMS:
        return _event("alarm", PROXY, text, fields | {"detail": name})
    if name != "request":
        return None
    upstream = number(value.get("upstream_status"))
    fields["status"] = upstream or number(value.get("status"))
    outcome = str(value.get("outcome", ""))
    fields["detail"] = plain(" ".join(filter(None, (outcome, written(value.get("how")), written(value.get("would"))))))
    if outcome in FORWARDED:
        return _event("effect" if 200 <= upstream < 400 else "told", PROXY, text, fields)
    if outcome in {"joined", "replayed"} or (outcome == "refused" and value.get("how")):
        return _event("prevented", PROXY, text, fields)
    return _event("unknown", PROXY, text, fields) if outcome == "unknown" else None


def from_coordinator(value: Mapping[str, Any], text: str) -> Event | None:
    """Read an event of the coordinator's; None for one that tells nothing about a call."""
    fields = fields_in(value)
    name = str(value.get("event", ""))
    kind: Kind | None = "alarm" if name in ALARMS else COORDINATORS.get(name)
    if kind is None:
        return None
    fields.pop("calls", None)  # a number of calls, not their names
    details = [name] if kind in {"alarm", "restart"} else []
    for told in ("verdict", "outcome", "result"):
        details += [written(value.get(told))] if value.get(told) else []
    details += [f"{what}={number(value.get(what))}" for what in ("renewed", "strays", "tries") if value.get(what)]
    fields["detail"] = plain(" ".join(details))
    if kind == "submitted" and number(value.get("attempt")) > 1:
        kind = "resubmitted"
    return _event(kind, COORDINATOR, text, fields)


def _event(kind: Kind, service: str, text: str, fields: dict[str, Any], *, began: int | None = None) -> Event:
    return Event(kind=kind, service=service, text=plain(text, TEXT_MAX), began=began, **fields)
