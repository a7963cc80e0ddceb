"""What evidence amounts to."""

from __future__ import annotations

import pytest

from evaluation.triage.weighing import Evidence, seconds, verdict


@pytest.mark.parametrize(
    ("evidence", "against", "expected"),
    [
        ([(3, "ids")], [], "shown"),
        ([(3, "ids")], [(2, "ids")], "shown"),
        ([(3, "time")], [], "likely"),
        ([(2, "ids")], [], "likely"),
        ([(1, "ids"), (1, "ids")], [], "possible"),
        ([(1, "time")], [(2, "ids")], "possible"),
        ([], [], "not excluded"),
        ([], [(2, "ids")], "not excluded"),
        ([], [(3, "ids")], "ruled out"),
        ([], [(3, "time")], "not excluded"),
        ([(3, "ids")], [(3, "ids")], "ruled out"),
        ([(3, "ids"), (2, "ids")], [(3, "ids")], "shown"),
    ],
)
def test_verdict_is_no_better_than_how_lines_were_joined(
    evidence: list[tuple[int, str]], against: list[tuple[int, str]], expected: str
) -> None:
    """Time alone shows nothing and rules nothing out; many weak signs make nothing likely."""
    sides = [[Evidence("", weight, by) for weight, by in side] for side in (evidence, against)]  # type: ignore[arg-type]
    assert verdict(*sides) == expected


def test_durations_are_written_for_people() -> None:
    """In the unit that fits."""
    assert [seconds(ms) for ms in (13, 7_889, 1_500_000)] == ["13 ms", "7.889 s", "25 min"]
