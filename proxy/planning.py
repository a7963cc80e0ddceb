"""What a record needs to know so that anybody can ask the tool about the call later: the probe's target, filled in now.

The request is there when the call is claimed, and may be nowhere when its outcome turns out to be unknown.
"""

from __future__ import annotations

from ledger.key import Ref
from ledger.records import Call, ProbePlan
from policies.model import Probe
from policies.template import TARGET_MAX, parse_template
from proxy.fields import Incoming
from proxy.identity import Finder


class Planner:
    """A policy's probe, made ready once."""

    def __init__(self, probe: Probe) -> None:
        self._template = parse_template(probe.get)
        self._finders = {str(selector): Finder(selector) for selector in self._template.selectors}
        self._after_ms = probe.after_ms
        parts = self._template.parts
        plain = self._template.variables == ("operation",) and len(probe.get) <= TARGET_MAX // 2
        self._around = (parts[0], parts[2]) if plain else None

    def plan(self, ref: Ref, call: Call, incoming: Incoming, body: bytes) -> ProbePlan | None:
        """Return the plan for one call; None if the call lacks something that the target is made of."""
        if self._around is not None:  # what most ask by: it is always there, short, and nothing in it needs encoding
            before, after = self._around
            return ProbePlan(before + ref.operation + after, self._after_ms)
        values = {
            "operation": ref.operation, "run_id": call.run_id, "tool_call_id": call.tool_call_id,
            "thread_id": call.thread_id, "user_id": call.user_id, "tenant": call.tenant,
        }  # fmt: skip
        found = {name: finder.find(incoming, body) for name, finder in self._finders.items()}
        target = self._template.fill(values | found)
        return None if target is None else ProbePlan(target, self._after_ms)
