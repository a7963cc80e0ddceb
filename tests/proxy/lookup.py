"""A way to the tool that also answers probes: GETs go to a lookup of what the tool has done, all else to the script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.structs import replace

from ledger.records import Call, ProbePlan
from policies.model import Predicate, Probe, Selector, ToolPolicy, UnknownRules
from proxy.arrival import Arrival
from proxy.forward import Headers, Lost, Origin, Outbound, Outcome, Replied
from tests.proxy.scripted import JSON, ScriptedForward
from tests.proxy.virtual import now
from tests.proxy.world import POLICY, Process, arrival

PROBE = Probe(
    "/lookup?ref={operation}", Predicate(Selector("body", "/items/0"), "exists"), result=Selector("body", "/items/0"),
    after_ms=2_000, every_ms=5_000, for_ms=60_000,
)  # fmt: skip
PROBED = replace(POLICY, unknown=UnknownRules(probe=PROBE))


class Lookup:
    """What the tool says of itself. `answers` and `hides` let it lie; `asked` holds the moments of all probes."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.under_way = 0
        self.most_at_once = 0
        self.fails = False
        self.hides = False
        self.takes_s = 0.05

    def reply(self, executions: int, operation: str) -> Outcome:
        """Answer one probe."""
        if self.fails:
            return Lost("reset")
        items = [{"operation": operation}] if executions and not self.hides else []
        return Replied(200, b"", JSON, msgspec.json.encode({"items": items}), "length")


class WithLookup:
    """One process's way to a tool that can be asked."""

    def __init__(self, process: Process, lookup: Lookup) -> None:
        assert isinstance(process.works.forward, ScriptedForward)
        self._scripted = process.works.forward
        self._gate = process.gate
        self._lookup = lookup

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """See `proxy.forward.Forward`."""
        if request.method != b"GET":
            return await self._scripted(request, on_sent=on_sent, on_informational=on_informational)
        lookup = self._lookup
        await self._gate.network("probe")
        lookup.asked.append(now())
        lookup.under_way += 1
        lookup.most_at_once = max(lookup.most_at_once, lookup.under_way)
        try:
            await asyncio.sleep(lookup.takes_s)
            await self._gate.network("probe")
        finally:
            lookup.under_way -= 1
        (operation,) = parse_qs(urlsplit(request.target.decode()).query)["ref"]
        return lookup.reply(self._scripted.tool.executions[operation], operation)


def probing(process: Process, lookup: Lookup, policy: ToolPolicy | None = PROBED) -> Process:
    """Let `process` probe, by `policy` (None: no policy names the tool any more)."""
    origin = Origin("http", "tool", 80)

    def policies(_: Call) -> tuple[ToolPolicy, Origin] | None:
        return None if policy is None else (policy, origin)

    process.works.forward = WithLookup(process, lookup)
    process.works.prober.policies = policies
    return process


def probed(call: str = "call_1", policy: ToolPolicy = PROBED, **more: object) -> Arrival:
    """Return an attempt whose record says how to probe."""
    asked = arrival(call, policy=policy, **more)  # type: ignore[arg-type]
    assert policy.unknown.probe is not None
    plan = ProbePlan(f"/lookup?ref={asked.ref.operation}", policy.unknown.probe.after_ms)
    return replace(asked, plan=plan)
