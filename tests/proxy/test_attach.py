"""Attaching to an operation: its state, its result once there is one, and only for who asked for it."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from ledger.key import Key, ref_of
from ledger.transitions import alias
from ledger.writes import write_of
from policies.model import Limits, ResultRules, Timeouts
from proxy.answer import Answer as Given
from proxy.arrival import Arrival
from proxy.attach import Asked, Attaching
from proxy.identity import principal_digest
from tests.proxy import world as worlds
from tests.proxy.callers import Answer, ask, request
from tests.proxy.house import House
from tests.proxy.regenerated import request as meant
from tests.proxy.scripted import Answers, Cuts, Hangs, Refuses
from tests.proxy.tools import Gate, waits
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import POLICY, Process, arrival, field, told, world

PENDING = (202, "", "unknown")


async def attach(process: Process, asked: Arrival, wait_s: float = 0, credential: str | None = None) -> Given:
    """Ask for a call's operation as `credential`; fail if the answer does not come in that time (I4)."""
    start = now()
    given = await Attaching(process.works).answer(Asked(asked.ref, asked.policy, credential, round(wait_s * 1_000)))
    assert now() - start <= max(wait_s, 0.1) + 0.001
    return given


# -- what there is to be told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["a", "b"])
@in_virtual_time
async def test_attached_caller_gets_the_result_as_soon_as_there_is_one(where: str) -> None:
    """Beside the forward and on another replica alike: held while it runs, then the stored answer as a replay."""
    async with world() as story:
        story.tool.will(Answers(after_s=3))
        first = story.a.ask()
        await until(0.1)
        process = {"a": story.a, "b": story.b}[where]
        given = await attach(process, arrival(), 20)
        assert told(given) == (200, "", "replayed")
        assert given.body == (await first).body
        assert now() < 3.2
        assert given.how == "attached"
        assert told(await attach(process, arrival())) == (200, "", "replayed")
        assert story.tool.executed == 1


@in_virtual_time
async def test_attached_caller_whose_time_ends_is_told_what_state_it_is_in() -> None:
    """202 with Retry-After and the place to ask again; the forward goes on."""
    async with world() as story:
        story.tool.will(Answers(after_s=8))
        first = story.a.ask()
        await until(0.1)
        for process in (story.a, story.b):
            given = await attach(process, arrival(), 1)
            assert told(given) == PENDING
            assert field(given, "Retry-After") == "1"
            operation = arrival().ref.operation
            assert field(given, "Location") == f"/_holdfast/operations/{operation}"
            assert json.loads(given.body)["state"] == "in-flight"
            assert json.loads(given.body)["operation"] == operation
        assert told(await first)[2] == "executed"


@in_virtual_time
async def test_attaching_starts_nothing() -> None:
    """Of a call that nobody made there is nothing to tell, and asking does not make it."""
    async with world() as story:
        given = await attach(story.a, arrival(), 5)
        assert told(given) == (404, "not-found", None)
        assert now() < 0.2
        assert story.tool.executed == 0
        assert await story.record() is None


@in_virtual_time
async def test_attaching_to_an_unknown_outcome_waits_only_while_it_can_end() -> None:
    """Held while its process listens, else told at once."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=1_000, hold_ms=30_000, late_ms=60_000))
    async with world() as story:
        story.tool.will(Answers(after_s=5), Cuts())
        assert told(await story.a.answer(arrival(policy=policy)))[:2] == (504, "outcome-unknown")
        for process in (story.a, story.b):
            assert told(await attach(process, arrival(policy=policy), 1)) == (409, "outcome-unknown", "unknown")
        assert told(await attach(story.b, arrival(policy=policy), 20)) == (200, "", "replayed")
        await story.a.answer(arrival("call_2"))
        start = now()
        assert told(await attach(story.b, arrival("call_2"), 20)) == (409, "outcome-unknown", "unknown")
        assert now() - start < 0.1


@in_virtual_time
async def test_attaching_to_a_freed_call_says_that_it_did_not_run() -> None:
    """Nothing was sent: ask for it again. A tool's own 429 is given to who attaches in time."""
    async with world() as story:
        story.tool.will(Refuses(), Answers(429, body=b"later"))
        await story.a.answer()
        given = await attach(story.b, arrival(), 5)
        assert told(given) == (409, "not-executed", "not-executed")
        assert json.loads(given.body)["retry"] == "same-key"
        await story.a.answer(arrival("call_2"))
        given = await attach(story.b, arrival("call_2"), 5)
        assert (told(given), given.body) == ((429, "", "not-executed"), b"later")


