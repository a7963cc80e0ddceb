"""Whose call is it? From fields and body to the key, by the policy's word."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.key import Key, operation_id
from policies.model import KeyRules, Match, Selector, ToolPolicy
from policies.selector import parse_selector
from proxy.fields import Incoming, Sorter
from proxy.identity import ONE_TENANT, Identity, call_of, control_names
from proxy.problems import Kind, Refused

POLICY = ToolPolicy(tool="create_ticket", match=Match("/tools/create_ticket"))


def policy(*sources: list[str], tenant: str | None = None, principal: str | None = None) -> ToolPolicy:
    """Return a policy with these sources of identity."""
    rules = KeyRules(
        sources=tuple(tuple(parse_selector(text) for text in source) for source in sources),
        tenant=None if tenant is None else parse_selector(tenant),
        principal=None if principal is None else parse_selector(principal),
    )
    return replace(POLICY, key=rules)


def incoming(given_policy: ToolPolicy, **fields: str) -> Incoming:
    """Return a request's fields; `x_run_id` stands for X-Run-Id."""
    raw = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items())
    return Sorter(control_names((given_policy, POLICY)) | {b"x-thread-id", b"x-step-id", b"x-user-id"}).sort(raw)


def key(given_policy: ToolPolicy, body: bytes = b"", **fields: str) -> Key | None:
    """Return the key of a request."""
    return Identity(given_policy).key(incoming(given_policy, **fields), body)


def test_run_and_tool_call_are_the_usual_identity() -> None:
    """Together; the source is part of the key."""
    assert key(POLICY, x_run_id="r", x_tool_call_id="c") == Key(
        ONE_TENANT, "create_ticket", "header:x-run-id header:x-tool-call-id", ("r", "c")
    )


def test_first_complete_source_wins() -> None:
    """Half an identity is none; the next source is asked."""
    only_run = key(POLICY, x_run_id="r", idempotency_key="k")
    assert only_run is not None
    assert only_run.parts == ("k",)
    both = key(POLICY, x_run_id="r", x_tool_call_id="c", idempotency_key="k")
    assert both is not None
    assert both.parts == ("r", "c")


@pytest.mark.fault(9)
def test_request_without_identity_has_no_key() -> None:
    """What happens then is the policy's business; empty ids are none."""
    assert key(POLICY) is None
    assert key(POLICY, x_run_id="r", x_tool_call_id="") is None
    assert key(POLICY, idempotency_key='""') is None
    assert Identity(POLICY).wanted() == "header:X-Run-Id and header:X-Tool-Call-Id, or header:Idempotency-Key"


def test_spelling_of_a_header_in_the_policy_does_not_matter() -> None:
    """A rewritten policy that means the same must not forget every call."""
    one, other = policy(["header:X-Run-Id"]), policy(["header:x-run-ID"])
    assert key(one, x_run_id="r") == key(other, x_run_id="r")


@pytest.mark.fault(50)
def test_same_text_from_another_source_is_another_call() -> None:
    """An Idempotency-Key is not a run id, nor a body's field."""
    keys = [
        key(policy(["header:Idempotency-Key"]), idempotency_key="x"),
        key(policy(["header:X-Run-Id"]), x_run_id="x"),
        key(policy(["body:/id"]), b'{"id": "x"}'),
        key(policy(["value:x"])),
    ]
    assert len({operation_id(found) for found in keys if found is not None}) == 4


_ids = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)


@given(_ids)
def test_quoted_idempotency_key_is_the_bare_one(text: str) -> None:
    """The IETF draft quotes it, most clients do not: it is the same key (RFC 8941, 3.3.3)."""
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    rules = policy(["header:Idempotency-Key"])
    found = key(rules, idempotency_key=quoted)
    assert found is not None
    assert found.parts == (text,)


@pytest.mark.parametrize("value", ["abc", '"', 'a"b', '"abc', 'abc"', "'abc'", "\\"])
def test_bare_idempotency_key_is_taken_as_it_is(value: str) -> None:
    """Only a whole pair of quotes is one."""
    found = key(policy(["header:Idempotency-Key"]), idempotency_key=value)
    assert found is not None
    assert found.parts == (value,)


def test_quotes_of_other_headers_are_their_own() -> None:
    """Only the Idempotency-Key has a structured form."""
    found = key(policy(["header:X-Run-Id"]), x_run_id='"r"')
    assert found is not None
    assert found.parts == ('"r"',)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b'{"id": "a"}', "a"),
        (b'{"id": 7}', "7"),
        (b'{"id": true}', "true"),
        (b'{"id": "\\ud800"}', "\ud800"),
        (b'{"id": ""}', None),
        (b'{"id": null}', None),
        (b'{"id": {}}', None),
        (b"{}", None),
        (b"[]", None),
        (b"", None),
        (b"no JSON", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_body_names_the_call_where_the_policy_says_so(body: bytes, part: str | None) -> None:
    """Text, numbers and booleans name something; nothing else does, and no body is an error."""
    found = key(policy(["body:/id"]), body)
    assert (found.parts if found else None) == ((part,) if part else None)
    assert found is None or operation_id(found)


@pytest.mark.fault(8)
def test_tenant_is_part_of_the_key_and_required_where_it_is_named() -> None:
    """Without it nothing could keep tenants apart."""
    rules = policy(["header:X-Run-Id"], tenant="header:X-Tenant-Id")
    acme, globex = (key(rules, x_run_id="r", x_tenant_id=tenant) for tenant in ("acme", "globex"))
    assert acme is not None
    assert acme != globex
    assert acme.tenant == "acme"
    with pytest.raises(Refused, match="names no tenant") as caught:
        key(rules, x_run_id="r")
    assert caught.value.kind is Kind.KEY_MISSING
    fixed = key(policy(["header:X-Run-Id"], tenant="value:acme"), x_run_id="r")
    assert fixed is not None
    assert fixed.tenant == "acme"


def test_principal_is_what_the_policy_names() -> None:
    """None where it names nothing or the request has nothing; both are told apart from an empty one."""
    rules = policy(["header:X-Run-Id"], principal="header:Authorization")
    assert Identity(rules).principal(incoming(rules, authorization="Bearer x")) == "Bearer x"
    assert Identity(rules).principal(incoming(rules)) is None
    without = policy(["header:X-Run-Id"])
    assert Identity(without).principal(incoming(rules, authorization="Bearer x")) is None


def test_call_carries_what_logs_need() -> None:
    """Correlation ids as they came, empty where they did not."""
    fields = incoming(POLICY, x_run_id="r", x_tool_call_id="c", x_thread_id="t", x_step_id="s", x_user_id="u")
    call = call_of(POLICY, "acme", fields)
    assert json.loads(json.dumps([call.tenant, call.tool, call.run_id, call.tool_call_id])) == [
        "acme", "create_ticket", "r", "c",
    ]  # fmt: skip
    assert (call.thread_id, call.step_id, call.user_id) == ("t", "s", "u")
    assert call_of(POLICY, "acme", incoming(POLICY)).run_id == ""


def test_every_header_that_a_policy_looks_at_is_a_control_field() -> None:
    """Sources, tenant and principal, of all policies, in lower case."""
    rules = policy(["header:X-A", "body:/b"], ["header:X-C"], tenant="header:X-T", principal="header:Cookie")
    assert control_names((rules,)) == {b"x-a", b"x-c", b"x-t", b"cookie"}
    assert Selector("header", "X-A") in rules.key.sources[0]
