"""The checker of histories finds what is wrong with histories that are known to be wrong, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.history import Attempt, NotLinearizable, check


def answer(start: float, end: float, value: str = "t1") -> Attempt:
    """An attempt that got the tool's answer."""
    return Attempt(start, end, "answer", value)


def refused(start: float, end: float) -> Attempt:
    """An attempt that was told that the tool provably had not run."""
    return Attempt(start, end, "not-executed")


def silent(start: float, end: float) -> Attempt:
    """An attempt that was told nothing certain."""
    return Attempt(start, end, "nothing")


RIGHT = {
    "one answer": ([answer(0, 1)], ["t1"]),
    "everybody gets the one answer": ([answer(0, 1), answer(0.5, 2), answer(5, 6)], ["t1"]),
    "nobody ran it": ([refused(0, 1), silent(1, 2)], []),
    "unknown, and it ran": ([silent(0, 1), answer(2, 3)], ["t1"]),
    "unknown, and it ran long after its caller had gone": ([silent(0, 1), refused(2, 3), answer(4, 5)], ["t1"]),
    "unknown, and nobody was ever told": ([silent(0, 1)], ["t1"]),
    "refused beside an execution that had not begun": ([refused(0, 2), answer(1, 3)], ["t1"]),
    "refused, then run": ([refused(0, 1), answer(2, 3)], ["t1"]),
}

WRONG = {
    "two executions": ([answer(0, 1)], ["t1", "t2"]),
    "two executions that nobody was told of": ([silent(0, 1), silent(2, 3)], ["t1", "t2"]),
    "two answers": ([answer(0, 1), answer(2, 3, "t2")], ["t1"]),
    "an answer that the tool never gave": ([answer(0, 1)], []),
    "not executed, though it had been": ([answer(0, 1), refused(2, 3)], ["t1"]),
    "not executed, between two who knew better": ([answer(0, 1), refused(2, 3), answer(4, 5)], ["t1"]),
    "not executed, though somebody had the answer before it asked": (
        [silent(0, 9), answer(1, 2), refused(3, 4)], ["t1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_history_that_can_be_explained_passes(name: str) -> None:
    """Each of these can have happened with one execution at most."""
    check(*RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_history_that_cannot_be_explained_is_found(name: str) -> None:
    """None of these can."""
    with pytest.raises(NotLinearizable):
        check(*WRONG[name])


ATTEMPTS = st.builds(
    lambda start, length, told: Attempt(start, start + length, told, "t1" if told == "answer" else ""),
    st.integers(0, 8), st.integers(1, 6), st.sampled_from(["answer", "not-executed", "nothing"]),
)  # fmt: skip


@given(st.lists(ATTEMPTS, max_size=6))
def test_checker_agrees_with_trying_every_moment(attempts: list[Attempt]) -> None:
    """The search over orders says what trying each moment for the one execution says."""
    try:
        check(attempts, ["t1"])
        found = True
    except NotLinearizable:
        found = False
    assert found == _some_moment_explains(attempts)


def _some_moment_explains(attempts: list[Attempt]) -> bool:
    """Say whether the call can have run at one moment: asked for by then, not after an answer, not before a refusal."""
    told = {kind: [one for one in attempts if one.told == kind] for kind in ("answer", "not-executed", "nothing")}
    if not told["answer"]:
        return True
    return any(
        all(one.end >= moment for one in told["answer"])
        and all(one.start <= moment for one in told["not-executed"])
        and any(one.start <= moment for one in told["answer"] + told["nothing"])
        for moment in (at for one in attempts for at in (one.start, one.end))
    )
