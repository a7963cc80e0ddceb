"""Every change of a run's record, and nothing else changes one: values in, values out.

| event                                   | the newest step       | what becomes of it                              |
|-----------------------------------------|-----------------------|-------------------------------------------------|
| the API asks for other calls            | none, or submitted    | a new step, open                                |
| the API asks for other calls            | open, submitting      | superseded; a new step, open: the calls renewed |
| the API asks for calls that have outputs | any                  | unchanged: an old picture                       |
| the API asks for calls that it knows no step of | any           | unchanged: an old picture                       |
| the API asks for the step's own calls   | submitted, it has it  | unchanged: an old picture                       |
| the API asks for the step's own calls   | submitted, it lacks it | open again: the submission was lost             |
| the API asks for a submitted step's     | any                   | unchanged: an old picture                       |
| the API asks for nothing                | submitted             | its outputs are let go, their digests stay      |
| the run ended                           | open, submitting      | superseded; the run is over                     |
| a call's first result                   | open                  | the call has it                                 |
| a better one than our error             | open                  | the call has it                                 |
| the same result again                   | any                   | unchanged: a duplicate                          |
| another result                          | any                   | a line of the history: conflict, or late truth |
| an attempt begins                       | open and whole        | submitting                                      |
| the attempt was accepted                | submitting            | submitted                                       |
| it was refused, or provably not sent    | submitting            | open                                            |
| nobody knows                            | submitting            | submitting, until the API was asked: `fate`    |
| the API has the outputs / has not       | open, submitting      | submitted / open                                |

Other calls are those with another id, tool or arguments, or of another step: some providers use ids again. A run that
has ended stays so. Before `looked`, ask `in_doubt`: an attempt whose end nobody knows, and calls that
replace others, can only be judged once the API has said what it has of the earlier ones (`fate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec.structs import replace

from coordinator.backend import ASKING, ENDED, Seen, StepOutputs
from coordinator.records import ATTEMPTS_MAX, DETAIL_MAX, HISTORY_MAX, STEPS_MAX, Attempt, Call, Event, Given, Run, Step
from coordinator.renewal import Fact, renewed, same_calls

Taking = Literal["taken", "duplicate", "conflict", "late", "unknown"]
End = Literal["accepted", "refused", "not-sent", "unclear"]


def begun(
    backend: str, thread_id: str, run_id: str, now_ms: int, *, tenant: str = "", user: str = "", turn: str = "",
    trace: str = "",
) -> Run:  # fmt: skip
    """Return the record of a run that is watched from now on."""
    run = Run(
        backend=backend, thread_id=thread_id, run_id=run_id, created_ms=now_ms, tenant=tenant, user=user, turn=turn,
        trace=trace,
    )  # fmt: skip
    return noted(run, "tracked", f"turn {turn}" if turn else "", now_ms)


def asks_for_step(run: Run, seen: Seen, facts: Mapping[str, Fact]) -> bool:
    """Say whether the API must be asked which step the calls belong to that `seen` asks for."""
    step = run.step
    if run.over or not _ids(seen):
        return False
    return step is None or step.state != "open" or not same_calls(step.calls, seen.calls, facts)


def in_doubt(run: Run, seen: Seen) -> bool:
    """Say whether the API must be asked what it has of the newest step before `seen` can be judged."""
    step, asked = run.step, _ids(seen)
    if step is None or run.over:
        return False
    if asked == step.ids:
        return step.state in {"submitting", "submitted"}
    return step.state == "submitting" or (step.state == "open" and bool(asked or step.attempts))


def fate(run: Run, found: StepOutputs | None, now_ms: int) -> Run:
    """Return the run once the API has said what it has of the newest step: None, if it knows no such step any more."""
    step = run.step
    if step is None or step.state == "superseded":
        return run
    if found is not None and _is_another(step, found):
        return run if step.state == "submitted" else fate(run, None, now_ms)
    if found is not None and all(found.outputs.get(call) is not None for call in step.ids):
        if step.state == "submitted":
            return run
        ours = bool(step.attempts)
        told = replace(step, state="submitted", attempts=_ended(step, "accepted", "the API has the outputs"))
        return _with(run, told, Event(now_ms, "submitted", "", "found out" if ours else "by somebody else"))
    if step.state == "open":
        return run
    what = "submission-lost" if step.state == "submitted" else "not-taken"
    attempts = _ended(step, "not-taken", "the API has no outputs")
    calls = tuple(call if call.given is None or call.given.output else replace(call, given=None) for call in step.calls)
    return _with(run, replace(step, state="open", calls=calls, attempts=attempts), Event(now_ms, what))


def looked(run: Run, seen: Seen, facts: Mapping[str, Fact], found: StepOutputs | None, now_ms: int) -> Run:
    """Return the run as of `seen`. `facts` tells of each call that it asks for; `found` is the API's step of these
    calls, where it was asked for: None if it knows none, and then they are void by now."""
    if run.over:
        return run
    told = replace(run, looked_ms=now_ms, expires_ms=seen.expires_ms or run.expires_ms)
    if seen.status != run.status:
        told = replace(told, status=seen.status, history=grown(told, Event(now_ms, "status", "", seen.status)))
    if seen.status in ENDED:
        return _over(told, now_ms, seen.error)
    asked = _ids(seen)
    if seen.status != ASKING or not asked:
        return _moved_on(told)
    if found is None or _is_old(told, seen, found):
        return told
    step = told.step
    known = step is not None and step.state != "submitted" and same_calls(step.calls, seen.calls, facts)
    if step is not None and known and not _is_another(step, found):
        return told
    return _asked(told, seen, facts, found.step_id, now_ms)


def given(run: Run, known_as: str, result: Given, now_ms: int) -> tuple[Run, Taking]:
    """Return the run with a result for the newest call of that name, and what it was taken for. An error of ours never
    takes the place of anything."""
    for at, step in reversed(tuple(enumerate(run.steps))):
        for call in step.calls:
            if call.known_as == known_as:
                return _given(run, at, call, result, now_ms)
    return run, "unknown"


def submitting(run: Run, token: str, now_ms: int) -> Run:
    """Write down that the newest step's outputs are about to be submitted."""
    step = run.step
    assert step is not None
    assert step.state == "open"
    assert step.whole
    number = step.attempts[-1].number + 1 if step.attempts else 1
    attempts = (*step.attempts, Attempt(number, token, now_ms))[-ATTEMPTS_MAX:]
    line = Event(now_ms, "submitting", "", f"attempt {number}")
    return _with(run, replace(step, state="submitting", attempts=attempts), line)


