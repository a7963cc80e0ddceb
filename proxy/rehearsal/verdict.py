"""What was expected against what came: every difference of a case, each with its place in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from msgspec import UNSET, Struct

from policies.cases import Case, Expected, encoded
from policies.faults import Place
from proxy.rehearsal.play import Played
from proxy.rehearsal.wire import Answered

PROBLEM = "application/problem+json"
BODY_SHOWN_MAX = 200


class Difference(Struct, frozen=True):
    """One thing that is not as expected. `what` names it: `request 2: status`."""

    place: Place
    what: str
    expected: str
    got: str


def differences(case: Case, played: Played) -> tuple[Difference, ...]:
    """Return all of them, in the order of the file."""
    if played.stuck:
        return (Difference(case.place, "end", "one", played.stuck),)
    return (*_of_callers(case, played), *_of_the_end(case, played))


def _of_callers(case: Case, played: Played) -> Iterator[Difference]:
    for number, (asked, answered) in enumerate(zip(case.asked, played.answers, strict=True), 1):
        expected = asked.expected
        if expected is None:
            continue
        for what, wanted, got in _compared(expected, answered):
            if wanted != got:
                yield Difference(expected.place, f"request {number}: {what}", _shown(wanted), _shown(got))


def _compared(expected: Expected, answered: Answered | None) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is looked at, with what is wanted and what came."""
    if answered is None:
        yield "answer", "one", "none"
        return
    if expected.status is not None:
        yield "status", expected.status, answered.status
    if expected.outcome is not None:
        yield "outcome", expected.outcome, answered.header("Holdfast-Outcome")
    if expected.problem is not None:
        yield "problem", expected.problem, _problem(answered)
    if expected.late is not None:
        yield "late", expected.late, answered.header("Holdfast-Late") == "true"
    for name, value in expected.headers:
        yield f"header {name}", value, answered.header(name)
    if expected.body is not UNSET:
        operation = answered.header("Holdfast-Operation") or ""
        wanted = encoded(expected.body).replace(b"{operation}", operation.encode())
        yield "body", _decoded(wanted), _decoded(answered.body)
    if not answered.whole:
        yield "answer", "whole", "cut short"


def _problem(answered: Answered) -> str | None:
    if answered.header("Content-Type") != PROBLEM:
        return None
    return str(json.loads(answered.body)["type"]).rpartition(":")[2]


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _of_the_end(case: Case, played: Played) -> Iterator[Difference]:
    wanted = case.outcome
    compared = (
        ("calls", wanted.calls, played.calls),
        ("probes", wanted.probes, played.probes),
        ("state", wanted.states, played.states),
    )
    for what, expected, got in compared:
        if expected is not None and expected != got:
            yield Difference(wanted.place, what, _shown(expected), _shown(got))


def _shown(value: Any) -> str:
    match value:
        case None:
            return "none"
        case str():
            text = value
        case tuple():
            text = ", ".join(value) if value else "nothing"
        case _:
            text = json.dumps(value)
    return text if len(text) <= BODY_SHOWN_MAX else text[:BODY_SHOWN_MAX] + "…"
