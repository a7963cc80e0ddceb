"""Plans for probes: filled in while the request is there."""

from __future__ import annotations

from ledger.key import Ref
from ledger.records import Call, ProbePlan
from policies.model import Predicate, Probe, Selector
from policies.template import TARGET_MAX
from proxy.fields import Sorter
from proxy.planning import Planner

REF = Ref("-/create_ticket", "op_1")
CALL = Call(tenant="-", tool="create_ticket", run_id="run 1", tool_call_id="call_1")
INCOMING = Sorter(frozenset({b"x-order"})).sort(((b"Host", b"a"), (b"X-Order", b"7/8")))


def planner(get: str) -> Planner:
    """Return a planner for a template."""
    return Planner(Probe(get, Predicate(Selector("body", "/a"), "exists"), after_ms=3_000))


def test_plan_has_ids_fields_and_body_values_percent_encoded() -> None:
    """Everything that names the call is put in its place, and stays there."""
    plan = planner("/t/{header:X-Order}?op={operation}&run={run_id}&who={body:/user}").plan(
        REF, CALL, INCOMING, b'{"user": "a&b"}'
    )
    assert plan == ProbePlan("/t/7%2F8?op=op_1&run=run%201&who=a%26b", 3_000)


def test_call_that_lacks_a_part_of_the_target_has_no_plan() -> None:
    """A lookup with a hole in it could find anybody's."""
    assert planner("/t?who={body:/user}").plan(REF, CALL, INCOMING, b"{}") is None
    assert planner("/t?thread={thread_id}").plan(REF, CALL, INCOMING, b"{}") is None


def test_operation_alone_is_put_in_its_place() -> None:
    """What most templates ask by comes out like any other value, and a target that grows too long is none either."""
    assert planner("/t?ref={operation}&x=1").plan(REF, CALL, INCOMING, b"") == ProbePlan("/t?ref=op_1&x=1", 3_000)
    long = f"/{'x' * (TARGET_MAX - len('/{operation}'))}{{operation}}"
    known = Ref(REF.scope, "op_" + "a" * 40)
    assert planner(long).plan(known, CALL, INCOMING, b"") is None