def submitted(run: Run, token: str, end: End, detail: str, now_ms: int) -> Run:
    """Return the run once the attempt of `token` has ended; one that is not the newest step's last changes nothing."""
    step = run.step
    if step is None or step.state != "submitting" or not step.attempts or step.attempts[-1].token != token:
        return run
    line = Event(now_ms, f"submission-{end}", "", detail)
    match end:
        case "accepted":
            return _with(run, replace(step, state="submitted", attempts=_ended(step, "accepted", detail)), line)
        case "refused" | "not-sent":
            return _with(run, replace(step, state="open", attempts=_ended(step, end, detail)), line)
        case "unclear":
            return replace(run, history=grown(run, line))


def gone(run: Run, why: str, now_ms: int) -> Run:
    """Return the run of which the API knows nothing any more."""
    return run if run.over else _over(run, now_ms, why)


def noted(run: Run, what: str, detail: str, now_ms: int, call: str = "") -> Run:
    """Add a line to the timeline."""
    return replace(run, history=grown(run, Event(now_ms, what, call, detail)))


def grown(run: Run, event: Event) -> tuple[Event, ...]:
    """Return the history with one more line; of other people's words it keeps `DETAIL_MAX` characters."""
    history, event = run.history, replace(event, detail=event.detail[:DETAIL_MAX])
    return (*history, event) if len(history) < HISTORY_MAX else (history[0], *history[2:], event)


# -- the parts -------------------------------------------------------------------------------------------------------