@in_virtual_time
async def test_attaching_to_what_is_not_kept_tells_what_is_known() -> None:
    """The result is gone, that it ran is not."""
    policy = replace(POLICY, result=ResultRules(retention_ms=1_000, remember_ms=60_000))
    async with world() as story:
        await story.a.answer(arrival(policy=policy))
        await asyncio.sleep(5)
        given = await attach(story.b, arrival(policy=policy))
        assert told(given) == (409, "result-unavailable", "refused")
        assert json.loads(given.body)["result"]["status"] == 200


@in_virtual_time
async def test_attaching_to_an_alias_tells_of_what_it_stands_for() -> None:
    """Whoever was answered with another call's result finds that under the own id, too."""
    async with world() as story:
        holder, other = replace(arrival(), credential="me"), arrival("call_2")
        await story.a.answer(holder)
        record = alias(
            None, holder.ref.operation, operation=other.ref.operation, fingerprint=other.fingerprint, call=other.call,
            now_ms=worlds.clock_ms(), principal=principal_digest(other.ref.operation, "me"),
        )  # fmt: skip
        await story.store.swap(other.ref, None, write_of(record, "alias-1", POLICY.result, 1))
        given = await attach(story.b, other, credential="me")
        assert told(given) == (200, "", "replayed")
        assert json.loads(given.body)["operation"] == holder.ref.operation
        assert told(await attach(story.b, other, credential="you")) == (404, "not-found", None)


@in_virtual_time
async def test_alias_tells_a_stranger_nothing_of_what_it_stands_for() -> None:
    """Another caller's duplicate was refused and left an alias: that is no way to the first one's result (I3)."""
    async with world() as story:
        mine, theirs = meant("call_1", principal="Bearer me"), meant("call_2", principal="Bearer you")
        await story.a.answer(mine)
        assert told(await story.a.answer(theirs)) == (409, "effect-duplicate", "refused")
        assert told(await attach(story.b, theirs, credential="Bearer you")) == (404, "not-found", None)
        assert told(await attach(story.b, mine, credential="Bearer me")) == (200, "", "replayed")


# -- who may know ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["a", "b"])
@in_virtual_time
async def test_other_credential_finds_nothing(where: str) -> None:
    """Whether the call runs, has run, is known here or elsewhere: for anybody else it does not exist (I3)."""
    async with world() as story:
        story.tool.will(Answers(after_s=2))
        asked = replace(arrival(principal="Bearer me"), credential="Bearer me")
        first = story.a.ask(asked)
        await until(0.1)
        process = {"a": story.a, "b": story.b}[where]
        for other in ("Bearer you", "", None):
            start = now()
            assert told(await attach(process, asked, 10, other)) == (404, "not-found", None)
            assert now() - start < 0.1
        await first
        assert told(await attach(process, asked, 0, "Bearer you")) == (404, "not-found", None)
        assert told(await attach(process, asked, 0, "Bearer me")) == (200, "", "replayed")


@in_virtual_time
async def test_record_keeps_no_credential_and_nothing_to_compare_it_by() -> None:
    """Two records of one caller show no sign of it."""
    async with world() as story:
        kept = []
        for call in ("call_1", "call_2"):
            asked = replace(arrival(call), credential="Bearer s3cret")
            await story.a.answer(asked)
            record = await story.record(asked)
            assert record is not None
            assert "s3cret" not in str(record)
            kept.append(record.principal)
        assert len(set(kept)) == 2
        assert all(kept)


