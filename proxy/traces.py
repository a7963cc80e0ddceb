"""A request's span: `execute_tool {tool}`, by the semantic conventions for generative AI (development, v1.41), and what
Holdfast made of the call.

The span that a call is executed in is named in the call's record (`ledger.records.Call.trace`): whoever joins, or is
given the result later, here or at another replica, has a span of its own that is linked to it. The tool is called
within the span of the execution, so what the tool traces is below that.

What comes in goes on untouched where the caller has said that its trace is not sampled.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.records import Record
from policies.model import ToolPolicy
from process.tracing import PARENT, STATE, Span, Tracing, is_parent
from proxy.answer import Answer
from proxy.arrival import Arrival
from proxy.fields import Incoming
from proxy.forward import Header
from proxy.recall import Known

_PARENT, _STATE = PARENT.encode(), STATE.encode()
LINKED = {"holdfast.link": "execution"}


class CallSpan:
    """One request's span, from its head to its answer's last byte. `execution`: of the call that it is about, as the
    record has it."""

    __slots__ = ("_span", "execution", "trace_id")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace_id = span.trace_id
        self.execution = ""

    def taken_by(self, arrival: Arrival) -> Arrival:
        """Return the arrival with this span: if it is the one that is executed, the call's record names it."""
        trace = self._span.parent if self._span.sampled else ""
        return replace(arrival, span=self, call=replace(arrival.call, trace=trace))

    def follows(self, record: Record | None) -> None:
        """The answer is told from `record`: link to where that was executed, unless that was here."""
        execution = "" if record is None else record.call.trace
        if execution and execution not in (self._span.parent, self.execution) and is_parent(execution):
            self._span.link(execution, LINKED)
            self.execution = execution

    def end(self, known: Known | None, given: Answer) -> None:
        """The answer has been written, or nobody was there to take it."""
        self._span.set({
            "holdfast.outcome": given.outcome,
            "holdfast.how": given.how,
            "holdfast.problem": given.problem,
            "holdfast.operation": "" if known is None else known.ref.operation,
            "holdfast.effect_of": given.effect_of,
            "holdfast.late": given.late,
            "holdfast.attempt": given.attempt or "",
            "holdfast.upstream_status": given.upstream_status or "",
            "holdfast.audit_id": given.audit_id,
            "http.response.status_code": given.status,
            "gen_ai.tool.call.id": "" if known is None else known.call.tool_call_id,
            "gen_ai.conversation.id": "" if known is None else known.call.thread_id,
            "holdfast.run_id": "" if known is None else known.call.run_id,
        })  # fmt: skip
        self._span.end(given.problem or (str(given.status) if given.status >= 400 else ""))


def begun(tracing: Tracing, policy: ToolPolicy, incoming: Incoming) -> CallSpan | None:
    """Begin a request's span, and have whatever is forwarded for it say so; None for what a caller has said is not to
    be sampled, which goes on as it came."""
    onward = incoming.onward
    parents = [value for name, value in onward if name.lower() == _PARENT]
    parent = parents[0].decode("latin-1") if len(parents) == 1 else ""
    ours = is_parent(parent)
    state = b",".join(value for name, value in onward if name.lower() == _STATE).decode("latin-1") if ours else ""
    attributes = {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": policy.tool, "gen_ai.tool.type": "function",
        "holdfast.mode": policy.mode, "holdfast.effect": policy.effect,
    }  # fmt: skip
    span = tracing.begin(f"execute_tool {policy.tool}", attributes, parent if ours else "", state)
    if ours and not span.sampled:
        return None
    dropped = (_PARENT,) if ours else (_PARENT, _STATE)  # the state of a trace that nobody can tell is of no use
    _replace(incoming, dropped, (_PARENT, span.parent.encode()))
    return CallSpan(span)


def _replace(incoming: Incoming, names: tuple[bytes, ...], field: Header) -> None:
    """Put `field` in the place of those that have these `names`."""
    onward = incoming.onward
    host = onward[incoming.host_at] if incoming.host_at >= 0 else None
    kept = [one for one in onward if one[0].lower() not in names]
    kept.append(field)
    incoming.onward = kept
    if host is not None:
        incoming.host_at = next(at for at, one in enumerate(kept) if one is host)
