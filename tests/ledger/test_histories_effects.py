"""Random histories of the ledger alone, on each store: effect keys, aliases, probes, rulings and resends.

Whoever asks does what a process does (read, decide, swap, settle), in steps that others' steps come between. A model
knows what the tool did and who must hold the effect key; the stores are held against it with every claim, and the
records against what the tool did.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct

from ledger import records
from ledger.decisions import FollowIt, ForwardIt, JoinIt, LapseFirst, ReplayIt, ResendIt, decide
from ledger.events import Asking, Happening, Lapsed, Lost, NotSent, Probed, Replied, Ruled, TimedOut
from ledger.records import Alias, Call, Completed, EffectHold, Free, InFlight, ProbePlan, Record, Unknown
from ledger.store import Held, Present, Written
from ledger.transitions import Changed, alias, apply, claim, resend
from ledger.writes import write_of
from policies.model import ResultRules, Verdict
from tests.effort import LONGER, TIMEOUT_S
from tests.ledger.effect_grounds import Ground, OnCluster, OnMemory, OnRedis, OnSqlite
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write
from tests.redis_server import any_server
from tests.redis_topologies import cluster

pytestmark = [pytest.mark.search, pytest.mark.timeout(TIMEOUT_S)]

T = TypeVar("T")
R = TypeVar("R", InFlight, Unknown)
Then = Literal["observe", "hold", "replay", "refuse"]
CALLS = ("op_1", "op_2", "op_3")
"""Three keys that mean one and the same effect."""
WINDOW_MS = 3_600_000
HOLD = EffectHold("e1", WINDOW_MS)
RULES = ResultRules(retention_ms=10 * WINDOW_MS, remember_ms=20 * WINDOW_MS)
LEASE_MS = 15 * 60_000
"""Longer than an example takes in real time: a lease lapses when a rule says so."""


class Attempt(Struct):
    """One claim that went to the tool: what it did, and what it will say when it does."""

    operation: str
    token: str
    acted: bool
    resent: bool
    said: bool = False


class EffectHistories(RuleBasedStateMachine):
    """The rules make the history; the model says what the store must answer."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(None)
        self.numbers = itertools.count(1)
        self.attempts: list[Attempt] = []
        self.executions: Counter[str] = Counter()
        self.held_by = ""
        self.held_until_ms: int | None = None
        self.excused = False
        """Somebody was let through on purpose: by `observe`, by `hold`, or after the window."""

    @initialize(honours=st.booleans(), probed=st.booleans())
    def begin(self, honours: bool, probed: bool) -> None:
        """An empty store, and a tool that honours our key or does not, that can be asked or cannot."""
        self.honours = honours
        self.plan = ProbePlan("/tickets", 1_000) if probed else None
        self.store, self.clock = self.ground.open()
        self.play(self.store.start())

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a piece of the history."""
        return self.loop.run_until_complete(story)

    def now_ms(self) -> int:
        """Return the model's time: it passes by rules alone."""
        return self.clock.now_ms if self.clock else 0

    # -- what processes do -------------------------------------------------------------------------------------------

    def read(self, operation: str) -> tuple[Record | None, Present | None]:
        """Return what stands there, decoded and as it came."""
        present = self.play(self.store.read(a_ref(operation)))
        return (None if present is None else records.decode(present.record, operation)), present

    def put(self, record: Record, expected: str | None, *, over: str = "", lost: bool = False) -> Written | Held | None:
        """Swap `record` in, and hold the store's answer against the model; `lost`: the first answer was, it is asked
        again. Returns None where somebody else was first."""
        stored = b"the reply" if isinstance(record, Completed) else None
        write = write_of(record, f"v{next(self.numbers)}", RULES, LEASE_MS, stored, over=over)
        ref = a_ref(record.operation)
        for _ in range(2 if lost else 1):
            answer = self.play(self.store.swap(ref, expected, write))
        effect = write.effect
        if effect is not None and effect.hold == "claim":
            held = self.holder() not in {"", record.operation, over}
            assert isinstance(answer, Held) == held, (answer, self.holder())
            if isinstance(answer, Held):
                assert answer.operation == self.holder()
                standing = self.read(answer.operation)[1]
                assert (standing and standing.version) == (answer.present and answer.present.version)
        if answer != Written():
            return answer if isinstance(answer, Held) else None
        if effect is not None and (effect.hold == "claim" or self.holder() in {"", record.operation}):
            self.held_by = "" if effect.hold == "drop" else record.operation
            self.held_until_ms = self.now_ms() + effect.window_ms if effect.hold == "window" else None
        return Written()

    def holder(self) -> str:
        """Return who must hold the effect key."""
        if self.held_until_ms is not None and self.held_until_ms <= self.now_ms():
            return ""
        return self.held_by

    def settle(self, operation: str, event: Happening, *, lost: bool = False) -> None:
        """Apply an event to what stands, and swap that in."""
        record, present = self.read(operation)
        assert record is not None
        assert present is not None
        change = apply(record, event, 1_000)
        if isinstance(change, Changed):
            assert self.put(change.record, present.version, lost=lost) == Written()

    def forwarded(self, operation: str, token: str, *, acts: bool, resent: bool) -> None:
        """The request reaches the tool, which acts once for a key that it honours."""
        again = self.honours and self.executions[operation] > 0
        if acts and not again:
            self.executions[operation] += 1
        self.attempts.append(Attempt(operation, token, acts or again, resent))

    def fresh(self, operation: str, over: Free | Alias | None, token: str, *, observed: bool = False) -> InFlight:
        """Return a claim."""
        return claim(
            over, operation=operation, fingerprint="f1", call=Call(), token=token, now_ms=1_000,
            effect=None if observed else HOLD, plan=self.plan,
        )  # fmt: skip

    # -- rules -------------------------------------------------------------------------------------------------------

    @rule(
        operation=st.sampled_from(CALLS), then=st.sampled_from(["observe", "hold", "replay", "refuse"]),

        acts=st.sampled_from([True, True, False]), lost=st.booleans(),
        dies=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    def arrive(self, operation: str, then: Then, acts: bool, lost: bool, dies: bool) -> None:
        """A call comes in, and gets what its record and its effect key allow."""
        record, present = self.read(operation)
        decision = decide(
            record, "f1", has_result=present is not None and present.result is not None,
            lease_left_ms=None if present is None else present.lease_left_ms, resend=self.honours,
        )  # fmt: skip
        token = f"t{next(self.numbers)}"
        version = None if present is None else present.version
        won = False
        match decision:
            case ForwardIt(free):
                won = self.claims(operation, free, version, token, then, lost=lost)
            case FollowIt(record):
                holder, _ = self.read(record.of)
                if holder is None or isinstance(holder, Free):
                    won = self.claims(operation, record, version, token, then, lost=lost)
            case ResendIt(record):
                won = self.put(resend(record, token, 1_000), version, lost=lost) == Written()
            case LapseFirst():
                self.settle(operation, Lapsed())
            case ReplayIt(record):
                assert self.executions[operation] >= (record.status == 200)
            case JoinIt() | _:
                pass
        if won and not dies:
            self.forwarded(operation, token, acts=acts, resent=isinstance(decision, ResendIt))

    def claims(
        self, operation: str, over: Free | Alias | None, version: str | None, token: str, then: Then, *, lost: bool
    ) -> bool:
        """Claim, and judge by policy where another operation holds the effect; say whether to forward."""
        answer = self.put(self.fresh(operation, over, token), version, lost=lost)
        if not isinstance(answer, Held):
            return answer == Written()
        assert answer.operation != operation
        holder = records.decode(answer.present.record, answer.operation) if answer.present else None
        assert isinstance(holder, InFlight | Unknown | Completed), "a hold without a cause"
        if then == "observe":
            self.excused = True
            return self.put(self.fresh(operation, over, token, observed=True), version) == Written()
        if then == "hold":
            if not isinstance(holder, Completed):
                return False
            self.excused = True
            return self.put(self.fresh(operation, over, token), version, over=answer.operation, lost=lost) == Written()
        if not isinstance(over, Alias):
            made = alias(over, answer.operation, operation=operation, fingerprint="f1", call=Call(), now_ms=1_000)
            assert self.put(made, version, lost=lost) == Written()
        return False

    @precondition(lambda self: any(not attempt.said for attempt in self.attempts))
    @rule(
        which=st.integers(0, 5), how=st.sampled_from(["reply", "reply", "busy", "neither", "lost", "timed out"]),
        lost=st.booleans(),
    )  # fmt: skip
    def tool_answers(self, which: int, how: str, lost: bool) -> None:
        """An attempt comes to its end, in time or late. A reply says what happened; but to what is sent again the tool
        may also say that it is busy with it."""
        waiting = [attempt for attempt in self.attempts if not attempt.said]
        attempt = waiting[which % len(waiting)]
        attempt.said = how != "timed out"
        event: Happening
        match how:
            case "busy" if attempt.resent:
                event = Replied(attempt.token, Verdict.NOT_FINAL, 409, "d-busy")
            case "reply" | "busy" if attempt.acted:
                event = Replied(attempt.token, Verdict.FINAL, 200, f"d-{attempt.operation}")
            case "reply" | "busy":
                event = Replied(attempt.token, Verdict.NOT_FINAL, 429, "d-busy")
            case "neither":
                event = Replied(attempt.token, Verdict.NEITHER, 500, "d-500")
            case "lost":
                event = Lost(attempt.token, "reset")
            case _:
                event = TimedOut(attempt.token)
        self.settle(attempt.operation, event, lost=lost)

    def unsent(self) -> list[InFlight]:
        """Return what is claimed by somebody who has not sent it."""
        return [r for r in self.of(InFlight) if all(attempt.token != r.token for attempt in self.attempts)]

    @precondition(lambda self: self.unsent())
    @rule(which=st.integers(0, 2))
    def claim_is_withdrawn(self, which: int) -> None:
        """Whoever claimed never sent it: nothing of that attempt is at the tool."""
        record = self.unsent()[which % len(self.unsent())]
        self.settle(record.operation, NotSent(record.token, "withdrawn", withdrawn=True))

    def leased(self) -> list[InFlight | Unknown]:
        """Return what somebody renews, or did."""
        return [*self.of(InFlight), *(record for record in self.of(Unknown) if record.listening)]

    @precondition(lambda self: self.leased())
    @rule(which=st.integers(0, 2))
    def lease_lapses(self, which: int) -> None:
        """Its process died, or stands still; a sweep finds out."""
        self.settle(self.leased()[which % len(self.leased())].operation, Lapsed())

    def probed(self) -> list[Unknown]:
        """Return what is to be asked about."""
        return [record for record in self.of(Unknown) if record.probing is not None]

    @precondition(lambda self: self.probed())
    @rule(which=st.integers(0, 2), last=st.booleans(), trusted=st.booleans(), lost=st.booleans())
    def probe(self, which: int, last: bool, trusted: bool, lost: bool) -> None:
        """Whoever finds it due asks, and is told the truth; that it did not happen counts once nothing is under way."""
        record = self.probed()[which % len(self.probed())]
        operation = record.operation
        assert record.probing is not None
        self.settle(operation, Asking(record.probing.asked, record.probing.waited_ms, 1_000), lost=lost)
        done = self.executions[operation] > 0
        free = trusted and not done and not self.under_way(operation)
        next_ms = None if last or done or free else 5_000
        found = Probed(
            applied=done, free=free, next_ms=next_ms, detail="", status=200 if done else 0,
            digest="d-probe" if done else "", token=record.token,
        )  # fmt: skip
        self.settle(operation, found, lost=lost)

    @precondition(lambda self: self.of(Unknown))
    @rule(which=st.integers(0, 2), lost=st.booleans())
    def operator_rules(self, which: int, lost: bool) -> None:
        """Somebody looks it up, and is right."""
        operation = self.of(Unknown)[which % len(self.of(Unknown))].operation
        if not self.under_way(operation):
            executed = self.executions[operation] > 0
            self.settle(operation, Ruled(executed, "ann", "", 200 if executed else 0, "d-ruled"), lost=lost)

    @precondition(lambda self: self.clock is not None)
    @rule(ms=st.sampled_from([WINDOW_MS // 3, WINDOW_MS]))
    def window_passes(self, ms: int) -> None:
        """Time goes by in which whoever is alive renews its lease, and a success may stop holding its effect."""
        assert self.clock is not None
        self.clock.now_ms += ms
        self.excused = True
        for operation in CALLS:
            record, present = self.read(operation)
            if isinstance(record, InFlight) and present is not None:
                assert self.play(self.store.renew(a_ref(operation), present.version, LEASE_MS))

    def of(self, state: type[R]) -> list[R]:
        """Return the records that are in a state."""
        found = [self.read(operation)[0] for operation in CALLS]
        return [record for record in found if isinstance(record, state)]

    def under_way(self, operation: str) -> bool:
        """Say whether something that was sent has not come to its end."""
        return any(attempt.operation == operation and not attempt.said for attempt in self.attempts)

    # -- what may never be -------------------------------------------------------------------------------------------

    @invariant()
    def nothing_runs_twice(self) -> None:
        """I1: one execution of each key; and one of the effect, unless somebody was let through on purpose."""
        assert all(count <= 1 for count in self.executions.values())
        assert self.excused or sum(self.executions.values()) <= 1

    @invariant()
    def records_are_true(self) -> None:
        """I5: what the ledger says of a call is what the tool did, or that it is not known."""
        if not hasattr(self, "store"):
            return
        for operation in CALLS:
            record, present = self.read(operation)
            ran = self.executions[operation] > 0
            match record:
                case Completed():
                    assert ran
                case Free() | Alias():
                    assert not ran
                case Unknown() | InFlight() | None:
                    assert record is not None or not ran
            if isinstance(record, InFlight):
                assert present is not None
                assert present.lease_left_ms is not None
            if isinstance(record, InFlight | Unknown) and record.effect is not None:
                assert self.holder() != "", "an effect that may be happening is held by nobody"

    def teardown(self) -> None:
        """The store's list of what is unknown is what stands there, and a claim meets the holder that it must."""
        try:
            if hasattr(self, "store"):
                unknown = {operation for operation in CALLS if isinstance(self.read(operation)[0], Unknown)}
                listed = self.play(self.store.scan("unknown", "", 10)).places
                assert {place.ref.operation for place in listed} == unknown
                assert sum(count.count for count in self.play(self.store.unknowns())) == len(unknown)
                met = self.play(self.store.swap(a_ref("op_last"), None, a_write(effect=self.claiming())))
                assert (met.operation if isinstance(met, Held) else "") == self.holder()
                self.play(self.store.close())
        finally:
            self.loop.close()
            self.ground.over()

    def claiming(self) -> Any:
        """Return the effect of a claim."""
        return write_of(self.fresh("op_last", None, "t-last"), "v", RULES, LEASE_MS).effect


def searched(on: Ground, examples: int) -> None:
    """Search for a history that the model does not allow."""

    class OnThisGround(EffectHistories):
        ground = on

    run_state_machine_as_test(
        OnThisGround,
        settings=settings(
            max_examples=examples * LONGER, stateful_step_count=40,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )  # fmt: skip


def test_no_history_of_effects_on_memory_breaks_the_model() -> None:
    """On the memory store."""
    searched(OnMemory(), 120)


def test_no_history_of_effects_on_sqlite_breaks_the_model() -> None:
    """On a file."""
    searched(OnSqlite(), 15)


def test_no_history_of_effects_on_redis_breaks_the_model(shared_redis: RedisServer) -> None:
    """On a server."""
    searched(OnRedis(shared_redis), 12)


def test_no_history_of_effects_on_a_cluster_breaks_the_model() -> None:
    """On three primaries: the keys that are written in one step share a slot."""
    with cluster(any_server()) as nodes:
        searched(OnCluster(nodes), 6)