# -- the time it takes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_s", [0.9, 4.0])
@in_virtual_time
async def test_answer_comes_in_time_from_a_slow_store(pause_s: float) -> None:
    """A ledger that does not answer within the patience is said to be away."""
    async with world() as story:
        story.b.view.pause_s = pause_s
        given = await attach(story.b, arrival(), 0.5)
        assert told(given) == (503, "store-unavailable", "refused")
        story.b.view.pause_s = 0.0005
        await asyncio.sleep(pause_s)


@in_virtual_time
async def test_nobody_waits_longer_than_the_policy_holds() -> None:
    """A caller's patience is a wish; how long connections are held is the operator's word."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=10_000, hold_ms=500, late_ms=1_000))
    async with world() as story:
        story.tool.will(Hangs())
        story.a.ask(arrival(policy=policy))
        await until(0.1)
        assert told(await attach(story.a, arrival(policy=policy), 9)) == PENDING
        assert now() < 0.7


@in_virtual_time
async def test_attached_callers_are_bounded_like_joiners() -> None:
    """A place to wait is a connection and memory."""
    policy = replace(POLICY, limits=Limits(waiters_per_key=1))
    async with world() as story:
        story.tool.will(Answers(after_s=3))
        first = story.a.ask(arrival(policy=policy))
        await until(0.1)
        joiner = story.a.ask(arrival(policy=policy))
        await until(0.2)
        assert told(await attach(story.a, arrival(policy=policy), 9)) == (503, "overloaded", "refused")
        assert [told(await task)[2] for task in (first, joiner)] == ["executed", "joined"]


# -- over HTTP -------------------------------------------------------------------------------------------------------


def operation_of(run: str, *, tool: str = "act", tenant: str = "-") -> str:
    """Return the id of a run's `call-1`."""
    return ref_of(Key(tenant, tool, "header:x-run-id header:x-tool-call-id", (run, "call-1"))).operation


def attach_to(
    house: House, operation: str, run: str, *fields: tuple[str, str], query: str = "", method: str = "GET"
) -> Answer:
    """Ask for an operation with a run's ids."""
    named = (("X-Run-Id", run), ("X-Tool-Call-Id", "call-1"), *fields)
    data = request(f"/_holdfast/operations/{operation}{query}", *named, method=method)
    return ask(house.port, data, head_only=method == "HEAD")


def test_deferred_call_is_followed_to_its_result(house: House) -> None:
    """`respond-async`: 202 with a Location; that place holds the caller, and then gives the tool's answer (RFC
    7240)."""
    run, gate = house.run(), Gate()
    prefer = ("Prefer", "respond-async, wait=1, handling=strict")
    accepted = house.ask(run, prefer, script=waits(gate))
    assert accepted.said == (202, "unknown", "")
    assert accepted.get("Preference-Applied") == "respond-async"
    assert accepted.get("Location") == f"/_holdfast/operations/{operation_of(run)}"
    assert attach_to(house, operation_of(run), run, query="?wait=0").said == (202, "unknown", "")
    again = house.ask(run, ("Prefer", "respond-async, wait=0"))
    assert again.said == (202, "unknown", "")
    gate.open()
    done = attach_to(house, operation_of(run), run, query="?wait=60")
    assert done.said == (200, "replayed", "")
    assert done.get("Idempotent-Replayed") == "true"
    head = attach_to(house, operation_of(run), run, method="HEAD")
    assert (head.status, head.get("Holdfast-Outcome"), head.body) == (200, "replayed", b"")
    (execution,) = house.executions(run)
    assert execution.get(b"Prefer") == b"handling=strict"


