"""A tool that honours our key and can be asked as well: whichever brings the truth first, the other ends with it
(decision 0028)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from ledger.records import Call, Completed, Free, ProbePlan
from policies.model import ToolPolicy, UnknownRules
from proxy.arrival import Arrival
from proxy.forward import Headers, Origin, Outbound, Outcome
from tests.proxy.honouring import RESENT, Fate, Honouring, HonouringForward, resent
from tests.proxy.lookup import PROBE, Lookup
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import Process, World, told, world

TRUSTED = replace(PROBE, free_after_ms=20_000)


def both(within_ms: int = 100_000, *, trusted: bool = False) -> ToolPolicy:
    """Return a policy that resends within a window, and probes."""
    probe = TRUSTED if trusted else PROBE
    return replace(RESENT, unknown=UnknownRules(then="resend", within_ms=within_ms, probe=probe))


class Asked:
    """One process's way to the tool: GETs go to the lookup."""

    def __init__(self, process: Process, tool: Honouring, lookup: Lookup) -> None:
        self._forward = HonouringForward(tool, process.gate)
        self._tool, self._lookup = tool, lookup

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """See `proxy.forward.Forward`."""
        if request.method != b"GET":
            return await self._forward(request, on_sent=on_sent, on_informational=on_informational)
        self._lookup.asked.append(now())
        (operation,) = parse_qs(urlsplit(request.target.decode()).query)["ref"]
        return self._lookup.reply(operation in self._tool.done, operation)


def ready(story: World, policy: ToolPolicy) -> tuple[Honouring, Lookup]:
    """Let both processes of a story send to one tool, and ask it."""
    tool, lookup, origin = Honouring(), Lookup(), Origin("http", "tool", 80)

    def policies(_: Call) -> tuple[ToolPolicy, Origin]:
        return policy, origin

    for process in (story.a, story.b):
        process.works.forward = Asked(process, tool, lookup)
        process.works.prober.policies = policies
    return tool, lookup


def called(policy: ToolPolicy) -> Arrival:
    """Return an attempt that brings the key, and whose record says how to probe."""
    asked = resent(policy=policy)
    assert policy.unknown.probe is not None
    return replace(asked, plan=ProbePlan(f"/lookup?ref={asked.ref.operation}", policy.unknown.probe.after_ms))


@in_virtual_time
async def test_resend_that_brings_the_answer_leaves_nothing_to_be_asked() -> None:
    """It comes before the first probe is due, and its answer is the tool's own."""
    async with world() as story:
        tool, lookup = ready(story, policy := both())
        tool.fates.append(Fate.LOST_ON_THE_WAY_BACK)
        assert told(await story.a.answer(called(policy)))[::2] == (201, "executed")
        await until(60)
        assert lookup.asked == []
        assert (len(tool.at), tool.executions.total()) == (2, 1)


@in_virtual_time
async def test_probe_ends_what_resends_do_not_and_nothing_is_sent_any_more() -> None:
    """Each resend is an attempt of its own, and the probe's time counts from its end: the probe has its turn when the
    pauses have grown beyond that."""
    async with world() as story:
        tool, lookup = ready(story, policy := both())
        tool.usual = Fate.LOST_ON_THE_WAY_BACK
        first = story.a.ask(called(policy))
        await until(99)
        record = await story.record(called(policy))
        assert isinstance(record, Completed)
        assert (record.source, record.late) == ("probe", True)
        assert len(lookup.asked) == 1
        assert len(tool.at) > 2
        assert max(tool.at) < lookup.asked[0]
        assert tool.executions.total() == 1
        await first
        for process in (story.a, story.b):
            assert told(await process.answer(called(policy)))[2] == "replayed"


@pytest.mark.parametrize("trusted", [True, False])
@in_virtual_time
async def test_probes_go_on_when_the_window_of_resends_is_over(trusted: bool) -> None:
    """Nothing has arrived. Where *not applied* is trusted the key is free in the end, and the next call runs; else it
    stays unknown, which is what nobody can end but a person."""
    async with world() as story:
        tool, lookup = ready(story, policy := both(5_000, trusted=trusted))
        tool.usual = Fate.LOST_ON_THE_WAY
        first = story.a.ask(called(policy))
        await until(99)
        assert max(tool.at) < 5
        assert min(lookup.asked) > max(tool.at)
        assert (await first).problem == "outcome-unknown"
        assert isinstance(await story.record(called(policy)), Free) is trusted
        tool.usual = Fate.FINE
        again = await story.b.answer(called(policy))
        assert again.outcome == ("executed" if trusted else "unknown")
        assert tool.executions.total() == trusted


@in_virtual_time
async def test_probe_finds_out_for_an_owner_that_has_died_and_whoever_comes_is_answered() -> None:
    """Nobody is left who has the request; the record says how to ask."""
    async with world() as story:
        tool, lookup = ready(story, policy := both())
        tool.fates.append(Fate.SILENT)
        story.a.ask(called(policy))
        await until(1)
        story.a.die()
        await until(60)
        assert isinstance(await story.record(called(policy)), Completed)
        assert len(lookup.asked) == 1
        assert told(await story.b.answer(called(policy)))[2] == "replayed"
        assert (len(tool.at), tool.executions.total()) == (1, 1)
