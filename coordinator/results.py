"""From what became of a tool call to what is handed in for it (the tool's own answer, or an honest error), and what
became of that."""

from __future__ import annotations

from coordinator.backend import Accepted, Away, Gone, Refused, Unclear
from coordinator.outputs import error_output, output_digest
from coordinator.records import Call, Given
from coordinator.tools import Told
from coordinator.transitions import End

DETAILS = {
    "unknown": "It may or may not have run, and nothing but a person can tell.",
    "refused": "It was refused.",
    "unreached": "The tool could not be reached; it was not executed.",
    "overdue": "There was no answer in time; it may or may not have run.",
    "not-posted": "No result was posted back in time; it may or may not have run.",
    "regenerated_call": "It was asked for anew with other arguments while the earlier call may have run.",
}


def given_of(told: Told, now_ms: int) -> Given | None:
    """Return what there is to hand in; None for a call that is merely late."""
    match told.verdict:
        case "answered":
            outcome = told.outcome or "read"
            return Given(told.output, output_digest(told.output), "tool", outcome, now_ms, told.operation)
        case "overdue":
            return None
        case "unreached":
            return _error("unreached", told.detail, now_ms, told.operation, may_have_run=False)
        case "unknown":
            return _error("unknown", told.detail, now_ms, told.operation, may_have_run=True)
        case "refused":
            return _error(told.problem or "refused", told.detail, now_ms, told.operation, may_have_run=True)


def in_place_of(call: Call, now_ms: int, *, asked: bool, elsewhere: bool) -> Given:
    """Return what is handed in for a call that has no more time. `asked`: the proxy is being asked for it."""
    if call.stray:
        return _error("regenerated_call", "", now_ms, may_have_run=True)
    if elsewhere and not asked:
        return _error("not-posted", "", now_ms, may_have_run=True)
    return _error("overdue", "", now_ms, may_have_run=True)


def end_of(answer: Accepted | Refused | Gone | Away | Unclear) -> tuple[End, str]:
    """Return how an attempt to submit has ended, as far as its answer says, and the words for that."""
    match answer:
        case Accepted():
            return "accepted", ""
        case Refused():
            return "refused", f"{answer.status}: {answer.why}"
        case Gone():
            return "refused", answer.why
        case Away():
            return "not-sent", answer.why
        case Unclear():
            return "unclear", answer.why


def _error(outcome: str, detail: str, now_ms: int, operation: str = "", *, may_have_run: bool) -> Given:
    text = detail or DETAILS.get(outcome, outcome)
    output = error_output(outcome, operation=operation, detail=text, do_not_repeat=may_have_run)
    return Given(output, output_digest(output), "error", outcome, now_ms, operation)