def test_deferred_call_without_a_wait_is_held_as_long_as_the_policy_holds(house: House) -> None:
    """Who names no patience has the policy's, and an answer that is there by then is the answer."""
    run, gate = house.run(), Gate()
    data = house.call(run, ("Prefer", "respond-async"), tool="brief", script=waits(gate))
    assert ask(house.port, data).said == (202, "unknown", "")
    gate.open()
    assert attach_to(house, operation_of(run, tool="brief"), run, query="?wait=60").status == 200
    assert house.ask(house.run(), ("Prefer", "respond-async")).said == (200, "executed", "")


@pytest.mark.parametrize(
    "fields",
    [
        (("X-Run-Id", "{run}-x"), ("X-Tool-Call-Id", "call-1")),
        (("X-Run-Id", "{run}"), ("X-Tool-Call-Id", "call-2")),
        (("X-Run-Id", "{run}"),),
        (("Idempotency-Key", "{run}"),),
        (("X-Run-Id", "{run}"), ("X-Tool-Call-Id", "call-1"), ("Authorization", "Bearer you")),
        (),
    ],
)
def test_operation_is_nobody_elses(house: House, fields: tuple[tuple[str, str], ...]) -> None:
    """The id alone opens nothing: other ids, fewer ids and another credential find nothing (I3)."""
    run = house.run()
    assert house.ask(run, ("Authorization", "Bearer me")).status == 200
    named = [(name, value.replace("{run}", run)) for name, value in fields]
    data = request(f"/_holdfast/operations/{operation_of(run)}", *named, method="GET")
    assert ask(house.port, data).said == (404, "", "not-found")
    assert attach_to(house, operation_of(run), run, ("Authorization", "Bearer me")).status == 200


def test_operation_of_another_tenant_is_not_found(house: House) -> None:
    """Tenants have operations of their own; the same ids elsewhere are another call."""
    run = house.run()
    assert house.ask(run, ("X-Tenant-Id", "acme"), tool="tenanted").status == 200
    operation = operation_of(run, tool="tenanted", tenant="acme")
    assert attach_to(house, operation, run, ("X-Tenant-Id", "acme")).status == 200
    assert attach_to(house, operation, run, ("X-Tenant-Id", "globex")).said == (404, "", "not-found")
    assert attach_to(house, operation, run).said == (404, "", "not-found")


@pytest.mark.parametrize(
    "path", ["/_holdfast", "/_holdfast/", "/_holdfast/x", "/_holdfast/operations/", "/_holdfast/operations/op_1"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_holdfasts_own_never_reaches_a_tool(house: House, path: str, method: str) -> None:
    """There is one thing to ask for here, and everything else is not found, whatever the policies say."""
    run = house.run()
    named = (("X-Run-Id", run), ("X-Tool-Call-Id", "call-1"))
    assert ask(house.port, request(path, *named, method=method, body=b"{}")).said == (404, "", "not-found")
    assert not house.executions(run)


def test_operation_can_be_asked_for_by_get_and_head_only(house: House) -> None:
    """405, and what would have been understood."""
    run = house.run()
    answer = attach_to(house, operation_of(run), run, method="POST")
    assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("wait", ["x", "-1", "1.5", "", "9999999"])
def test_wait_that_is_no_number_is_refused(house: House, wait: str) -> None:
    """A patience that is guessed is none."""
    run = house.run()
    assert attach_to(house, operation_of(run), run, query=f"?wait={wait}").said == (400, "", "bad-request")


def test_patience_may_be_said_as_it_is_elsewhere(house: House) -> None:
    """`Prefer: wait` holds who names no `wait` in the query."""
    run, gate = house.run(), Gate()
    assert house.ask(run, ("Prefer", "respond-async, wait=0"), script=waits(gate)).status == 202
    with house.caller() as caller:
        named = (("X-Run-Id", run), ("X-Tool-Call-Id", "call-1"), ("Prefer", "wait=60"))
        caller.send(request(f"/_holdfast/operations/{operation_of(run)}", *named, method="GET"))
        gate.open()
        assert caller.answer().status == 200
