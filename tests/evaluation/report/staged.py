"""Replays that never ran: records of one in which everything went right, for tests to spoil before they are written.

`perfect` gives each turn a run, each step one submission after a second, each write its effect; a turn that is resent
gets its predecessor's run, a turn that is said again gets one in which the tool's effect is that of the first: what a
replay looks like that nobody can find fault with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evaluation.replay.records import (
    CALLS,
    EFFECTS,
    OUTCOMES,
    STEPS,
    Call,
    Outcome,
    Plan,
    Step,
    Usage,
    mark_done,
    turns_file,
    write_lines,
    write_plan,
    write_usage,
)
from evaluation.replay.trace import write_trace
from evaluation.replay.turns import Identity, Turn
from evaluation.replay.workload import Shape, workload
from evaluation.report.share import is_resent
from evaluation.tools.asking import payload_hash
from evaluation.tools.audit import Effect

BEGUN = 1_790_000_000.0
PACE = 10.0
USAGE = Usage(
    seconds=60.0,
    cpu_s={"coordinator": 12.0, "sidecar": 6.0, "store": 3.0, "tools": 9.0, "api": 15.0, "driver": 4.5},
    store_ops=900,
    outages={"coordinator": 2, "sidecar": 1, "store": 0},
    moved=0,
)


class Staged(Struct):
    """The records of one variant in one environment."""

    outcomes: list[Outcome]
    steps: list[Step]
    calls: list[Call]
    effects: list[Effect]
    usage: Usage = USAGE

    def write(self, directory: Path) -> None:
        """Write the records as the runner does."""
        directory.mkdir()
        write_lines(directory / OUTCOMES, self.outcomes)
        write_lines(directory / STEPS, self.steps)
        write_lines(directory / CALLS, self.calls)
        lines = [msgspec.json.encode(effect) + b"\n" for effect in self.effects]
        (directory / EFFECTS).write_bytes(b"".join(lines))
        write_usage(directory, self.usage)
        mark_done(directory)

    def again(self, effect: Effect, **changes: object) -> Effect:
        """Add an effect once more, 3 s later unless the changes say otherwise, and return it."""
        later = {"audit_id": f"{effect.audit_id}-again", "ts": effect.ts + 3, "arrived_at": effect.arrived_at + 3}
        self.effects.append(replace(effect, **{**later, **changes}))
        return self.effects[-1]


def turns_of(number: int = 60, seed: int = 3) -> list[Turn]:
    """Return a small trace, with more repeats than usual."""
    often = 0.08
    shape = Shape(
        seed=seed, tenants=3, users=4, resent=often, said_again=often, meant_inside=often, meant_outside=often
    )
    return workload(shape, number)


def perfect(turns: Sequence[Turn], *, latency_s: float = 2.0) -> Staged:
    """Return the records of a replay of these turns in which everything went right."""
    staged = Staged([], [], [], [])
    runs: dict[str, str] = {}
    numbers = count(1)
    for turn in turns:
        sent_at = BEGUN + turn.at / PACE
        original = turn.repeat.of if turn.repeat else ""
        run_id = runs[turn.id] = runs[original] if is_resent(turn) and original in runs else f"run_{turn.id}"
        staged.outcomes.append(Outcome(turn.id, sent_at, sent_at + 0.01, sent_at + latency_s, "completed", run_id))
        if is_resent(turn):
            continue
        for number, step in enumerate(turn.steps):
            asked_at = sent_at + 0.5 + number
            step_id = f"step_{turn.id}_{number}"
            staged.steps.append(Step(turn.id, run_id, step_id, number, asked_at, asked_at + 1, 1))
            for call in step:
                hashed = payload_hash(msgspec.json.encode(call.arguments))
                call_id = f"call_{next(numbers)}"
                staged.calls.append(Call(turn.id, run_id, step_id, call_id, call.tool, hashed, "result"))
                if call.effect == "write" and call.meant:
                    who = Identity(call.tool, turn.tenant, turn.user, hashed)
                    staged.effects.append(effect_of(who, run_id, call_id, asked_at + 0.2))
    return staged


def effect_of(who: Identity, run_id: str, call_id: str, at: float) -> Effect:
    """Return an effect that was asked for with a run and a tool call."""
    return Effect(
        tool=who.tool,
        tenant=who.tenant,
        user_id=who.user,
        payload_hash=who.payload_hash,
        run_id=run_id,
        tool_call_id=call_id,
        audit_id=f"aud_{run_id}_{call_id}",
        arrived_at=at,
        ts=at,
        answered=201,
    )


def plan_of(turns: Mapping[str, int], variants: Sequence[str], *, pair_turns: int = 0) -> Plan:
    """Return the plan of a replay of so many turns in each environment."""
    return Plan(
        turns=dict(turns),
        seed=7,
        trace="t",
        faults="f",
        pace=PACE,
        window_s=90 / PACE,
        variants=tuple(variants),
        environments=tuple(turns),
        limit_s=120,
        pair_turns=pair_turns,
    )


def write_results(
    directory: Path, plan: Plan, turns: Mapping[str, Sequence[Turn]], staged: Mapping[str, Staged]
) -> Path:
    """Write a results folder; `staged` is by folder."""
    directory.mkdir(exist_ok=True)
    write_plan(directory, plan)
    for environment in plan.environments:
        write_trace(directory / turns_file(environment), turns[environment])
    for folder, records in staged.items():
        records.write(directory / folder)
    return directory
