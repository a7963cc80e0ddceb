"""Settings that undo each other, or would do what nobody meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.faults import PolicyErrors
from policies.loader import Loaded
from policies.rules import RULES

Faults = Callable[[str], list[tuple[int, int, str, str]]]
Load = Callable[..., Loaded]
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\n"
STRIPE = "upstream: {preset: stripe}\n"
PROBE = "unknown: {probe: {get: '/t/{operation}', applied: body:/id, "


@pytest.mark.parametrize(
    ("lines", "field", "said"),
    [
        ("retry: {on: [lost]}", "retry.on", "retry after [lost] may run the call twice: honoursKeyFor is null"),
        ("retry: {on: [not-sent, 5xx]}", "retry.on", "retry after [not-sent, 5xx] may run the call twice"),
        (
            "upstream: {idempotencyHeader: K, honoursKeyFor: 3m}\nretry: {on: [lost]}",
            "upstream.honoursKeyFor",
            "attempts (2, built in) can take longer than honoursKeyFor (3m)",
        ),
        (
            "unknown: {then: resend, within: 1h}",
            "unknown.then",
            "then: resend may run the call twice: honoursKeyFor is null",
        ),
        (STRIPE + "unknown: {then: resend}", "unknown.then", "then: resend without an end: within is null"),
        (STRIPE + "unknown: {then: resend, within: 24h}", "unknown.within", "within (24h) is not below honoursKeyFor"),
        ("unknown: {within: 23h}", "unknown.within", "has no use beside then: hold"),
        ("upstream: {honoursKeyFor: 24h}", "upstream.honoursKeyFor", "honoursKeyFor (24h) without a place for the key"),
        (
            "upstream: {idempotencyHeader: K, idempotencyBody: /k}",
            "upstream.idempotencyBody",
            "the key cannot go both into the body (/k) and into a header (K)",
        ),
        (PROBE + "notApplied: {trust: after}}}", "unknown.probe.notApplied.trust", "trust: after without a time"),
        (
            PROBE + "notApplied: {after: 2m}}}",
            "unknown.probe.notApplied.after",
            "after (2m) has no use beside trust: never",
        ),
        (
            PROBE + "notApplied: {trust: after, after: 89s}}}",
            "unknown.probe.notApplied.after",
            "notApplied.after (89s) is below upstream (90s, built in)",
        ),
        (
            PROBE + "after: 61s}}",
            "unknown.probe.after",
            "the first probe (after 61s) comes when asking is over (for 60s",
        ),
        (PROBE + "status: 429}}", "unknown.probe.status", "a result of status 429 settles nothing"),
        (
            "unknown: {probe: {get: '/t?s={body:/subject}', applied: 'body:/0'}}",
            "unknown.probe.get",
            "/t?s={body:/subject} may find another call's effect: it has no {operation}, and neither matches (null",
        ),
        (
            PROBE + "}}\nannounce: false",
            "unknown.probe.get",
            "the tool is asked for an operation that it is never told (/t/{operation}; announce: false)",
        ),
        ("unknown: {probe: {get: '/t/{operation}'}}", "unknown.probe.get", "a probe takes both applied (null"),
        ("unknown: {probe: {applied: body:/id}}", "unknown.probe.applied", "has no use without unknown.probe.get"),
        ("unknown: {probe: {every: 1s}}", "unknown.probe.every", "has no use without unknown.probe.get"),
        ("effectKey: {then: refuse}", "effectKey.then", "has no use without effectKey.fields"),
        ("key: {onMissing: effect}", "key.onMissing", "onMissing: effect without an effectKey"),
        (
            "effectKey: {fields: [body:/a], window: 25h}",
            "effectKey.window",
            "window (25h) is above retention (24h, built in), and a result that is gone cannot be replayed",
        ),
        (
            "effectKey: {fields: [body:/a], window: 8d, then: refuse}",
            "effectKey.window",
            "window (8d) is above remember (7d, built in)",
        ),
        (
            "match: {tenants: [acme, globex]}",
            "match.tenants",
            "tenants ([acme, globex]) are named, and key.tenant (null, built in) does not say where",
        ),
    ],
)
def test_contradiction_is_told_with_its_values(faults: Faults, lines: str, field: str, said: str) -> None:
    """In the field that was written, with where the other values come from."""
    found = {name: message for _, _, name, message in faults(lines)}
    assert said in found[field]


@pytest.mark.parametrize(
    "lines",
    [
        "mode: observe",
        "effectKey: {fields: [body:/a], scope: run}",
        "key: {onReuse: separate}",
        "key: {onMissing: effect}\neffectKey: {fields: [body:/a]}",
        "upstream: {idempotencyHeader: K}",
        STRIPE.strip(),
        STRIPE + "unknown: {then: resend, within: 1h}",
        PROBE + "}}",
        "durability: {replicas: 1}",
        "result: {auditId: body:/id}",
    ],
)
def test_read_has_no_use_for_what_guards_writes(faults: Faults, lines: str) -> None:
    """A setting that does nothing is a misunderstanding, each one told at its place."""
    said = faults(f"effect: read\n{lines}")
    assert said
    assert all("beside effect: read" in message for *_, message in said)


@pytest.mark.parametrize(
    "lines",
    [
        "effect: read\nmode: deny",
        "effect: read\nmatch: {tenants: [acme]}\nkey: {tenant: header:X-Tenant-Id}",
        "mode: observe\nkey: {onMissing: reject}",
        "upstream: {idempotencyHeader: K}",
        STRIPE + "unknown: {then: resend, within: 23h}\nretry: {on: [not-sent, lost, 5xx]}",
        "announce: false\n" + STRIPE + PROBE + "}}",
        "announce: false\nunknown: {probe: {get: '/t?s={body:/s}', applied: body:/0, createdAt: body:/0/at}}",
        "unknown: {probe: {get: '/t?s={body:/s}', applied: body:/0, matches: body:/0/ref}}",
        PROBE + "notApplied: {trust: after, after: 90s}, for: 60s}}",
        "effectKey: {fields: [body:/a], window: 25h, then: refuse}",
        "effectKey: {fields: [body:/a], window: 24h}",
    ],
)
def test_what_makes_sense_together_is_taken(tool: Callable[[str], Loaded], lines: str) -> None:
    """Limits of the inequalities, and combinations that look odd and are not."""
    assert tool(lines).policies.of_tool("t") or tool(lines).policies.of_tool("t", "acme")


def test_every_contradiction_of_a_policy_is_told_at_once(faults: Faults) -> None:
    """Each with its own remedy."""
    lines = "retry: {on: [lost]}\nunknown: {then: resend}\nkey: {onMissing: effect}\nmatch: {tenants: [acme]}"
    assert {name for _, _, name, _ in faults(lines)} == {"retry.on", "unknown.then", "key.onMissing", "match.tenants"}


def test_settings_of_the_folder_may_wait_for_their_tools(load: Load) -> None:
    """A window for every tool's effect key, and the schedule of every probe, say nothing until a tool has one."""
    defaults = "apiVersion: holdfast.dev/v1\nkind: Defaults\neffectKey: {window: 2m}\nunknown: {probe: {every: 1s}}\n"
    loaded = load(
        d=defaults, t=f"{HEAD}tool: t\neffectKey: {{fields: [body:/a]}}\n", r=f"{HEAD}tool: r\neffect: read\n"
    )
    policy, read = loaded.policies.of_tool("t"), loaded.policies.of_tool("r")
    assert policy is not None
    assert policy.effect_key is not None
    assert policy.effect_key.window_ms == 120_000
    assert policy.unknown.probe is None
    assert read is not None
    assert read.effect_key is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.message[:40])
