"""Whose call is it? From a request's fields and body to its key, by the policy's word."""

from __future__ import annotations

import json
from typing import Any

from ledger.key import Key
from ledger.records import Call
from policies.model import KeyRules, Selector, ToolPolicy
from policies.selector import find, text_of
from proxy.fields import CALL, RUN, STEP, THREAD, USER, Incoming
from proxy.problems import Kind, Refused

IDEMPOTENCY_KEY = "idempotency-key"
ONE_TENANT = "-"
"""The tenant of deployments that name none."""


def key_of(policy: ToolPolicy, incoming: Incoming, body: bytes) -> Key | None:
    """Return the call's key by the first source that is complete, or None if there is none.

    Raises `Refused` if the policy names a tenant and the request does not.
    """
    rules = policy.key
    tenant = _tenant(rules, incoming, body)
    for source in rules.sources:
        parts: list[str] = []
        for selector in source:
            found = _found(selector, incoming, body)
            if not found:
                break
            parts.append(found)
        else:
            return Key(tenant, policy.tool, _tag(source), tuple(parts))
    return None


def principal_of(rules: KeyRules, incoming: Incoming) -> str | None:
    """Return the caller's credential, to be hashed into the fingerprint and kept nowhere."""
    if rules.principal is None:
        return None
    return _found(rules.principal, incoming, b"")


def call_of(policy: ToolPolicy, tenant: str, incoming: Incoming) -> Call:
    """Return what logs and listings call this call."""
    controls = incoming.controls
    if len(controls) == 0:
        return Call(tenant=tenant, tool=policy.tool)
    return Call(
        tenant, policy.tool, incoming.text(RUN), incoming.text(CALL), incoming.text(THREAD), incoming.text(STEP),
        incoming.text(USER),
    )  # fmt: skip


def control_names(policies: tuple[ToolPolicy, ...]) -> frozenset[bytes]:
    """Return the header names, lower case, that any of `policies` looks at."""
    selectors: list[Selector] = []
    for policy in policies:
        selectors += [selector for source in policy.key.sources for selector in source]
        selectors += [selector for selector in (policy.key.tenant, policy.key.principal) if selector is not None]
    return frozenset(s.argument.lower().encode() for s in selectors if s.kind == "header")


def describe_sources(rules: KeyRules) -> str:
    """Say, for a refusal, what a caller could have sent."""
    return ", or ".join(" and ".join(str(selector) for selector in source) for source in rules.sources)


def _tenant(rules: KeyRules, incoming: Incoming, body: bytes) -> str:
    if rules.tenant is None:
        return ONE_TENANT
    tenant = _found(rules.tenant, incoming, body)
    if not tenant:
        raise Refused(Kind.KEY_MISSING, f"the request names no tenant: send {rules.tenant}")
    return tenant


def _found(selector: Selector, incoming: Incoming, body: bytes) -> str | None:
    if selector.kind == "header":
        text = incoming.text(selector.argument.lower().encode())
        return _bare(text) if selector.argument.lower() == IDEMPOTENCY_KEY else text
    if selector.kind == "value":
        return selector.argument
    return text_of(find(selector.argument, _document(body)))


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _bare(value: str) -> str:
    """Return an Idempotency-Key without the quotes of its structured form (IETF draft, section 2.1)."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value


def _tag(source: tuple[Selector, ...]) -> str:
    """Return what names a source inside the operation id; header names do not care about case."""
    return " ".join(f"{s.kind}:{s.argument.lower() if s.kind == 'header' else s.argument}" for s in source)
