"""Claiming a key, and with it its effect: one optimistic round trip, and what is made of whatever stands there
instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ledger import transitions
from ledger.decisions import FollowIt, ForwardIt, JoinIt, LapseFirst, ResendIt, decide
from ledger.events import NotSent
from ledger.records import Alias, Completed, EffectHold, Free, InFlight, Unknown
from ledger.store import StoreUnavailable
from proxy.books import Holder, Standing
from proxy.identity import principal_digest
from proxy.outcomes import Told
from proxy.resends import may_by
from proxy.works import SWAPS_MAX

if TYPE_CHECKING:
    from proxy.execution import Execution


class Course(Struct, frozen=True):
    """What an arrival has learnt of its effect from one look to the next.

    met     it has met another's effect, and been counted.
    passed  an operation that holds nothing any more: our alias of it may be claimed over.
    over    an operation whose success `hold` has waited for: its hold may be taken over.
    """

    met: bool = False
    passed: str = ""
    over: str = ""


AT_FIRST = Course()


class Bid(Struct):
    """What the next try to claim builds on.

    base   the record that it claims over, if one stands there, whose version is `expected`.
    hold   the effect that goes with it; None where the policy has none, or only observes that it is another's.
    over   whose hold of the effect it may take over.
    taken  the key or its effect is known to be somebody's.
    met    another's hold of the effect has been counted.
    """

    hold: EffectHold | None
    over: str
    base: Free | Alias | None = None
    expected: str | None = None
    taken: bool = False
    met: bool = False


async def claim(execution: Execution, course: Course) -> bool:
    """Claim the execution's key and its effect; say whether they are ours. If not, what stands there has been
    published. `course` is what is known of the effect's holder already.

    Raises `StoreUnavailable` and `CorruptRecord`.
    """
    arrival, works = execution.arrival, execution.works
    bid = Bid(arrival.hold, course.over, met=course.met)
    principal = principal_digest(arrival.ref.operation, arrival.credential)
    for _ in range(SWAPS_MAX):
        record = transitions.claim(
            bid.base, operation=arrival.ref.operation, fingerprint=arrival.fingerprint, call=arrival.call,
            token=execution.token, now_ms=works.now_ms(), effect=bid.hold, plan=arrival.plan, principal=principal,
        )  # fmt: skip
        try:
            answer = await works.books.claim(
                arrival.ref, bid.expected, record, arrival.policy.result, over=bid.over,
                replicas=arrival.policy.replicas,
            )  # fmt: skip
        except StoreUnavailable as error:
            if bid.taken:
                raise  # the key is known to be somebody's: not even a policy that forwards means this
            return _failed(execution, record, error)
        if isinstance(answer, str):
            execution.own(record, answer)
            return True
        if isinstance(answer, Holder):
            ended = await _meet(execution, bid, answer, course)
        else:
            ended = await _judge(execution, bid, answer, course)
        if ended:
            return False
    raise StoreUnavailable(f"the claim was overtaken {SWAPS_MAX} times")


async def _judge(execution: Execution, bid: Bid, answer: Standing | None, course: Course) -> bool:
    """Look at what stands at the key; say whether that ends the claim."""
    arrival, works = execution.arrival, execution.works
    bid.taken = answer is not None and not isinstance(answer.record, Free)
    if answer is None:
        bid.base, bid.expected = None, None
        return False
    decision = decide(
        answer.record, arrival.fingerprint, has_result=answer.stored is not None,
        lease_left_ms=answer.lease_left_ms,
        resend=isinstance(answer.record, Unknown) and may_by(arrival, answer.record, works.now_ms()),
    )  # fmt: skip
    match decision:
        case ForwardIt(free):
            bid.base, bid.expected = free, answer.version
            return False
        case FollowIt(alias) if alias.of == course.passed:
            bid.base, bid.expected = alias, answer.version
            return False
        case LapseFirst():
            await works.lapse(arrival.ref, answer)
            return False
        case ResendIt(record):
            execution.resending = True
            execution.publish(record, None, ended=False)
        case JoinIt():
            execution.publish(answer.record, None, ended=False)
        case _:
            execution.publish(answer.record, answer.result, ended=True)
    return True


async def _meet(execution: Execution, bid: Bid, holder: Holder, course: Course) -> bool:
    """Another operation holds the effect: do what the policy says of that; say whether that ends the claim."""
    arrival, works = execution.arrival, execution.works
    rules = arrival.policy.effect_key
    assert rules is not None
    if _holds_nothing(holder):
        bid.over = holder.operation
        return False
    if not bid.met:
        works.effect_met(arrival, holder.operation, rules.then)
        bid.met = True
    if rules.then == "observe":
        bid.hold = None
        return False
    execution.effect_of = holder.operation
    if rules.then == "hold":
        execution.publish(None, None, ended=True)
        return True
    bid.taken = True
    alias = transitions.alias(
        bid.base, holder.operation, operation=arrival.ref.operation, fingerprint=arrival.fingerprint,
        call=arrival.call, now_ms=works.now_ms(), principal=principal_digest(arrival.ref.operation, arrival.credential),
    )  # fmt: skip
    answer = await works.books.swap("alias", arrival.ref, bid.expected, alias, arrival.policy.result)
    if isinstance(answer, str):
        execution.publish(alias, None, ended=True)
        return True
    return await _judge(execution, bid, answer, course)


def _holds_nothing(holder: Holder) -> bool:
    """Say whether the record that stands there contradicts the hold: it is absent, since the store forgot it, or a
    version that knows of no effects has settled it."""
    if holder.standing is None:
        return not holder.foreign
    record = holder.standing.record
    return isinstance(record, Free | Alias) or (isinstance(record, Completed) and not record.succeeded)


def _failed(execution: Execution, record: InFlight, error: StoreUnavailable) -> bool:
    """The claim may or may not stand. Refuse, and take it back when the store answers; or forward, if so told."""
    works, policy = execution.works, execution.arrival.policy
    if policy.store_down == "refuse":
        execution.record = record
        withdrawn = Told(NotSent(execution.token, "the store did not confirm the claim", withdrawn=True))
        works.settle_later(execution, withdrawn, str(error))
        raise error
    works.metrics.unprotected.labels(policy.tool, "store-down").inc()
    execution.store_down = str(error)
    execution.own(record, "")
    return True
