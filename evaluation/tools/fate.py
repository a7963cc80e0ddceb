"""What befalls a request: drawn from the script, or as the request itself asks."""

from __future__ import annotations

from msgspec import Struct

from evaluation.scripts import Range, chance
from evaluation.tools.faults import ENDS, FINE, End, Fault
from evaluation.tools.script import Script, Tool

ORDER = list(Fault)
"""In which faults strike."""


class BadOverride(ValueError):
    """An `X-Simulate` that cannot be read; the message says what it could have been."""


class Override(Struct, frozen=True):
    """What a request wants to befall it: these faults and no others, after these seconds if given."""

    faults: tuple[Fault, ...] = ()
    latency_s: float | None = None


class Plan(Struct, frozen=True):
    """What will become of a request: `before_s` until the tool acts or refuses, `answer_s` from its arrival to the
    answer, the end, and the faults that make it so."""

    before_s: float
    answer_s: float
    end: End
    faults: tuple[Fault, ...]


def parse_override(text: str) -> Override:
    """Read `X-Simulate: FAULT, …, latency=SECONDS`. Raises `BadOverride`."""
    faults, latency_s = [], None
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            if word.startswith("latency="):
                latency_s = float(word.removeprefix("latency="))
            else:
                faults.append(Fault(word))
        except ValueError:
            known = ", ".join(fault.value for fault in Fault)
            raise BadOverride(f"{word!r} is none of latency=SECONDS, {known}") from None
    if latency_s is not None and not 0 <= latency_s < float("inf"):
        raise BadOverride(f"latency={latency_s:g} is no time to wait")
    return Override(tuple(faults), latency_s)


class Fate:
    """Draws what happens, from a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._asked: dict[str, int] = {}

    def plan(self, name: str, tool: Tool, subject: str, override: Override | None = None) -> Plan:
        """Say what befalls this request to `name`, the next one with its subject."""
        subject = f"{name}:{subject}"
        count = self._asked[subject] = self._asked.get(subject, 0) + 1
        draws = _Draws(self.script.seed, subject, count)
        if override is None:
            struck = [fault for fault, rate in tool.rates.items() if rate and draws.of(fault.value) < rate]
        else:
            struck = list(override.faults)
        struck.sort(key=ORDER.index)
        fault = next((fault for fault in struck if fault in ENDS), None)
        end = FINE if fault is None else ENDS[fault]
        pace = next((fault for fault in struck if fault not in ENDS), None)
        before_s = 0.0 if end.at_once else _before(tool, pace, draws, count, override)
        answer_s = max(before_s, _past(tool, draws)) if fault is Fault.LATE_ANSWER else before_s
        befell = (fault,) if end.at_once else (pace, fault)
        return Plan(before_s, answer_s, end, tuple(one for one in befell if one is not None))

    def lag_s(self, tool: Tool, reference: str, count: int) -> float:
        """Return how long the effect that was the `count`th under a reference cannot be found."""
        return _within(tool.lag, _Draws(self.script.seed, reference, count), "lag")


class _Draws(Struct, frozen=True):
    seed: int
    subject: str
    count: int

    def of(self, kind: str) -> float:
        return chance(self.seed, kind, self.subject, self.count)


def _before(tool: Tool, pace: Fault | None, draws: _Draws, count: int, override: Override | None) -> float:
    if override is not None and override.latency_s is not None:
        return override.latency_s
    if pace is Fault.OVER_LIMIT:
        return _past(tool, draws)
    if pace is Fault.SLOW:
        return _within(tool.slow, draws, "pace")
    if tool.latencies:
        return tool.latencies[min(count, len(tool.latencies)) - 1]
    return _within(tool.latency, draws, "pace")


def _past(tool: Tool, draws: _Draws) -> float:
    return tool.limit + _within(tool.past, draws, "past")


def _within(bounds: Range, draws: _Draws, kind: str) -> float:
    return bounds.low if bounds.low == bounds.high else bounds.at(draws.of(kind))
