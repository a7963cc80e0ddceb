"""What policies and arguments say of a call."""

from __future__ import annotations

import pytest

from coordinator.backend import ToolCall
from coordinator.facts import PATIENCE_MS, Facts, arguments_digest, tool_path
from policies.matcher import PolicySet
from policies.model import UNMATCHED, KeyRules, Match, Selector, Timeouts, ToolPolicy

TENANT = KeyRules(tenant=Selector("header", "X-Tenant-Id"))
POLICIES = PolicySet(
    [
        ToolPolicy(tool="list_tickets", match=Match("/tools/list_tickets"), effect="read"),
        ToolPolicy(tool="slow", match=Match("/tools/slow"), timeouts=Timeouts(upstream_ms=5_000, hold_ms=2_000)),
        ToolPolicy(tool="acmes", match=Match("/tools/by", tenants=frozenset({"acme"})), effect="read", key=TENANT),
        ToolPolicy(tool="by", match=Match("/tools/by"), key=TENANT),
    ],
    ToolPolicy(tool=UNMATCHED, match=Match("/**")),
)


def told(tool: str, tenant: str = "") -> tuple[bool, int]:
    """Return whether a call of a tool writes, and how long there is for it."""
    fact = Facts(lambda: POLICIES).of([ToolCall("call_1", tool, "{}")], tenant)["call_1"]
    return fact.write, fact.patience_ms


@pytest.mark.parametrize(
    ("tool", "tenant", "write", "patience_ms"),
    [
        ("list_tickets", "", False, 120_000),
        ("slow", "", True, 7_000),
        ("by", "acme", False, 120_000),
        ("by", "globex", True, 120_000),
        ("nobodys", "", True, 120_000),
    ],
)
def test_policy_says_what_a_call_does_and_how_long_it_may_take(
    tool: str, tenant: str, write: bool, patience_ms: int
) -> None:
    """The tenant's own policy where there is one; what no policy names writes."""
    assert told(tool, tenant) == (write, patience_ms)


def test_call_without_policies_writes() -> None:
    """Nothing says that it only reads, so it is treated as what must happen once."""
    fact = Facts().of([ToolCall("call_1", "list_tickets", "{}")], "")["call_1"]
    assert (fact.write, fact.patience_ms) == (True, PATIENCE_MS)


def test_policies_are_asked_for_anew_each_time() -> None:
    """A reload is in force for the next look."""
    now = [POLICIES]
    facts = Facts(lambda: now[0])
    call = ToolCall("call_1", "list_tickets", "{}")
    assert not facts.of([call], "")["call_1"].write
    now[0] = PolicySet([], ToolPolicy(tool=UNMATCHED, match=Match("/**")))
    assert facts.of([call], "")["call_1"].write


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a":1,"b":"x"}', '{ "b": "\\u0078", "a": 1.0 }', True),
        ('{"a":1}', '{"a":2}', False),
        ("not json", "not json", True),
        ("not json", "not  json", False),
        ('{"a":1,"a":2}', '{"a":2}', False),
        ("", "{}", False),
        ("\ud800", "\ud801", False),
        ("\udc80", "\x80", False),
    ],
)
def test_arguments_share_a_digest_if_they_are_the_same_json(one: str, other: str, same: bool) -> None:
    """However they are written; what is no JSON, or could be read in two ways, is taken letter by letter."""
    assert (arguments_digest(one) == arguments_digest(other)) is same


def test_tools_are_behind_the_proxy_by_their_names() -> None:
    """As the contract has it."""
    assert tool_path("create_ticket") == "/tools/create_ticket"