def _asked(run: Run, seen: Seen, facts: Mapping[str, Fact], step_id: str, now_ms: int) -> Run:
    """The API asks for calls that it has not asked for before."""
    before = run.step
    accepted = _accepted(run)
    used = frozenset(
        name for step in run.steps[:accepted] for call in step.calls for name in (call.tool_call_id, call.known_as)
    )
    earlier = [call for step in run.steps[accepted:] for call in step.calls]
    calls = renewed(earlier, seen.calls, facts, used, step_id, now_ms)
    steps = run.steps
    if before is not None and before.state != "submitted":
        steps = (*steps[:-1], replace(before, state="superseded"))
    else:
        steps = tuple(_bare(step) for step in steps)
    steps = (*steps, Step(step_id, calls, now_ms))[-STEPS_MAX:]
    ids = ", ".join(call.tool_call_id for call in calls)
    line = Event(now_ms, "asked-again" if earlier else "asked", "", ids)
    return replace(run, steps=steps, history=grown(run, line))


def _accepted(run: Run) -> int:
    """Count the steps up to the newest one that was accepted: what came after it was asked for in one go."""
    return max((at + 1 for at, step in enumerate(run.steps) if step.state == "submitted"), default=0)


def _moved_on(run: Run) -> Run:
    """The API asks for nothing: what it was given is of no more use."""
    step = run.step
    if step is None or step.state != "submitted":
        return run
    return replace(run, steps=tuple(_bare(step) for step in run.steps))


def _over(run: Run, now_ms: int, why: str) -> Run:
    steps = [_bare(step if step.state == "submitted" else replace(step, state="superseded")) for step in run.steps]
    line = Event(now_ms, "over", "", why or run.status)
    return replace(run, steps=tuple(steps), ended_ms=now_ms, why=why[:DETAIL_MAX], history=grown(run, line))


def _bare(step: Step) -> Step:
    calls = [
        call if call.given is None else replace(call, given=replace(call.given, output=None)) for call in step.calls
    ]
    return replace(step, calls=tuple(calls))


def _given(run: Run, at: int, mine: Call, result: Given, now_ms: int) -> tuple[Run, Taking]:
    step, stands = run.steps[at], mine.given
    if stands is not None and stands.digest == result.digest:
        return run, "duplicate"
    if step.state == "open" and not run.over and (stands is None or (stands.source == "error" != result.source)):
        calls = tuple(replace(call, given=result) if call is mine else call for call in step.calls)
        steps = (*run.steps[:at], replace(step, calls=calls), *run.steps[at + 1 :])
        line = Event(now_ms, "result", mine.tool_call_id, f"{result.source}: {result.outcome}")
        return replace(run, steps=steps, history=grown(run, line)), "taken"
    if result.source == "error":
        return run, "late"
    taking: Taking = "late" if stands is None or stands.source == "error" else "conflict"
    line = Event(now_ms, taking, mine.tool_call_id, f"{result.source}: {result.outcome}, {result.digest[:12]}")
    if any(
        (told.what, told.call, told.detail) == (line.what, line.call, line.detail[:DETAIL_MAX]) for told in run.history
    ):
        return run, taking  # it was written down when it came first
    return replace(run, history=grown(run, line)), taking


def _with(run: Run, step: Step, line: Event) -> Run:
    """Return the run with another newest step and one more line."""
    return replace(run, steps=(*run.steps[:-1], step), history=grown(run, line))


def _ended(
    step: Step, end: Literal["accepted", "refused", "not-sent", "not-taken"], detail: str
) -> tuple[Attempt, ...]:
    if not step.attempts or step.attempts[-1].end:
        return step.attempts
    return (*step.attempts[:-1], replace(step.attempts[-1], end=end, detail=detail[:DETAIL_MAX]))


def _ids(seen: Seen) -> frozenset[str]:
    return frozenset(call.tool_call_id for call in seen.calls) if seen.status == ASKING else frozenset()


def _is_another(step: Step, found: StepOutputs) -> bool:
    """Whether `found` is not this step, though it has its ids: some providers use them again."""
    return bool(step.step_id) and bool(found.step_id) and step.step_id != found.step_id


def _is_old(run: Run, seen: Seen, found: StepOutputs) -> bool:
    """Whether `seen` is an old picture: the API has outputs of what it asks for, or it belongs to what came before the
    newest step that was accepted."""
    asked = _ids(seen)
    if all(found.outputs.get(call) is not None for call in asked):
        return True
    if found.calls and not set(seen.calls) <= set(found.calls):
        return any(asked & step.ids for step in run.steps)  # their ids mean other calls by now
    return any(asked <= step.ids and step.step_id == found.step_id for step in run.steps[: _accepted(run)])
