"""What came against what was expected."""

from __future__ import annotations

from pathlib import Path

from proxy.rehearsal.play import Played
from proxy.rehearsal.verdict import differences
from tests.proxy.rehearsal.stories import played

FIRST_LINE = 7
"""Of the case's lines in the file, after its name."""


def wrong(folder: Path, case: str) -> list[tuple[int, str, str, str]]:
    """Play a case; return line, name, expectation and truth of each difference."""
    _, found = played(folder, "", case)
    return [(one.place.line - FIRST_LINE, one.what, one.expected, one.got) for one in found]


def test_everything_that_is_different_is_told(tmp_path: Path) -> None:
    """Each where it is written, with what was expected and what came."""
    case = """requests:
  - expect: {status: 201, outcome: replayed, problem: in-flight, late: true, headers: {X-A: b}, body: {id: 2}}
  - hangUp: 0s
    expect: {status: 200}
replies: [{body: {id: 1}}]
expect: {calls: 2, probes: 1, state: [free, free]}
"""
    assert wrong(tmp_path, case) == [
        (1, "request 1: status", "201", "200"),
        (1, "request 1: outcome", "replayed", "executed"),
        (1, "request 1: problem", "in-flight", "none"),
        (1, "request 1: late", "true", "false"),
        (1, "request 1: header X-A", "b", "none"),
        (1, "request 1: body", '{"id": 2}', '{"id": 1}'),
        (3, "request 2: answer", "one", "none"),
        (5, "calls", "2", "1"),
        (5, "probes", "1", "0"),
        (5, "state", "free, free", "completed"),
    ]


def test_what_is_as_expected_is_not_told(tmp_path: Path) -> None:
    """Bodies are compared as JSON, problems by their name."""
    case = """requests:
  - expect: {status: 200, outcome: executed, late: false, headers: {content-type: application/json}, body: {b: 1, a: x}}
  - {body: {a: 2}, expect: {status: 422, problem: key-reused, outcome: refused}}
replies: [{body: {a: x, b: 1}}]
expect: {calls: 1, probes: 0, state: completed}
"""
    assert not wrong(tmp_path, case)


def test_nothing_in_the_ledger_can_be_expected(tmp_path: Path) -> None:
    """A call that was refused before anything was claimed."""
    case = "requests: [{headers: {X-Run-Id: ''}}]\nexpect: {calls: 0, state: []}\n"
    assert not wrong(tmp_path, case)


def test_story_that_never_ends_is_a_difference(tmp_path: Path) -> None:
    """It has no answers to compare."""
    from policies.case_files import load_suite

    played(tmp_path, "", "requests: [{}]\n")
    (case,) = load_suite(tmp_path).cases
    (found,) = differences(case, Played(stuck="nothing is ready and no timer is set"))
    assert (found.what, found.got) == ("end", "nothing is ready and no timer is set")