def test_every_rule_says_what_to_do(rule: object) -> None:
    """A sentence."""
    assert getattr(rule, "remedy").endswith(".")  # noqa: B009


ACME = "match: {path: /x, tenants: [acme, initech]}\nkey: {tenant: header:T}\n"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (ACME, ACME, "matches every method /x of acme and initech just as a does"),
        (ACME, ACME.replace("initech", "globex"), "matches every method /x of acme just as a does"),
        (ACME, ACME.replace("header:T", "header:U").replace("/x", "/y"), "tenants are looked for in header:U, and in"),
    ],
)
def test_tenants_that_could_be_meant_twice_are_a_fault(load: Load, one: str, other: str, said: str) -> None:
    """The same tenant at the same path in two policies; or two places where a request could name its tenant."""
    with pytest.raises(PolicyErrors) as raised:
        load(a=f"{HEAD}tool: a\n{one}\n", b=f"{HEAD}tool: b\n{other}\n")
    (fault,) = raised.value.faults
    assert fault.place.file.endswith("b.yaml")
    assert said in fault.message


@pytest.mark.parametrize(
    "other",
    [
        ACME.replace("[acme, initech]", "[globex]"),
        "match: {path: /x}\nmode: deny\n",
        ACME.replace("path: /x", "path: /x, method: POST"),
    ],
)
def test_tenants_may_share_a_path(load: Load, other: str) -> None:
    """Other tenants, everybody else, or the same ones for another method."""
    assert len(load(a=f"{HEAD}tool: a\n{ACME}", b=f"{HEAD}tool: b\n{other}").policies.policies) == 2


def test_tool_may_have_a_policy_for_each_tenant(load: Load) -> None:
    """Launched for some, denied to the others, under one name: so nothing changes when it is launched for all."""
    launched, denied = f"{HEAD}tool: t\n{ACME}", f"{HEAD}tool: t\nmatch: {{path: /x}}\nmode: deny\n"
    loaded = load(a=launched, b=denied)
    assert [policy.label for policy in loaded.policies.policies] == ["t", "t (acme, initech)"]
    assert loaded.provenance("t (acme, initech)")["match.tenants"].endswith("a.yaml:4")
    with pytest.raises(PolicyErrors, match="t has a policy for these tenants already, at .*a.yaml:3"):
        load(a=launched, b=denied, c=f"{HEAD}tool: t\n{ACME.replace('/x', '/y')}")
