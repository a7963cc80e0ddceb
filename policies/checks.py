"""What policies say together must make sense: the inequalities of the timers, ties, and rules that undo each other.

A fault is placed at the most specific of the settings that contradict each other: the policy's own before the folder's
Defaults. One that lies in Defaults alone is the same fault for every policy, and is told once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from policies.faults import Fault
from policies.fields import LEAVES
from policies.kinds import BROKEN
from policies.merge import Settings
from policies.paths import parse_pattern
from policies.reading import Setting
from policies.rules import RULES, Rule, unused


def contradictions(settings: Settings, own: Settings) -> Iterable[Fault]:
    """Yield what one policy's merged `settings` contradict; `own` are those of its own document."""
    for rule in RULES:
        involved = [settings[name] for name in rule.fields]
        values = [setting.value for setting in involved]
        if any(value is BROKEN for value in values) or rule.holds(*values):
            continue
        yield _blame(rule, involved, own)
    written = {name: setting.value for name, setting in settings.items()}
    for name, setting in own.items():
        said = unused(name, written)
        if said is not None and setting.place is not None:
            yield Fault(setting.place, name, *said)


def _blame(rule: Rule, involved: Sequence[Setting], own: Settings) -> Fault:
    """Place a fault at the policy's own setting if it has one here, else in Defaults."""
    candidates = [(name, setting) for name, setting in zip(rule.fields, involved, strict=True) if setting.place]
    candidates.sort(key=lambda candidate: candidate[0] not in own)
    name, setting = candidates[0]
    assert setting.place is not None
    shown = []
    for other, found in zip(rule.fields, involved, strict=True):
        value = _shown(other, found.value)
        shown.append(value if found.place is not None else f"{value}, built in")
    return Fault(setting.place, name, rule.message.format(*shown), rule.remedy)


def _shown(field: str, value: Any) -> str:
    written = LEAVES[field].kind.show(value)
    if written is None or isinstance(written, bool):
        return str(json.dumps(written))
    return "[" + ", ".join(map(str, written)) + "]" if isinstance(written, list) else str(written)


def collisions(parts: Sequence[tuple[Settings, Settings]]) -> Iterable[Fault]:
    """Yield tools that stand twice, matches that tie and tenants that are looked for in two places, among pairs of
    merged and own settings in order of reading."""
    tools: dict[str, list[Settings]] = {}
    patterns: dict[Any, list[Settings]] = {}
    whose: Setting | None = None
    for merged, own in parts:
        tool, path, tenants = merged["tool"], merged["match.path"], merged["match.tenants"]
        if any(merged[name].value is BROKEN for name in ("match.method", "match.tenants", "key.tenant")):
            continue
        if tool.value is not BROKEN and tool.place is not None:
            known = tools.setdefault(tool.value, [])
            first = next((other for other in known if _overlap(merged, other, "match.tenants")), None)
            known.append(merged)
            if first is not None:
                yield _second(tool, first["tool"], tenants)
                continue
        if tenants.value and merged["key.tenant"].value is not None:
            whose = whose or merged["key.tenant"]
            yield from _elsewhere(merged, whose)
        if path.value is not BROKEN:
            rivals = patterns.setdefault(parse_pattern(path.value), [])
            yield from _ties(merged, own, rivals)
            rivals.append(merged)


def _overlap(one: Settings, other: Settings, name: str) -> bool:
    """Say whether two sets have something in common, or neither says anything."""
    mine, theirs = one[name].value, other[name].value
    return bool(mine & theirs) or mine == theirs


def _second(tool: Setting, first: Setting, tenants: Setting) -> Fault:
    assert tool.place is not None
    whose = " for these tenants" if tenants.value else ""
    message = f"{tool.value} has a policy{whose} already, at {first.where}"
    return Fault(tool.place, "tool", message, "Keep one policy for each tool and tenant.")


def _elsewhere(merged: Settings, first: Setting) -> Iterable[Fault]:
    """Two policies that name tenants could both be meant, if each had a place of its own to look for them."""
    tenant = merged["key.tenant"]
    if tenant.value != first.value:
        place = tenant.place or merged["match.tenants"].place
        assert place is not None
        message = f"tenants are looked for in {tenant.value}, and in {first.value} at {first.where}"
        yield Fault(place, "key.tenant", message, "Let all policies that name tenants look in one place.")


def _ties(merged: Settings, own: Settings, rivals: list[Settings]) -> Iterable[Fault]:
    methods = merged["match.method"].value
    for rival in rivals:
        if not _overlap(merged, rival, "match.method") or not _overlap(merged, rival, "match.tenants"):
            continue
        field = next((name for name in ("match.path", "match.method", "match.tenants") if name in own), "tool")
        place = own[field].place
        assert place is not None
        shared = methods & rival["match.method"].value
        what = f"{' and '.join(sorted(shared)) or 'every method'} {merged['match.path'].value}"
        if tenants := merged["match.tenants"].value & rival["match.tenants"].value:
            what += f" of {' and '.join(sorted(tenants))}"
        message = f"matches {what} just as {rival['tool'].value} does, at {rival['tool'].where}"
        yield Fault(place, field, message, "Make one of the two more specific, by path, by tenants or by method.")
