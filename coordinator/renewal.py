"""Calls that are asked for once more under new ids: which of them are the same as before, and which must not run.

A model's replica that restarts in the middle of a step may ask for its calls again, under ids that were never seen. As
long as no submission was accepted since the earlier ones, that is the same step: a write among them is matched with an
earlier one by tool and canonical arguments (equal ones pairwise, in order) and is known to the proxy under *that* one's
id, so that it runs once. A write that matches none is a stray: the earlier ones may have run, and this one may be a
variant of them. Reads just run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from coordinator.backend import ToolCall
from coordinator.records import Call, Given


class Fact(Struct, frozen=True):
    """What policies and arguments say of a call: the digest of its canonical arguments, whether it writes, and how long
    there is for it."""

    arguments: str
    write: bool
    patience_ms: int


def renewed(
    earlier: Sequence[Call], asked: Sequence[ToolCall], facts: Mapping[str, Fact], used: frozenset[str], step_id: str,
    now_ms: int,
) -> tuple[Call, ...]:  # fmt: skip
    """Return the calls of a new step; no two of them share a name.

    `earlier` are those that were asked for since a submission was last accepted, the oldest first: none, for a step
    like any other. `used` are the names of the calls before those: a provider that uses one again means another call,
    so the proxy must know it by another name.
    """
    again = _known(earlier, asked, facts)
    names = {call.known_as for call in again.values()}
    free = {call.known_as: call for call in earlier if not call.stray and call.known_as not in names}
    taken = {name for call in earlier for name in (call.tool_call_id, call.known_as)} | used
    calls: list[Call] = []
    for one in asked:
        fact = facts[one.tool_call_id]
        fresh = Call(one.tool_call_id, one.tool, fact.arguments, fact.write, now_ms + fact.patience_ms)
        if one.tool_call_id in again:
            fresh = again[one.tool_call_id]
        elif earlier and fact.write:
            fresh = _matched(fresh, free, taken, step_id)
        elif not fact.write:
            fresh = _named(fresh, taken, step_id)
        elif one.tool_call_id in used:
            fresh = replace(fresh, asked_as=f"{step_id}/{one.tool_call_id}")
        taken.add(fresh.known_as)
        calls.append(fresh)
    return tuple(calls)


def same_calls(calls: Sequence[Call], asked: Sequence[ToolCall], facts: Mapping[str, Fact]) -> bool:
    """Say whether `asked` are these calls: not only their ids, which may mean others by now."""
    return {_sight(call) for call in calls} == {_sight(one, facts) for one in asked}


def _known(earlier: Sequence[Call], asked: Sequence[ToolCall], facts: Mapping[str, Fact]) -> dict[str, Call]:
    """Return, by id, the calls that are asked for under an id that they had before, with the newest that is known of
    them."""
    seen = {_sight(call): call for call in earlier}
    results = {call.known_as: call.given for call in earlier}
    again: dict[str, Call] = {}
    for one in asked:
        same = seen.get(_sight(one, facts))
        if same is not None and same.known_as in results:
            again[one.tool_call_id] = replace(same, given=_usable(results.pop(same.known_as)))
    return again


def _matched(fresh: Call, free: dict[str, Call], taken: set[str], step_id: str) -> Call:
    """Return a write as the earlier call that it repeats, which is no longer free then; or as a stray."""
    for known_as, call in free.items():
        if call.tool == fresh.tool and call.arguments == fresh.arguments:
            del free[known_as]
            kept = _usable(call.given)
            return replace(fresh, asked_as=known_as, given=None if kept is None or kept.source == "error" else kept)
    return _named(replace(fresh, stray=True), taken, step_id)


def _named(fresh: Call, taken: set[str], step_id: str) -> Call:
    """Return a call under a name that no other has: its id, where that has named none."""
    name, number = fresh.tool_call_id, 1
    while name in taken:
        name, number = f"{step_id}/{fresh.tool_call_id}/{number}", number + 1
    return fresh if name == fresh.tool_call_id else replace(fresh, asked_as=name)


def _usable(given: Given | None) -> Given | None:
    """Return a result, unless its output was let go: the proxy is asked for it again."""
    return None if given is None or given.output is None else given


def _sight(call: Call | ToolCall, facts: Mapping[str, Fact] | None = None) -> tuple[str, str, str]:
    """Return what tells a call from others: its id, tool and canonical arguments."""
    arguments = call.arguments if facts is None else facts[call.tool_call_id].arguments
    return call.tool_call_id, call.tool, arguments
