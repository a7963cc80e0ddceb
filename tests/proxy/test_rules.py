"""A policy set made ready: the right upstream, Host and identity for each request."""

from __future__ import annotations

import pytest

from policies.matcher import PolicySet
from policies.model import KeyRules, Match, Selector, ToolPolicy, Upstream
from proxy.fields import Sorter
from proxy.forward import Origin
from proxy.problems import Refused
from proxy.rules import Rules

DEFAULT = Origin("http", "tools.internal", 9000)
HOST = (b"Host", b"proxy.internal:8100")
NOTHING = Sorter(frozenset()).sort(())


def rules_of(*policies: ToolPolicy) -> Rules:
    """Return rules over `policies` with `DEFAULT` as `--upstream`."""
    return Rules(PolicySet(policies, ToolPolicy(tool="_", match=Match("/**"))), DEFAULT)


def test_policy_without_an_upstream_goes_to_the_default_one_and_keeps_host() -> None:
    """Over http, Host passes as it came."""
    rules = rules_of(ToolPolicy(tool="act", match=Match("/tools/act")))
    ruled = rules.of("POST", "/tools/act", NOTHING)
    assert (ruled.policy.tool, ruled.origin) == ("act", DEFAULT)
    assert ruled.headers(rules.fields.sort((HOST,))) == (HOST,)


def test_policy_over_https_gets_the_upstreams_own_host() -> None:
    """Over https, Host names whose certificate was checked; the port only where it is not 443."""
    ruled_at = rules_of(ToolPolicy(tool="pay", match=Match("/pay"), upstream=Upstream("https://api.example:8443")))
    ruled = ruled_at.of("POST", "/pay", NOTHING)
    assert ruled.origin == Origin("https", "api.example", 8443)
    assert ruled.headers(ruled_at.fields.sort((HOST, (b"A", b"b")))) == ((b"Host", b"api.example:8443"), (b"A", b"b"))


def test_request_without_host_gets_the_upstreams() -> None:
    """HTTP/1.0 callers may leave Host out; the tool is asked in HTTP/1.1 and must get one."""
    rules = rules_of()
    assert rules.of("POST", "/x", NOTHING).headers(rules.fields.sort(())) == ((b"Host", b"tools.internal:9000"),)


def test_unmatched_requests_are_reads_or_writes_by_their_method() -> None:
    """What no policy names is ruled too."""
    rules = rules_of(ToolPolicy(tool="act", match=Match("/tools/act")))
    assert [rules.of(method, "/else", NOTHING).policy.effect for method in ("GET", "POST")] == ["read", "write"]


def test_header_that_one_policy_looks_at_is_a_control_for_all() -> None:
    """A control field's rules hold on every path, so that nobody learns which paths look at it."""
    key = KeyRules(sources=((Selector("header", "X-Order-Id"),),))
    rules = rules_of(ToolPolicy(tool="act", match=Match("/tools/act"), key=key))
    with pytest.raises(Refused, match="appears twice"):
        rules.fields.sort(((b"X-Order-Id", b"1"), (b"x-order-id", b"2")))


def test_tenant_chooses_among_policies_for_one_path() -> None:
    """A tool that was launched for one tenant; a request that names none is refused, not given to either."""
    key = KeyRules(tenant=Selector("header", "X-Tenant-Id"))
    rules = rules_of(
        ToolPolicy(tool="act", match=Match("/tools/act", tenants=frozenset({"acme"})), key=key),
        ToolPolicy(tool="act", match=Match("/tools/act"), key=key, mode="deny"),
    )

    def mode(*headers: tuple[bytes, bytes]) -> str:
        return rules.of("POST", "/tools/act", rules.fields.sort(headers)).policy.mode

    assert mode((b"X-Tenant-Id", b"acme")) == "enforce"
    assert mode((b"X-Tenant-Id", b"globex")) == "deny"
    with pytest.raises(Refused, match="names no tenant: send header:X-Tenant-Id"):
        mode()
