"""Whose call is it, and what would it do? From a request's fields and body to its key and its effect key, by the
policy's word."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from msgspec import Struct

from ledger import effect
from ledger.effect import Part, effect_key, json_part, text_part
from ledger.fingerprint import fingerprint, read_plain
from ledger.key import Key
from ledger.records import Call
from policies.model import EffectRules, Selector, ToolPolicy
from policies.selector import MISSING, find, text_of
from policies.template import parse_template
from proxy.fields import CALL, CREDENTIAL, RUN, STEP, THREAD, USER, Incoming
from proxy.problems import Kind, Refused

IDEMPOTENCY_KEY = b"idempotency-key"
ONE_TENANT = "-"
"""The tenant of deployments that name none."""

EFFECT_SOURCE = "effect"
"""The source of a key that is the call's effect key; selectors' sources have a colon in them."""

SCOPES = {"run": (RUN, "X-Run-Id"), "thread": (THREAD, "X-Thread-Id"), "user": (USER, "X-User-Id")}
"""The header that says within whose calls effects can be the same."""


class Meant(Struct, frozen=True, gc=False):
    """What a request means.

    key      its identity; None if it has none.
    effect   its effect key; empty if the policy has no rules for one, or the request lacks a field of it.
    lacking  the first such field, for the log and for refusals.
    plain    what `read_plain` makes of the body, if it was asked; for the fingerprint, and for nobody after it.
    """

    tenant: str
    key: Key | None
    effect: str = ""
    lacking: str = ""
    plain: Any = None


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


class EffectFinder:
    """A policy's rules for effect keys, made ready."""

    def __init__(self, tool: str, rules: EffectRules) -> None:
        self._tool = tool
        self._scope = rules.scope
        self._fields = [(selector, _tag((selector,)), Finder(selector)) for selector in rules.fields]
        self.reads_body = any(selector.kind == "body" for selector in rules.fields)

    def find(self, tenant: str, incoming: Incoming, body: bytes, plain: Any) -> tuple[str, str]:
        """Return the effect key and nothing, or nothing and the field that the request lacks. `plain` is what
        `read_plain` makes of the body, if the body is looked at.

        Raises `Refused` if the header is missing that the scope names: without it, calls of strangers would be one.
        """
        within = ""
        if (named := SCOPES.get(self._scope)) is not None:
            within = incoming.controls.get(named[0], "")
            if not within:
                raise Refused(Kind.KEY_MISSING, f"effects are told apart by {self._scope}: send {named[1]}")
        document = effect.read(body, plain) if self.reads_body else None
        parts: list[Part] = []
        for selector, tag, finder in self._fields:
            part = _part(selector, tag, finder, incoming, document)
            if part is None:
                return "", str(selector)
            parts.append(part)
        return effect_key(tenant, self._tool, self._scope, within, parts), ""


def _part(selector: Selector, tag: str, finder: Finder, incoming: Incoming, document: Any) -> Part | None:
    """Return what `selector` finds; null is a value like any other, an empty header is none."""
    if selector.kind != "body":
        text = finder.find(incoming, b"")
        return text_part(tag, text) if text else None
    found = MISSING if document is MISSING else find(selector.argument, document)
    return None if found is MISSING else json_part(tag, found)


class Identity:
    """A policy's rules for identities, made ready once per policy."""

    def __init__(self, policy: ToolPolicy) -> None:
        rules = policy.key
        self._tool = policy.tool
        self._rules = rules
        self._sources = [(_tag(source), [Finder(selector) for selector in source]) for source in rules.sources]
        self._tenant = None if rules.tenant is None else Finder(rules.tenant)
        self._principal = None if rules.principal is None else Finder(rules.principal)
        self._effect = None if policy.effect_key is None else EffectFinder(policy.tool, policy.effect_key)
        self._ignore = policy.fingerprint.ignore

    def meant(self, incoming: Incoming, body: bytes) -> Meant:
        """Return what the request means.

        Raises `Refused` if the policy names a tenant, or a scope for effects, and the request does not.
        """
        tenant = self._tenant_of(incoming, body)
        key = self._key(tenant, incoming, body)
        if self._effect is None:
            return Meant(tenant, key)
        plain = read_plain(body) if self._effect.reads_body else None
        found, lacking = self._effect.find(tenant, incoming, body, plain)
        if key is None and found and self._rules.on_missing == "effect":
            key = Key(tenant, self._tool, EFFECT_SOURCE, (found,))
        return Meant(tenant, key, found, lacking, plain)

    def key(self, incoming: Incoming, body: bytes) -> Key | None:
        """Return the call's key by the first source that is complete, or None if there is none."""
        return self._key(self._tenant_of(incoming, body), incoming, body)

    def _tenant_of(self, incoming: Incoming, body: bytes) -> str:
        if self._tenant is None:
            return ONE_TENANT
        tenant = self._tenant.find(incoming, body)
        if not tenant:
            raise Refused(Kind.KEY_MISSING, f"the request names no tenant: send {self._rules.tenant}")
        return tenant

    def _key(self, tenant: str, incoming: Incoming, body: bytes) -> Key | None:
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

    def fingerprint(
        self, key: Key, method: bytes, target: bytes, credential: str | None, body: bytes, *, json_body: bool,
        plain: Any = None,
    ) -> str:  # fmt: skip
        """Return the request's fingerprint. Calls that have their effect for identity ask for the same if that is the
        same, in whatever words the rest of the body puts it. `plain` is what `meant` found of the body."""
        if key.source == EFFECT_SOURCE:
            return fingerprint(method, target, key.parts[0].encode(), (), credential, json_body=False)
        return fingerprint(method, target, body, self._ignore, credential, json_body, plain)

    def separate(self, key: Key, mark: str) -> Key:
        """Return the key of a request with fingerprint `mark`: with it for one more part where providers reuse ids."""
        if self._rules.on_reuse == "refuse" or key.source == EFFECT_SOURCE:
            return key
        return Key(key.tenant, key.tool, f"{key.source} fingerprint", (*key.parts, mark))

    def principal(self, incoming: Incoming) -> str | None:
        """Return the caller's credential, to be hashed into the fingerprint and kept nowhere."""
        return None if self._principal is None else self._principal.find(incoming, b"")

    def wanted(self) -> str:
        """Say, for a refusal, what a caller could have sent."""
        ways = [" and ".join(map(str, source)) for source in self._rules.sources]
        if self._rules.on_missing == "effect":
            ways.append("every field of the effect key")
        return ", or ".join(ways)


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
        selectors += policy.effect_key.fields if policy.effect_key is not None else ()
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
