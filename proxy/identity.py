"""Whose call is it? From a request's fields and body to its key, by the policy's word."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ledger.key import Key
from ledger.records import Call
from policies.model import Selector, ToolPolicy
from policies.selector import find, text_of
from policies.template import parse_template
from proxy.fields import CALL, CREDENTIAL, RUN, STEP, THREAD, USER, Incoming
from proxy.problems import Kind, Refused

IDEMPOTENCY_KEY = b"idempotency-key"
ONE_TENANT = "-"
"""The tenant of deployments that name none."""


class Finder:
    """One selector, made ready: header names in lower-case bytes, an Idempotency-Key without its quotes."""

    __slots__ = ("_constant", "_header", "_pointer", "_quoted")

    def __init__(self, selector: Selector) -> None:
        self._header = selector.argument.lower().encode() if selector.kind == "header" else b""
        self._quoted = self._header == IDEMPOTENCY_KEY
        self._pointer = selector.argument if selector.kind == "body" else ""
        self._constant = selector.argument if selector.kind == "value" else ""

    def find(self, incoming: Incoming, body: bytes) -> str | None:
        """Return what the selector finds; None or nothing if it finds nothing."""
        if self._header:
            text = incoming.credential if self._header == CREDENTIAL else incoming.controls.get(self._header)
            return _bare(text) if text and self._quoted else text
        return text_of(find(self._pointer, _document(body))) if self._pointer else self._constant


class Identity:
    """A policy's rules for identities, made ready once per policy."""

    def __init__(self, policy: ToolPolicy) -> None:
        rules = policy.key
        self._tool = policy.tool
        self._rules = rules
        self._sources = [(_tag(source), [Finder(selector) for selector in source]) for source in rules.sources]
        self._tenant = None if rules.tenant is None else Finder(rules.tenant)
        self._principal = None if rules.principal is None else Finder(rules.principal)

    def key(self, incoming: Incoming, body: bytes) -> Key | None:
        """Return the call's key by the first source that is complete, or None if there is none.

        Raises `Refused` if the policy names a tenant and the request does not.
        """
        tenant = ONE_TENANT
        if self._tenant is not None:
            tenant = self._tenant.find(incoming, body) or ""
            if not tenant:
                raise Refused(Kind.KEY_MISSING, f"the request names no tenant: send {self._rules.tenant}")
        for tag, finders in self._sources:
            parts = []
            for finder in finders:
                found = finder.find(incoming, body)
                if not found:
                    break
                parts.append(found)
            else:
                return Key(tenant, self._tool, tag, tuple(parts))
        return None

    def principal(self, incoming: Incoming) -> str | None:
        """Return the caller's credential, to be hashed into the fingerprint and kept nowhere."""
        return None if self._principal is None else self._principal.find(incoming, b"")

    def wanted(self) -> str:
        """Say, for a refusal, what a caller could have sent."""
        return ", or ".join(" and ".join(map(str, source)) for source in self._rules.sources)


def principal_digest(operation: str, credential: str | None) -> str:
    """Return what a record keeps of a credential: nothing that could be compared with another record's."""
    if credential is None:
        return ""
    return hashlib.sha256(f"{operation}:{credential}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def call_of(policy: ToolPolicy, tenant: str, incoming: Incoming) -> Call:
    """Return what logs and listings call this call."""
    get = incoming.controls.get
    return Call(
        tenant, policy.tool, get(RUN, ""), get(CALL, ""), get(THREAD, ""), get(STEP, ""), get(USER, "")
    )  # fmt: skip


def control_names(policies: tuple[ToolPolicy, ...]) -> frozenset[bytes]:
    """Return the header names, lower case, that any of `policies` looks at."""
    selectors: list[Selector] = []
    for policy in policies:
        selectors += [selector for source in policy.key.sources for selector in source]
        selectors += [selector for selector in (policy.key.tenant, policy.key.principal) if selector is not None]
        if policy.unknown.probe is not None:
            selectors += parse_template(policy.unknown.probe.get).selectors
    return frozenset(s.argument.lower().encode() for s in selectors if s.kind == "header")


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
