"""Finding operations: cheaply where a policy or an index knows the scope, and at last by looking through the store."""

from __future__ import annotations

from msgspec.structs import replace

from policies.matcher import PolicySet
from policies.model import KeyRules, Match, ResultRules, Selector, ToolPolicy
from proxy.operations import Filter, Operations
from tests.proxy.scripted import Cuts
from tests.proxy.virtual import in_virtual_time
from tests.proxy.world import POLICY, World, arrival, world

ACME = replace(
    POLICY,
    match=Match("/tools/create_ticket", tenants=frozenset({"acme"})),
    key=KeyRules(tenant=Selector("header", "X-Tenant-Id")),
)


def looking(now: World, *policies: ToolPolicy) -> Operations:
    """Return a view of the world's store through its first process, by these policies."""
    held = PolicySet(policies or (POLICY,), ToolPolicy(tool="_unmatched", match=Match("/**")))
    return Operations(now.a.works, lambda: held)


@in_virtual_time
async def test_operation_of_a_known_tool_and_tenant_is_found_without_a_scan() -> None:
    """Tenants come from policies that name them."""
    async with world() as now:
        asked = arrival(tenant="acme")
        await now.a.answer(asked)
        found = await looking(now, POLICY, ACME).find(asked.ref.operation)
        assert found is not None
        assert found[0] == asked.ref
        assert "scan" not in now.a.gate.steps


@in_virtual_time
async def test_operation_elsewhere_is_found_by_looking_through_the_store() -> None:
    """Its tenant comes from a header, and no policy names it."""
    async with world() as now:
        asked = arrival(tenant="unheard-of")
        await now.a.answer(asked)
        for number in range(300):
            await now.a.answer(arrival(f"other_{number}"))
        found = await looking(now).find(asked.ref.operation)
        assert found is not None
        assert found[0] == asked.ref
        assert await looking(now).find("op_" + "0" * 40) is None


@in_virtual_time
async def test_filtered_listing_skips_what_is_not_wanted_and_goes_on_where_it_stopped() -> None:
    """However many others stand in between."""
    async with world() as now:
        for number in range(450):
            await now.a.answer(arrival(f"other_{number}"))
        wanted = arrival("call_9")
        wanted = replace(wanted, call=replace(wanted.call, run_id="run_9"))
        await now.a.answer(wanted)
        operations = looking(now)
        found = await operations.listed(None, Filter(run="run_9"), "", 10)
        assert [told["operation"] for told in found.operations] == [wanted.ref.operation]
        assert found.cursor == ""
        cut = await operations.listed(None, Filter(run="run_9"), "", 10, look_s=0)
        assert cut.cursor
        rest = await operations.listed(None, Filter(run="run_9"), cut.cursor, 10)
        assert [told["operation"] for told in cut.operations + rest.operations] == [wanted.ref.operation]


@in_virtual_time
async def test_policy_is_that_of_the_calls_tenant() -> None:
    """Or none, where its policy has gone."""
    async with world() as now:
        theirs = replace(ACME, result=ResultRules(body_bytes_max=7))
        operations = looking(now, POLICY, theirs)
        for tenant, policy in (("acme", theirs), ("-", POLICY)):
            await now.a.answer(arrival(tenant=tenant))
            record = await now.record(arrival(tenant=tenant))
            assert record is not None
            assert operations.policy_of(record) == policy
        record = await now.record()
        assert record is not None
        gone = replace(record, call=replace(record.call, tool="gone"))
        assert operations.policy_of(gone) is None


@in_virtual_time
async def test_record_that_cannot_be_read_is_listed_as_such_and_hides_nothing() -> None:
    """An operator has to see it."""
    async with world() as now:
        now.tool.will(Cuts(after_s=0))
        await now.a.answer()
        await now.spoil(arrival("call_2"))
        found = await looking(now).listed(None, Filter(), "", 10)
        assert {told["state"] for told in found.operations} == {"unknown", "unreadable"}
