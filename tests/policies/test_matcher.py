"""Which policy is meant by a request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.matcher import CACHE_MAX, ByTenant, PolicySet
from policies.model import UNMATCHED, KeyRules, Match, Selector, Timeouts, ToolPolicy
from tests.policies.conftest import matched


def policy(tool: str, path: str, *methods: str) -> ToolPolicy:
    """Return a policy that differs from the others by what it matches."""
    return ToolPolicy(tool=tool, match=Match(path, frozenset(methods)))


UNNAMED = policy(UNMATCHED, "/**")
POLICIES = PolicySet(
    [
        policy("ticket", "/tools/create_ticket"),
        policy("ticket_put", "/tools/create_ticket", "PUT"),
        policy("any_tool", "/tools/*"),
        policy("below", "/tools/**"),
        policy("run", "/tools/*/run", "POST"),
        policy("getter", "/reports/**", "GET"),
    ],
    UNNAMED,
)


@pytest.mark.parametrize(
    ("method", "path", "tool"),
    [
        ("POST", "/tools/create_ticket", "ticket"),
        ("PUT", "/tools/create_ticket", "ticket_put"),
        ("PROPFIND", "/tools/create_ticket", "ticket"),
        ("POST", "/tools/create%5Fticket", "ticket"),
        ("POST", "/tools/x/../create_ticket", "ticket"),
        ("POST", "/x/%2e%2e/tools/create_ticket", "ticket"),
        ("POST", "/tools/send_email", "any_tool"),
        ("POST", "/tools/send_email/run", "run"),
        ("PUT", "/tools/send_email/run", "below"),
        ("POST", "/tools", "below"),
        ("POST", "/tools/", "below"),
        ("GET", "/reports/2026/march", "getter"),
        ("GET", "/tools/create_ticket", UNMATCHED),
        ("HEAD", "/tools/create_ticket", UNMATCHED),
        ("POST", "/reports/x", UNMATCHED),
        ("POST", "/TOOLS/create_ticket", UNMATCHED),
        ("POST", "//tools/create_ticket", UNMATCHED),
        ("post", "/tools/create_ticket", "ticket"),
    ],
)
def test_most_specific_match_wins(method: str, path: str, tool: str) -> None:
    """However the path is spelled; asked twice, so that the answer that is kept is the same."""
    assert matched(POLICIES, method, path).tool == tool
    assert matched(POLICIES, method, path).tool == tool


@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("GET", "read"),
        ("HEAD", "read"),
        ("OPTIONS", "read"),
        ("POST", "write"),
        ("DELETE", "write"),
        ("get", "write"),
        ("X", "write"),
    ],
)
def test_request_that_no_policy_names_is_a_read_or_a_write_by_its_method(method: str, effect: str) -> None:
    """Only GET, HEAD and OPTIONS are taken for reads: what is not known is guarded."""
    found = matched(POLICIES, method, "/elsewhere")
    assert (found.tool, found.effect) == (UNMATCHED, effect)


@pytest.mark.parametrize(
    "path", ["/tools/..%2fadmin", "/tools//../admin", "/tools/..;/admin", "/tools\\..\\admin", "*"]
)
def test_path_that_can_be_read_two_ways_matches_no_policy(path: str) -> None:
    """A lenient policy for `/tools/**` must not answer for what the tool may take for `/admin`."""
    assert matched(POLICIES, "POST", path).tool == UNMATCHED
    assert matched(POLICIES, "POST", path).effect == "write"


def of_tenants(tool: str, path: str, *tenants: str, method: str = "") -> ToolPolicy:
    """Return a policy that names tenants."""
    methods = frozenset({method} if method else ())
    return ToolPolicy(tool=tool, match=Match(path, methods, frozenset(tenants)), key=KeyRules(tenant=TENANT))


TENANT = Selector("header", "X-Tenant-Id")
LAUNCH = PolicySet(
    [
        of_tenants("acmes", "/tools/act", "acme"),
        of_tenants("puts", "/tools/act", "acme", "globex", method="PUT"),
        of_tenants("everybodys", "/tools/act", method="POST"),
        of_tenants("wild", "/tools/*", "initech", "acme"),
        policy("plain", "/tools/plain"),
    ],
    UNNAMED,
)


@pytest.mark.parametrize(
    ("method", "path", "tenant", "tool"),
    [
        ("POST", "/tools/act", "acme", "acmes"),
        ("POST", "/tools/act", "globex", "everybodys"),
        ("POST", "/tools/act", "initech", "everybodys"),
        ("POST", "/tools/act", "ACME", "everybodys"),
        ("PUT", "/tools/act", "acme", "puts"),
        ("PUT", "/tools/act", "globex", "puts"),
        ("PUT", "/tools/act", "initech", "wild"),
        ("PUT", "/tools/act", "hooli", UNMATCHED),
        ("POST", "/tools/other", "acme", "wild"),
        ("POST", "/tools/other", "globex", UNMATCHED),
    ],
)
def test_tenant_named_policy_comes_before_one_for_all(method: str, path: str, tenant: str, tool: str) -> None:
    """On the same path, whatever methods they name; a longer way round a more specific path is none."""
    found = LAUNCH.match(method, path)
    assert isinstance(found, ByTenant)
    assert found.selector == TENANT
    assert found.of(tenant).tool == tool
    assert LAUNCH.match(method, path) is found


def test_path_without_tenants_is_matched_in_one_step() -> None:
    """Also beside less specific policies that name some: only where it takes the tenant is it asked for."""
    assert isinstance(LAUNCH.match("POST", "/tools/plain"), ToolPolicy)
    assert isinstance(LAUNCH.match("GET", "/tools/act"), ToolPolicy)


def test_tools_policy_is_found_by_its_tenant() -> None:
    """For whoever has a record's scope and nothing of its request."""
    one, all_ = of_tenants("act", "/tools/act", "acme"), of_tenants("act", "/tools/act")
    both = PolicySet([one, all_], UNNAMED)
    assert both.of_tool("act", "acme") == one
    assert both.of_tool("act", "globex") == all_
    assert both.of_tool("act") == all_
    assert PolicySet([one], UNNAMED).of_tool("act", "globex") is None
    assert PolicySet([one], UNNAMED).of_tool(UNMATCHED) is not None


