"""`holdfast` with a bug planted in it, for tests that want to see it found: `python planted.py BUG proxy --policies …`.

late-claim       the call is forwarded first and claimed afterwards: the record comes after the effect.
rerunning-lease  a lease is short, is not renewed, and when it is over the call counts as not executed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

import proxy.claim
import proxy.execution
from cli.main import main
from ledger import transitions
from ledger.records import Event, InFlight, Record
from ledger.transitions import Changed, Unchanged
from proxy.claim import Course
from proxy.execution import Execution
from proxy.forward import Outbound, Outcome
from proxy.leases import Leases


def late_claim() -> None:
    """Forward before the claim; what the tool said is what the claim's own forward is told."""
    claim = proxy.claim.claim

    async def forward_first(execution: Execution, course: Course) -> bool:
        outcome = await execution._send(execution._outbound(1))
        execution._stop_timers()

        async def told(_: Outbound, on_sent: Callable[[], None] | None = None) -> Outcome:
            return outcome

        execution.arrival = replace(execution.arrival, forward=told)
        return await claim(execution, course)

    proxy.execution.claim = forward_first  # type: ignore[attr-defined]  # where it is called from


def rerunning_lease() -> None:
    """Take a lease that is over for a call that was not executed, and let leases run out."""
    lapse = transitions._lapse

    def free(record: Record, now_ms: int) -> Changed | Unchanged:
        if not isinstance(record, InFlight):
            return lapse(record, now_ms)
        return Changed(transitions._free(record, "not-sent", "", now_ms, Event(now_ms, "lapsed", record.token)))

    async def nothing(_: Leases) -> None:
        return None

    transitions._lapse = free
    Leases.renew = nothing  # type: ignore[method-assign, assignment]  # that is the bug
    sys.argv += ["--lease", "3s"]


BUGS: dict[str, Callable[[], Any]] = {"late-claim": late_claim, "rerunning-lease": rerunning_lease}

if __name__ == "__main__":
    if (bug := sys.argv.pop(1)) and sys.argv[1] == "proxy":
        BUGS[bug]()
    main()
