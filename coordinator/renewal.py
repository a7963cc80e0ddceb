"""Calls that are asked for once more under new ids: which of them are the same as before, and which must not run.

A model's replica that restarts in the middle of a step may ask for its calls again, under ids that were never seen. As
long as no submission was accepted since the earlier ones, that is the same step: a write among them is matched with an
earlier one by tool and canonical arguments (equal ones pairwise, in order) and is known to the proxy under *that* one's
id, so that it runs once. A write that matches none is a stray: the earlier ones may have run, and this one may be a
variant of them. Reads just run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from coordinator.backend import ToolCall
from coordinator.records import Call


class Fact(Struct, frozen=True):
    """What policies and arguments say of a call: the digest of its canonical arguments, whether it writes, and how long
    there is for it."""

    arguments: str
    write: bool
    patience_ms: int


def renewed(
    earlier: Sequence[Call], asked: Iterable[ToolCall], facts: dict[str, Fact], used: frozenset[str], step_id: str,
    now_ms: int,
) -> tuple[Call, ...]:  # fmt: skip
    """Return the calls of a new step.

    `earlier` are those that were asked for since a submission was last accepted, the oldest first: none, for a step
    like any other. `used` are ids of calls that were submitted: a provider that uses one again means another call, so
    the proxy must know it by another name.
    """
    free = {call.known_as: call for call in earlier if not call.stray}
    by_id = {call.tool_call_id: call for call in earlier}
    calls: list[Call] = []
    pending: list[ToolCall] = []
    for one in asked:
        same = by_id.get(one.tool_call_id)
        if same is not None and same.arguments == facts[one.tool_call_id].arguments:
            free.pop(same.known_as, None)
        else:
            pending.append(one)
    waiting = {one.tool_call_id for one in pending}
    for one in asked:
        fact = facts[one.tool_call_id]
        if one.tool_call_id not in waiting:
            calls.append(by_id[one.tool_call_id])
            continue
        name = f"{step_id}/{one.tool_call_id}" if one.tool_call_id in used and step_id else ""
        fresh = Call(one.tool_call_id, one.tool, fact.arguments, fact.write, now_ms + fact.patience_ms, asked_as=name)
        if earlier and fact.write:
            fresh = _matched(fresh, free)
        calls.append(fresh)
    return tuple(calls)


def _matched(fresh: Call, free: dict[str, Call]) -> Call:
    """Return a write as the earlier call that it repeats, which is no longer free then; or as a stray."""
    for known_as, call in free.items():
        if call.tool == fresh.tool and call.arguments == fresh.arguments:
            del free[known_as]
            kept = call.given if call.given is not None and call.given.source != "error" else None
            return replace(fresh, asked_as=known_as, given=kept)
    return replace(fresh, stray=True)
