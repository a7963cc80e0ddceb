"""What an agent's run is put to, and what does not pass."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evaluation.agent_run import PLAN, TOOLS, checks
from tests.evaluation.conftest import effect

EFFECTS = tuple(replace(effect(f"aud_{number}", "gw_1"), tool=tool) for number, tool in enumerate(TOOLS))
RUN: dict[str, Any] = {
    "status": "completed",
    "steps": [{"calls": [{"tool_call_id": "call_2", "known_as": "call_1"}]}],
}
TAKEN = [{"step_id": f"step_{number}", "taken": True} for number in range(len(PLAN["steps"]))]


def test_run_that_did_everything_once_passes() -> None:
    """One effect for each call, one submission for each step, and calls under new ids on the way."""
    assert all(check.holds for check in checks(RUN, EFFECTS, TAKEN))


@pytest.mark.parametrize(
    ("run", "effects", "submissions"),
    [
        (RUN | {"status": "expired"}, EFFECTS, TAKEN),
        (RUN | {"steps": [{"calls": [{"tool_call_id": "call_1", "known_as": "call_1"}]}]}, EFFECTS, TAKEN),
        (RUN, (*EFFECTS, EFFECTS[0]), TAKEN),
        (RUN, EFFECTS[:-1], TAKEN),
        (RUN, EFFECTS, [*TAKEN, TAKEN[0]]),
        (RUN, EFFECTS, TAKEN[:1]),
    ],
)
def test_run_that_is_otherwise_fails(
    run: dict[str, Any], effects: tuple[Any, ...], submissions: list[dict[str, Any]]
) -> None:
    """A run that did not complete or was never renewed, an effect too many or too few, a submission likewise."""
    assert not all(check.holds for check in checks(run, effects, submissions))


def test_submission_that_was_not_taken_does_not_count() -> None:
    """Tries are no submissions."""
    refused = {"step_id": "step_0", "taken": False}
    assert all(check.holds for check in checks(RUN, EFFECTS, [refused, *TAKEN]))
