"""What is measured in which order."""

from __future__ import annotations

from evaluation.address import Address
from evaluation.bench.systems import NAMES, System
from evaluation.bench.workloads import plan

SYSTEMS = tuple(System(name, Address("127.0.0.1", 1)) for name in NAMES)


def test_systems_take_turns_and_another_one_is_first_each_round() -> None:
    """Within a workload every system is measured before the next workload; the order moves on by one each round."""
    first = [case.system for _, case in plan(SYSTEMS, 0)][:5]
    second = [case.system for _, case in plan(SYSTEMS, 1)][:5]
    assert first == list(NAMES)
    assert second == [*NAMES[1:], NAMES[0]]


def test_every_round_measures_the_same_cases() -> None:
    """No round leaves anything out, and none measures anything twice."""
    rounds = [sorted(case for _, case in plan(SYSTEMS, number)) for number in range(5)]
    assert all(cases == rounds[0] for cases in rounds)
    assert len(set(rounds[0])) == len(rounds[0])


def test_only_what_a_system_knows_is_asked_of_it() -> None:
    """Replays and joins are Holdfast's alone; new keys and the fixed rate are everybody's."""
    asked = {(case.workload, case.system) for _, case in plan(SYSTEMS, 0)}
    assert {system for workload, system in asked if workload in {"replay", "join"}} == {"sqlite", "redis"}
    assert {system for workload, system in asked if workload == "paced"} == set(NAMES)
