"""What policies say together must make sense: the inequalities of the timers, ties, and rules that undo each other.

A fault is placed at the most specific of the settings that contradict each other: the policy's own before the folder's
Defaults. One that lies in Defaults alone is the same fault for every policy, and is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from policies.faults import Fault
from policies.fields import LEAVES
from policies.kinds import BROKEN
from policies.merge import Settings
from policies.paths import parse_pattern
from policies.reading import Setting


class Rule(Struct, frozen=True):
    """`holds` gets the values of `fields`; `message` is formatted with them as they are written in a policy."""

    fields: tuple[str, ...]
    holds: Callable[..., bool]
    message: str
    remedy: str


RULES: Final = (
    Rule(
        ("timeouts.connect", "timeouts.upstream"),
        lambda connect, upstream: connect < upstream,
        "connect ({}) is not below upstream ({})",
        "Dialling is over before the tool is waited for: make connect shorter.",
    ),
    Rule(
        ("timeouts.hold", "timeouts.upstream", "timeouts.late"),
        lambda hold, upstream, late: hold <= upstream + late,
        "hold ({}) is above upstream ({}) + late ({})",
        "Nobody listens any more by then: make hold shorter.",
    ),
    Rule(
        ("retry.backoff.base", "retry.backoff.max"),
        lambda base, longest: base <= longest,
        "backoff base ({}) is above its max ({})",
        "Make base shorter, or max longer.",
    ),
    Rule(
        ("result.retention", "longestRun"),
        lambda retention, longest: longest <= retention,
        "retention ({}) is below longestRun ({})",
        "A run that is still going could repeat a call whose result is gone: keep results longer.",
    ),
    Rule(
        ("result.remember", "result.retention"),
        lambda remember, retention: retention <= remember,
        "remember ({}) is below retention ({})",
        "A result cannot outlive the memory of its call: make remember longer.",
    ),
    Rule(
        ("result.final", "result.notFinal"),
        lambda final, not_final: bool(final - not_final),
        "no status in final ({}) is left beside notFinal ({}), so no reply can settle a call",
        "notFinal is looked at first: take the statuses that settle a call out of it.",
    ),
    Rule(
        ("result.notFinal",),
        lambda not_final: not any(200 <= status < 300 for status in not_final),
        "notFinal ({}) has a success in it",
        "What is not final is sent again, and a success has run: take 2xx out.",
    ),
)

UNUSED_BY_READS: Final = ("key.from", "key.onMissing", "fingerprint.ignore", "storeDown")


def contradictions(settings: Settings, own: Settings) -> Iterable[Fault]:
    """Yield what one policy's merged `settings` contradict; `own` are those of its own document."""
    for rule in RULES:
        involved = [settings[name] for name in rule.fields]
        values = [setting.value for setting in involved]
        if any(value is BROKEN for value in values) or rule.holds(*values):
            continue
        yield _blame(rule, involved, own)
    if settings["effect"].value == "read":
        for name in UNUSED_BY_READS:
            if name in own and (place := own[name].place) is not None:
                message = "has no use beside effect: read, which is forwarded without key or ledger"
                yield Fault(place, name, message, "Remove it, or write effect: write.")


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
    return "[" + ", ".join(map(str, written)) + "]" if isinstance(written, list) else str(written)


def collisions(parts: Sequence[tuple[Settings, Settings]]) -> Iterable[Fault]:
    """Yield tools that stand twice and matches that tie, among pairs of merged and own settings in order of reading."""
    tools: dict[str, Setting] = {}
    patterns: dict[Any, list[tuple[frozenset[str], Settings]]] = {}
    for merged, own in parts:
        tool, path, methods = merged["tool"], merged["match.path"], merged["match.method"]
        if tool.value is not BROKEN and tool.place is not None:
            first = tools.setdefault(tool.value, tool)
            if first is not tool:
                message = f"{tool.value} has a policy already, at {first.where}"
                yield Fault(tool.place, "tool", message, "Keep one policy for each tool.")
                continue
        if path.value is BROKEN or methods.value is BROKEN:
            continue
        rivals = patterns.setdefault(parse_pattern(path.value), [])
        yield from _ties(merged, own, rivals)
        rivals.append((methods.value, merged))


def _ties(merged: Settings, own: Settings, rivals: list[tuple[frozenset[str], Settings]]) -> Iterable[Fault]:
    methods = merged["match.method"].value
    for others, rival in rivals:
        if methods & others or methods == others:
            field = next((name for name in ("match.path", "match.method") if name in own), "tool")
            place = own[field].place
            assert place is not None
            what = f"{' and '.join(sorted(methods & others)) or 'every method'} {merged['match.path'].value}"
            message = f"matches {what} just as {rival['tool'].value} does, at {rival['tool'].where}"
            yield Fault(place, field, message, "Make one of the two more specific, by path or by method.")
