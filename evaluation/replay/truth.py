"""What was done, held against what was meant: from the tools' audit and the turns, and from nothing that we say.

Effects are compared identity by identity (tool, tenant, user, payload), as many as there are of each; the ids under
which they were asked for play no part, since ids lie. So any order of the audit gives the same truth, and of the
effects of one identity nobody can say which is the duplicate. Within an identity a lost effect and a duplicate of
another turn's cancel out: duplicates and lost effects are each at least what is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct

from evaluation.replay.turns import Identity, Turn
from evaluation.tools.asking import call_of
from evaluation.tools.audit import Effect

Group = TypeVar("Group", bound=Hashable)

Effects = Mapping[Identity, int]
"""How many effects there are, or should be, of each identity."""


class Tally(Struct, frozen=True):
    """Effects that were observed against those that were expected: `observed == expected + duplicates - lost`.

    duplicates  effects beyond those expected, of any identity; of one that nobody expected, all.
    lost        effects that were expected and are not there; they are `missing` or `suppressed`.
    suppressed  of the lost ones, those whose very same effect is there for another turn, as if the turn that meant it
                again had been taken for a repetition. The price of effect keys, where nothing else loses effects.
    """

    expected: int = 0
    observed: int = 0
    duplicates: int = 0
    lost: int = 0
    suppressed: int = 0

    @property
    def missing(self) -> int:
        """Return how many expected effects have no trace at all."""
        return self.lost - self.suppressed

    @property
    def ratio(self) -> float | None:
        """Return the observed effects for each expected one, as the seed's third artifact has it; None for none."""
        return self.observed / self.expected if self.expected else None

    def __add__(self, other: Tally) -> Tally:
        """Return what both tell together, of different identities."""
        return Tally(
            self.expected + other.expected,
            self.observed + other.observed,
            self.duplicates + other.duplicates,
            self.lost + other.lost,
            self.suppressed + other.suppressed,
        )


class Denominators(Struct, frozen=True):
    """The same effects against what was meant and against what the orchestrator planned."""

    intent: Tally
    plan: Tally

    @property
    def hidden(self) -> int:
        """Return the duplicates that the plan as denominator does not show: they were planned twice."""
        return self.intent.duplicates - self.plan.duplicates


class Executions(Struct, frozen=True):
    """How often calls were executed: `times[n]` calls n times.

    unkeyed  effects of requests that brought no id at all, which belong to no call.
    moved    of the calls that were executed more than once, those of runs that two regions knew of.
    """

    times: dict[int, int]
    unkeyed: int = 0
    moved: int = 0

    @property
    def repeated(self) -> int:
        """Return how many calls were executed more than once."""
        return sum(calls for times, calls in self.times.items() if times > 1)


def intended(turns: Iterable[Turn]) -> Counter[Identity]:
    """Return the effects that users mean."""
    return Counter(identity for turn in turns for identity in turn.intended())


def planned(turns: Iterable[Turn]) -> Counter[Identity]:
    """Return the effects that an orchestrator plans that runs each turn once, with its calls as the model first asks
    for them. What it plans beyond that (a turn started twice, a call asked for again) is for its owner to add."""
    return Counter(identity for turn in turns for identity in turn.planned())


def identity_of(effect: Effect) -> Identity:
    """Return what an effect is, whichever ids it was asked for under."""
    return Identity(effect.tool, effect.tenant, effect.user_id, effect.payload_hash)


def observed(effects: Iterable[Effect]) -> Counter[Identity]:
    """Return the effects that the audit shows."""
    return Counter(map(identity_of, effects))


def tallies(found: Effects, expected: Effects, group: Callable[[Identity], Group]) -> dict[Group, Tally]:
    """Return what was observed against what was expected, for each group of identities: per user, per tool."""
    told: dict[Group, Tally] = {}
    for identity in expected.keys() | found.keys():
        there, wanted = found.get(identity, 0), expected.get(identity, 0)
        lost = max(wanted - there, 0)
        one = Tally(wanted, there, max(there - wanted, 0), lost, lost if there else 0)
        name = group(identity)
        told[name] = told[name] + one if name in told else one
    return told


def tally(found: Effects, expected: Effects) -> Tally:
    """Return what was observed against what was expected, in all."""
    return tallies(found, expected, lambda _: None).get(None, Tally())


def against_both(found: Effects, meant: Effects, plan: Effects) -> Denominators:
    """Return what was observed against what was meant, beside the same against what was planned."""
    return Denominators(tally(found, meant), tally(found, plan))


def executions(effects: Iterable[Effect], moved: Container[str] = ()) -> Executions:
    """Return how often each call was executed. A call is known by its operation where Holdfast announced one, by its
    idempotency key, or by its run and tool call: a call that was asked for again under a new id is another one here.
    `moved` are the runs that two regions knew of."""
    calls: Counter[tuple[str, str]] = Counter()
    elsewhere, unkeyed = set[tuple[str, str]](), 0
    for effect in effects:
        if effect.operation or effect.key or (effect.run_id and effect.tool_call_id):
            call = effect.tenant, call_of(effect, effect.key)
            calls[call] += 1
            if effect.run_id in moved:
                elsewhere.add(call)
        else:
            unkeyed += 1
    times = dict(sorted(Counter(calls.values()).items()))
    return Executions(times, unkeyed, sum(calls[call] > 1 for call in elsewhere))