def test_answers_that_are_kept_are_bounded() -> None:
    """A flood of made-up paths does not fill the memory, and the policies' own paths are not pushed out."""
    policies = PolicySet([policy("a", "/tools/a")], UNNAMED)
    for number in range(3 * CACHE_MAX):
        policies.match("POST", f"/made/up/{number}")
    assert len(policies._cache) <= CACHE_MAX
    policies.match("POST", "/" + "x" * 10_000)
    assert max(len(path) for _, path in policies._cache) < 1_000
    assert ("POST", "/tools/a") in policies._exact


def test_digest_is_of_the_content_alone() -> None:
    """The same policies in another order and of another generation have the same digest; any field changes it."""
    one, two = policy("a", "/a", "PUT", "POST"), policy("b", "/b")
    same = [PolicySet([one, two], UNNAMED), PolicySet([two, one], UNNAMED, generation=7)]
    assert same[0].digest == same[1].digest
    other = ToolPolicy(tool="b", match=Match("/b"), timeouts=Timeouts(hold_ms=1))
    assert PolicySet([one, other], UNNAMED).digest != same[0].digest
    assert PolicySet([one, two], other).digest != same[0].digest


def test_digest_is_the_same_in_every_process() -> None:
    """Sets have no order that two processes share; the digest must not depend on it."""
    program = (
        "from policies.matcher import PolicySet; from policies.model import Match, ToolPolicy\n"
        "methods = frozenset({'PUT', 'POST', 'PATCH', 'DELETE', 'A', 'B', 'C'})\n"
        "policy = ToolPolicy(tool='t', match=Match('/t', methods)); print(PolicySet([policy], policy).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(digests) == 1


def test_longest_upstream_is_over_every_policy() -> None:
    """Also the one for what no policy names."""
    slow = ToolPolicy(tool="s", match=Match("/s"), timeouts=Timeouts(upstream_ms=120_000))
    assert PolicySet([slow], UNNAMED).longest_upstream_ms == 120_000
    assert PolicySet([], UNNAMED).longest_upstream_ms == 90_000


SEGMENTS = st.lists(st.sampled_from(["a", "b", "tools", "create_ticket"]), min_size=1, max_size=4)


@given(SEGMENTS, st.integers(0, 3), st.sampled_from(["GET", "POST", "PUT"]), st.data())
def test_no_other_spelling_of_a_path_changes_its_policy(
    segments: list[str], at: int, method: str, data: st.DataObject
) -> None:
    """Escapes of unreserved characters, `/./` and `/x/..` lead to the policy of the plain path."""
    spelled = [
        *segments[:at],
        *data.draw(st.sampled_from([[], ["."], ["x", ".."], ["%2E"], ["y", "%2e."]])),
        *segments[at:],
    ]
    if at >= len(segments):
        spelled = segments
    escaped = "".join(
        f"%{ord(letter):02X}" if letter != "/" and letter not in "%2Ee." and data.draw(st.booleans()) else letter
        for letter in "/" + "/".join(spelled)
    )
    assert POLICIES.match(method, escaped) is POLICIES.match(method, "/" + "/".join(segments))
