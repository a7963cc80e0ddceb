"""A seeded workload: turns by the thousand, each of which depends on the seed and its own name and on nothing else.

It is made of conversations, one thread each, which begin at a fixed rate; a conversation is some intents, one after the
other; an intent is a turn and, at the rates stated in `Shape`, the same turn once more. Conversation 812 is the same
whether it is made first, last or alone, and a workload of 1,000 turns is the beginning of the one of 50,000.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count, islice

from msgspec import Struct
from msgspec.structs import replace

from evaluation.replay.arguments import READS, WRITES, arguments_of, pick
from evaluation.replay.turns import Call, Repeat, Turn
from evaluation.scripts import Range, chance

WINDOW_S = 90
"""Within which the seed takes equal effects for duplicates."""


class Shape(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How the workload looks. Times are in seconds, shares and rates from 0 to 1.

    calls         how likely a turn has no calls, one, two …: the median is 1, the mean 1.45.
    writes        the share of calls that write.
    new_step      how likely a call waits for the ones before it, in a step of its own.
    intents       how likely a conversation has one intent, two ….
    resent, said_again              of turns that are sent, or said, again by accident, `soon` after.
    meant_inside, meant_outside     of turns that are meant twice, `inside` the seed's window or `outside`.
    tenants, users                  tenants, and users of each; tenants are not alike: of n, the first k have
                                    sqrt(k / n) of the conversations.
    conversations_per_s             how many conversations begin.
    thought       from one intent to the next.
    """

    seed: int = 0
    calls: tuple[float, ...] = (0.15, 0.45, 0.25, 0.10, 0.05)
    writes: float = 0.45
    new_step: float = 0.4
    intents: tuple[float, ...] = (0.3, 0.3, 0.2, 0.1, 0.1)
    resent: float = 0.01
    said_again: float = 0.01
    meant_inside: float = 0.01
    meant_outside: float = 0.01
    tenants: int = 20
    users: int = 50
    conversations_per_s: float = 5
    thought: Range = Range(20, 240)
    soon: Range = Range(0.2, 8)
    inside: Range = Range(20, WINDOW_S - 5)
    outside: Range = Range(WINDOW_S + 30, 600)

    def __post_init__(self) -> None:
        for name in ("calls", "intents"):
            if min(getattr(self, name), default=-1) < 0 or abs(sum(getattr(self, name)) - 1) > 1e-9:
                raise ValueError(f"{name} are likelihoods: write numbers from 0 that sum to 1")
        repeated = (self.resent, self.said_again, self.meant_inside, self.meant_outside)
        if min(repeated) < 0 or sum(repeated) > 1:
            raise ValueError("the rates of repeats are below 0, or above 1 in all")
        if not (0 <= self.writes <= 1 and 0 <= self.new_step <= 1):
            raise ValueError("writes and newStep are shares: write numbers from 0 to 1")
        if min(self.tenants, self.users) < 1 or self.conversations_per_s <= 0:
            raise ValueError("tenants, users and conversationsPerS are above 0")
        if min(self.thought.low, self.soon.low, self.inside.low, self.outside.low) < 0:
            raise ValueError("a time is below 0")


def workload(shape: Shape, turns: int) -> list[Turn]:
    """Return the first `turns` turns, in the order in which they are said. The conversations of the last ones go on
    beyond them, as those in any stretch of a log do."""
    return list(islice(_said(shape), turns))


def _said(shape: Shape) -> Iterator[Turn]:
    """Yield all turns in their order: none of a conversation's is before the conversation may begin."""
    begun: list[tuple[float, str, Turn]] = []
    for number in count():
        while begun and begun[0][0] < number / shape.conversations_per_s:
            yield heapq.heappop(begun)[2]
        for turn in conversation(shape, number):
            heapq.heappush(begun, (turn.at, turn.id, turn))


def conversation(shape: Shape, number: int) -> Iterator[Turn]:
    """Yield the turns of one conversation: each intent's, in time, and its repeat after it."""
    name = f"c{number:06d}"
    draws = _Draws(shape.seed, name)
    tenant = int(draws("tenant") ** 2 * shape.tenants)
    user = int(draws("user") * shape.users)
    at = (number + draws("begin")) / shape.conversations_per_s
    for place in range(_weighted(shape.intents, draws("intents")) + 1):
        turn = _turn(shape, f"{name}-{place}", round(at, 3), (f"t{tenant:02d}", f"t{tenant:02d}-u{user:03d}", name))
        yield turn
        again = _again(shape, turn)
        if again is not None:
            yield again
        at = max(turn.at, again.at if again else 0) + shape.thought.at(draws(f"thought {place}"))


def _turn(shape: Shape, name: str, at: float, whose: tuple[str, str, str]) -> Turn:
    draws = _Draws(shape.seed, name)
    steps: list[tuple[Call, ...]] = []
    for place in range(_weighted(shape.calls, draws("calls"))):
        call = _call(shape, f"{name}-{place}")
        if steps and draws(f"step {place}") >= shape.new_step:
            steps[-1] = (*steps[-1], call)
        else:
            steps.append((call,))
    tenant, user, thread = whose
    text = f"Please see to {name}: " + (", ".join(call.tool for step in steps for call in step) or "just a question")
    return Turn(name, at, tenant, user, thread, f"turn-{name}", text, tuple(steps))


def _call(shape: Shape, name: str) -> Call:
    draws = _Draws(shape.seed, name)
    writes = draws("writes") < shape.writes
    tool = pick(WRITES if writes else READS, draws("tool"))
    arguments = arguments_of(tool, name, draws)
    return Call(tool, arguments, "write" if writes else "read")


def _again(shape: Shape, turn: Turn) -> Turn | None:
    """Return the turn that repeats this one, if it is repeated.

    A thread takes one turn at a time: what is said again within seconds is said in a thread of its own.
    """
    draws = _Draws(shape.seed, turn.id)
    after, name = draws("after"), f"{turn.id}-again"
    anew = replace(turn, id=name, client_turn_id=f"turn-{name}")
    rates = (shape.resent, shape.said_again, shape.meant_inside, shape.meant_outside)
    match _weighted((*rates, 1 - sum(rates)), draws("again")):
        case 0:
            at, repeat = turn.at + shape.soon.at(after), Repeat(turn.id, "resent")
            return replace(turn, id=name, at=round(at, 3), steps=_unmeant(turn), repeat=repeat)
        case 1:
            at, repeat = turn.at + shape.soon.at(after), Repeat(turn.id, "said-again")
            thread = f"{turn.thread}-{name}"
            return replace(anew, at=round(at, 3), thread=thread, steps=_unmeant(turn), repeat=repeat)
        case 2:
            return replace(anew, at=round(turn.at + shape.inside.at(after), 3), repeat=Repeat(turn.id, "meant-again"))
        case 3:
            return replace(anew, at=round(turn.at + shape.outside.at(after), 3), repeat=Repeat(turn.id, "meant-again"))
        case _:
            return None


def _unmeant(turn: Turn) -> tuple[tuple[Call, ...], ...]:
    return tuple(tuple(replace(call, meant=False) for call in step) for step in turn.steps)


def _weighted(likely: tuple[float, ...], draw: float) -> int:
    """Return the place that a draw stands for: place k as often as `likely[k]` says."""
    for place, share in enumerate(likely):
        draw -= share
        if draw < 0:
            return place
    return len(likely) - 1


class _Draws(Struct, frozen=True):
    """The draws about one thing, by their kinds."""

    seed: int
    name: str

    def __call__(self, kind: str) -> float:
        return chance(self.seed, kind, self.name, 1)
