"""The gate: what a variant has to show before it ships, and which line decided.

There are three answers. A bound that lies within a figure's interval is neither met nor missed, and a figure that was
not measured says nothing: *cannot tell* is never rounded to a yes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from evaluation.report.figures import KNOWN, Figure
from evaluation.scripts import BadScript, convert, load

BUILT_IN = Path(__file__).with_name("gate.yaml")
"""The gate of the published report."""

Verdict = Literal["ship", "do not ship", "cannot tell"]
Standing = Literal["met", "missed", "open"]


class Line(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A figure, its bounds (one at least, both included), and how sure one has to be that it is within; without a
    confidence the figure is taken as it is."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    confidence: float | None = None
    because: str = ""

    def __post_init__(self) -> None:
        if self.figure not in KNOWN:
            near = get_close_matches(self.figure, KNOWN, 1)
            instead = f"did you mean {near[0]}?" if near else f"write one of {', '.join(KNOWN)}"
            raise ValueError(f"{self.figure!r} is no figure of the report: {instead}")
        if self.at_most is None and self.at_least is None:
            raise ValueError(f"{self.figure} has no bound: write atMost, or atLeast")
        if self.confidence is not None and not 0.5 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence:g}: write a number between 0.5 and 1, or leave it out")


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """Lines, all of which have to be met. `candidates` are the variants that are to be shipped; without any, all."""

    lines: tuple[Line, ...] = field()
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.lines:
            raise ValueError("lines is empty: such a gate stops nothing: write a line, or leave the gate out")


class Held(Struct, frozen=True):
    """A line held against what a variant showed in an environment."""

    line: Line
    environment: str
    figure: Figure
    standing: Standing


class Decision(Struct, frozen=True):
    """Whether a variant ships: in all environments together, and in each by itself. `decided` are the lines that
    decided: those missed, else those open, else none."""

    variant: str
    verdict: Verdict
    environments: dict[str, Verdict]
    decided: tuple[Held, ...]
    held: tuple[Held, ...]


def read_gate(path: Path = BUILT_IN) -> Gate:
    """Return the gate in a file. Raises `BadScript`, which names the file, the field and a remedy, and `OSError`."""
    found = load(path)
    if not isinstance(found, dict) or not found:
        raise BadScript(f"{path}: lines: is missing: write a list of lines, each with a figure and a bound")
    try:
        return convert(path, found, Gate)
    except BadScript as error:
        unknown = "unknown field" in str(error)
        raise BadScript(f"{error}: remove the field, or correct its name" if unknown else str(error)) from None


def decide(gate: Gate, variant: str, measured: Iterable[tuple[str, Callable[[str, float], Figure]]]) -> Decision:
    """Return whether a variant ships. `measured` gives, for each environment, a figure by its name and the confidence
    of its interval."""
    held = tuple(_held(line, environment, figure) for environment, figure in measured for line in gate.lines)
    missed = tuple(one for one in held if one.standing == "missed")
    opened = tuple(one for one in held if one.standing == "open")
    names = dict.fromkeys(one.environment for one in held)
    environments = {name: _verdict([one for one in held if one.environment == name]) for name in names}
    return Decision(variant, _verdict(held), environments, missed or opened, held)


def passed(gate: Gate, decisions: Sequence[Decision]) -> bool:
    """Say whether all that is to be shipped may be. Where no candidate was replayed, all variants are candidates."""
    candidates = [one for one in decisions if one.variant in gate.candidates] or decisions
    return bool(candidates) and all(one.verdict == "ship" for one in candidates)


def _verdict(held: Sequence[Held]) -> Verdict:
    standings = {one.standing for one in held}
    return "do not ship" if "missed" in standings else "ship" if standings == {"met"} else "cannot tell"


def _held(line: Line, environment: str, figure: Callable[[str, float], Figure]) -> Held:
    """Hold a line. One-sided at a confidence of 95 % is the end of the two-sided interval of 90 %."""
    found = figure(line.figure, 0.9 if line.confidence is None else 2 * line.confidence - 1)
    return Held(line, environment, found, _standing(line, found))


def _standing(line: Line, found: Figure) -> Standing:
    """Say how a figure stands to a line's bounds."""
    if not found.method:
        return "open"
    low, value, high = found.span()
    if line.confidence is None:
        low = high = value
    most = math.inf if line.at_most is None else line.at_most
    least = -math.inf if line.at_least is None else line.at_least
    if low > most or high < least:
        return "missed"
    return "met" if least <= low and high <= most else "open"
