"""Whose call is it? From fields and body to the key, by the policy's word."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.key import Key, operation_id
from policies.model import EffectRules, KeyRules, Match, Selector, ToolPolicy
from policies.selector import parse_selector
from proxy.fields import Incoming, Sorter
from proxy.identity import ONE_TENANT, Identity, Meant, call_of, control_names
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


# -- effects ---------------------------------------------------------------------------------------------------------

TO, SUBJECT = parse_selector("body:/to"), parse_selector("body:/subject")
EMAIL = b'{"to": "a@b", "subject": "Hi", "text": "..."}'


def meant(
    rules: EffectRules, body: bytes = EMAIL, on_missing: Literal["reject", "effect"] = "reject", **ids: str
) -> Meant:
    """Return what a request means by a policy with these rules for effects."""
    ruled = replace(POLICY, effect_key=rules, key=KeyRules(on_missing=on_missing))
    return Identity(ruled).meant(incoming(ruled, **ids), body)


@pytest.mark.parametrize(
    ("scope", "name", "field"),
    [("run", "x_run_id", "X-Run-Id"), ("thread", "x_thread_id", "X-Thread-Id"), ("user", "x_user_id", "X-User-Id")],
)
def test_scope_is_required_where_the_policy_names_one(
    scope: Literal["run", "thread", "user"], name: str, field: str
) -> None:
    """Without it the calls of strangers would be one effect: 400, naming the header."""
    rules = EffectRules((TO,), scope)
    ruled = replace(POLICY, effect_key=rules)
    one, again, other = [
        Identity(ruled).meant(incoming(ruled, **{name: value}), EMAIL).effect for value in ("one", "one", "other")
    ]
    assert one == again != other
    with pytest.raises(Refused, match=field) as refused:
        meant(rules)
    assert refused.value.kind is Kind.KEY_MISSING


def test_tenant_as_scope_needs_no_header() -> None:
    """Whatever run or thread: one effect."""
    rules = EffectRules((TO,), "tenant")
    assert meant(rules, x_run_id="r1").effect == meant(rules, x_run_id="r2").effect != ""


@pytest.mark.parametrize(
    ("fields", "body", "lacking"),
    [
        ((TO, SUBJECT), b'{"to": "a@b"}', "body:/subject"),
        ((TO,), b"no JSON", "body:/to"),
        ((TO,), b'{"to": 1, "to": 2}', "body:/to"),
        ((parse_selector("header:X-Case"), TO), EMAIL, "header:X-Case"),
    ],
)
def test_call_that_lacks_a_field_has_no_effect_key(fields: tuple[Selector, ...], body: bytes, lacking: str) -> None:
    """It is guarded by its key alone, and the field is named for the log."""
    found = meant(EffectRules(fields, "tenant"), body, x_run_id="r", x_tool_call_id="c")
    assert (found.effect, found.lacking) == ("", lacking)
    assert found.key is not None


def test_null_is_a_value_like_any_other() -> None:
    """Two tickets without a subject are the same in that."""
    rules = EffectRules((SUBJECT,), "tenant")
    assert meant(rules, b'{"subject": null}').effect
    assert meant(rules, b'{"subject": null}').effect != meant(rules, b'{"subject": ""}').effect


def test_headers_and_constants_may_be_fields() -> None:
    """Header names do not care about case, values do."""
    rules = EffectRules((parse_selector("header:X-Case"), parse_selector("value:v1")), "tenant")
    lower = EffectRules((parse_selector("header:x-case"), parse_selector("value:v1")), "tenant")
    assert meant(rules, x_case="7").effect == meant(lower, x_case="7").effect != ""
    assert meant(rules, x_case="a").effect != meant(rules, x_case="A").effect


@pytest.mark.fault(9)
def test_effect_stands_in_for_a_missing_identity_where_the_policy_says_so() -> None:
    """Ids win where there are any; a call that has neither is without identity."""
    rules = EffectRules((TO,), "tenant")
    found = meant(rules, on_missing="effect")
    assert found.key == Key(ONE_TENANT, "create_ticket", "effect", (found.effect,))
    assert meant(rules).key is None
    assert meant(rules, b"{}", on_missing="effect").key is None
    with_ids = meant(rules, on_missing="effect", x_run_id="r", x_tool_call_id="c").key
    assert with_ids is not None
    assert with_ids.parts == ("r", "c")


@pytest.mark.fault(7)
def test_reused_ids_make_keys_of_their_own_where_the_policy_says_so() -> None:
    """The fingerprint is one more part, and no id can pretend to be one."""
    found = Key(ONE_TENANT, "create_ticket", "header:x-run-id", ("r",))
    assert Identity(POLICY).separate(found, "f") == found
    separate = Identity(replace(POLICY, key=KeyRules(on_reuse="separate")))
    keys = [separate.separate(found, "f"), separate.separate(found, "g"), found]
    assert len({operation_id(key) for key in keys}) == 3
    by_effect = Key(ONE_TENANT, "create_ticket", "effect", ("e",))
    assert separate.separate(by_effect, "f") == by_effect
