"""Claiming a key: one optimistic round trip, and what is made of whatever stands there instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger import transitions
from ledger.decisions import ForwardIt, JoinIt, LapseFirst, decide
from ledger.events import NotSent
from ledger.records import Free, InFlight
from ledger.store import StoreUnavailable
from proxy.identity import principal_digest
from proxy.outcomes import Told
from proxy.works import SWAPS_MAX

if TYPE_CHECKING:
    from proxy.execution import Execution


async def claim(execution: Execution) -> bool:
    """Claim the execution's key; say whether it is ours. If not, what stands there has been published.

    Raises `StoreUnavailable` and `CorruptRecord`.
    """
    arrival, works = execution.arrival, execution.works
    expected: str | None = None
    free: Free | None = None
    taken = False
    principal = principal_digest(arrival.ref.operation, arrival.credential)
    for _ in range(SWAPS_MAX):
        record = transitions.claim(
            free, operation=arrival.ref.operation, fingerprint=arrival.fingerprint, call=arrival.call,
            token=execution.token, now_ms=works.now_ms(), plan=arrival.plan, principal=principal,
        )  # fmt: skip
        try:
            answer = await works.books.swap(
                "claim", arrival.ref, expected, record, arrival.policy.result, version=execution.token
            )
        except StoreUnavailable as error:
            if taken:
                raise  # the key is known to be somebody's: not even a policy that forwards means this
            return _failed(execution, record, error)
        if isinstance(answer, str):
            execution.own(record, answer)
            return True
        taken = answer is not None and not isinstance(answer.record, Free)
        if answer is None:
            expected = free = None
            continue
        match decide(
            answer.record, arrival.fingerprint, has_result=answer.stored is not None,
            lease_left_ms=answer.lease_left_ms,
        ):  # fmt: skip
            case ForwardIt(free):
                expected = answer.version
            case LapseFirst():
                await works.lapse(arrival.ref, answer)
            case JoinIt():
                execution.publish(answer.record, None, ended=False)
                return False
            case _:
                execution.publish(answer.record, answer.result, ended=True)
                return False
    raise StoreUnavailable(f"the claim was overtaken {SWAPS_MAX} times")


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
