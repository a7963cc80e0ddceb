"""Playing cases, and telling how they went: for people by line, for programs as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from policies.case_files import load_suite
from policies.cases import Case
from policies.faults import Fault, PolicyErrors
from policies.loader import load_folder
from proxy.rehearsal.play import Played, play
from proxy.rehearsal.verdict import Difference, differences


class Result(Struct, frozen=True):
    """A case that was played, and what came out otherwise than expected."""

    case: Case
    played: Played
    differences: tuple[Difference, ...]


def play_all(paths: Iterable[str]) -> list[Result]:
    """Play the cases of each path. Raises `PolicyErrors` with what is wrong with cases or policies, before any is."""
    faults: list[Fault] = []
    pairs = []
    for path in paths:
        try:
            suite = load_suite(path)
            if suite.cases:
                pairs.append((suite, load_folder(suite.folder).policies))
        except PolicyErrors as errors:
            faults += errors.faults
    if faults:
        raise PolicyErrors(faults)
    results = []
    for suite, policies in pairs:
        for case in suite.cases:
            played = play(case, policies)
            results.append(Result(case, played, differences(case, played)))
    return results


def failures(results: Sequence[Result]) -> list[str]:
    """Return a line for each difference, in the form that editors jump by."""
    return [
        f"{found.place.file}:{found.place.line}:{found.place.column}: {result.case.name}: {found.what}: "
        f"expected {found.expected}, got {found.got}"
        for result in results
        for found in result.differences
    ]


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row for each case, with its differences."""
    return [
        {
            "file": result.case.place.file,
            "line": result.case.place.line,
            "case": result.case.name,
            "passed": not result.differences,
            "calls": result.played.calls,
            "probes": result.played.probes,
            "state": list(result.played.states),
            "differences": [
                {"line": found.place.line, "what": found.what, "expected": found.expected, "got": found.got}
                for found in result.differences
            ],
        }
        for result in results
    ]
