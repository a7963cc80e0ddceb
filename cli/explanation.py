"""What would happen to a request, and why: the policy that speaks for it, its identity, and what each turn would bring.

The same functions are asked that the data port asks, so that the explanation cannot differ from the deed. Nothing is
sent, and no store is looked at: whether the call has been made before is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from cli import prospects
from cli.request import Request
from ledger.fingerprint import canonical
from ledger.key import ref_of
from policies.loader import Loaded
from policies.matcher import ByTenant
from policies.model import UNMATCHED, ToolPolicy
from policies.paths import normal_path
from policies.selector import find
from policies.units import show_duration
from proxy.fields import ALWAYS_CONTROL, Incoming, Sorter, is_json
from proxy.identity import EFFECT_SOURCE, SCOPES, Finder, Identity, Meant, call_of, control_names
from proxy.planning import Planner
from proxy.problems import Kind, Refused


class Line(Struct, frozen=True):
    """One thing to know. `value` is JSON-able; `source` says where it comes from: a place in a file, or a rule."""

    topic: str
    name: str
    value: Any
    source: str = ""


def explain(loaded: Loaded, request: Request) -> list[Line]:
    """Explain `request` under `loaded`, from its match down to each field of its policy."""
    path = request.target.partition("?")[0]
    lines = [*_asked(request, path)]
    try:
        found = loaded.policies.match(request.method, path)
        policy = found if isinstance(found, ToolPolicy) else _tenants(loaded, found, request)
    except Refused as refused:
        return [*lines, _refused(refused)]
    return [*lines, *_matched(loaded, policy), *_fate(loaded, policy, request), *_fields(loaded, policy)]


def _sorted(loaded: Loaded, request: Request) -> Incoming:
    everyone = (*loaded.policies.policies, loaded.policies.unmatched_write)
    return Sorter(ALWAYS_CONTROL | control_names(everyone)).sort(request.headers)


def _tenants(loaded: Loaded, found: ByTenant, request: Request) -> ToolPolicy:
    """Return the policy of the tenant that the request names. Raises `Refused` if it names none."""
    tenant = Finder(found.selector).find(_sorted(loaded, request), b"")
    if not tenant:
        raise Refused(Kind.KEY_MISSING, f"the request names no tenant: send {found.selector}")
    return found.of(tenant)


def _asked(request: Request, path: str) -> Iterator[Line]:
    normal = normal_path(path)
    yield Line("request", "method", request.method)
    if normal is None:
        yield Line(
            "request", "path", path, "ambiguous: two servers could read it differently, so that no policy matches"
        )
    else:
        yield Line("request", "path", normal, "" if normal == path else "its normal form (RFC 3986, 6.2.2)")


def _matched(loaded: Loaded, policy: ToolPolicy) -> Iterator[Line]:
    where = loaded.provenance(policy.label)
    source = "no policy names this request" if policy.tool == UNMATCHED else where["tool"]
    yield Line("policy", "tool", policy.tool, source)
    yield Line("policy", "effect", policy.effect, _effect_source(policy, where))
    yield Line("policy", "digest", loaded.policies.digest[:12])


def _effect_source(policy: ToolPolicy, where: dict[str, str]) -> str:
    if policy.tool != UNMATCHED:
        return where["effect"]
    return "GET, HEAD and OPTIONS are reads, everything else is a write"


def _fate(loaded: Loaded, policy: ToolPolicy, request: Request) -> Iterator[Line]:
    """Yield identity and answers, or the refusal that comes before them."""
    try:
        incoming = _sorted(loaded, request)
        if policy.mode == "deny":
            yield _refusal("denied", 403, f"{policy.tool} is not launched here", "mode: deny")
        elif policy.effect == "read":
            yield from _read(policy)
        elif policy.mode == "off":
            yield Line("answer", "always", "forwarded unprotected, each time", "mode: off")
        elif len(request.body) > policy.limits.request_body_bytes:
            yield _refusal("too-large", 413, f"the body has {len(request.body)} bytes", "limits.requestBody")
        else:
            yield from _write(policy, request, incoming)
    except Refused as refused:
        yield _refused(refused)


def _refused(refused: Refused) -> Line:
    return _refusal(refused.kind.value.slug, refused.kind.value.status, refused.detail, "")


def _refusal(slug: str, status: int, detail: str, source: str) -> Line:
    return Line("answer", "always", f"{status} {slug}: {detail}", source)


def _read(policy: ToolPolicy) -> Iterator[Line]:
    upstream = show_duration(policy.timeouts.upstream_ms)
    yield Line("answer", "always", "forwarded as often as it is asked, streamed, without key or ledger", "effect: read")
    yield Line("answer", "time-out", f"504 upstream-timeout after {upstream} of silence", "timeouts.upstream")


def _write(policy: ToolPolicy, request: Request, incoming: Incoming) -> Iterator[Line]:
    identity = Identity(policy)
    meant = identity.meant(incoming, request.body)
    key = meant.key
    if key is None:
        if policy.key.on_missing == "forward":
            yield Line("answer", "always", "forwarded unprotected: it has no identity", "key.onMissing: forward")
        else:
            detail = f"it has no identity; send {identity.wanted()}"
            yield _refusal("key-missing", 400, detail, f"key.onMissing: {policy.key.on_missing}")
        return
    principal = identity.principal(incoming)
    json_body = is_json(incoming.content_type)
    method, target = request.method.encode(), request.target.encode()
    mark = identity.fingerprint(key, method, target, principal, request.body, json_body=json_body)
    key = identity.separate(key, mark)
    ref = ref_of(key)
    yield Line("identity", "tenant", key.tenant, str(policy.key.tenant or "key.tenant is not set: one tenant"))
    yield Line("identity", "key", list(key.parts), key.source)
    yield Line("identity", "operation", ref.operation)
    form = canonical(request.body, policy.fingerprint.ignore) if json_body else None
    body = "the body byte for byte" if form is None else "the body as canonical JSON (RFC 8785)"
    if key.source == EFFECT_SOURCE:
        body = "the effect key"
    who = f", {policy.key.principal}" if principal else ""
    yield Line("identity", "fingerprint", mark, f"over method, target{who} and {body}")
    yield from _effect(policy, meant, incoming, request)
    if policy.mode == "observe":
        said = "forwarded each time; what the lines below would have prevented is counted"
        yield Line("answer", "always", said, "mode: observe")
    for name, value, source in prospects.answers(policy):
        yield Line("answer", name, value, source)
    plan = None
    if policy.unknown.probe is not None:
        call = call_of(policy, key.tenant, incoming)
        plan = Planner(policy.unknown.probe).plan(ref, call, incoming, request.body)
    for name, value, source in prospects.unknown(policy, plan):
        yield Line("unknown", name, value, source)


def _effect(policy: ToolPolicy, meant: Meant, incoming: Incoming, request: Request) -> Iterator[Line]:
    """Yield the effect key and where each part of it comes from."""
    rules = policy.effect_key
    if rules is None:
        return
    if not meant.effect:
        yield Line("effect", "key", f"none: the request has no {meant.lacking}", "effectKey.fields")
        return
    yield Line("effect", "key", meant.effect, f"over tenant, tool, scope {rules.scope} and {len(rules.fields)} fields")
    if rules.scope in SCOPES:
        name, shown = SCOPES[rules.scope]
        yield Line("effect", "scope", incoming.controls.get(name, ""), f"header:{shown}")
    try:
        document = msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        document = None
    for selector in rules.fields:
        in_body = selector.kind == "body"
        value = find(selector.argument, document) if in_body else Finder(selector).find(incoming, request.body)
        yield Line("effect", "part", value, str(selector))


def _fields(loaded: Loaded, policy: ToolPolicy) -> Iterator[Line]:
    for shown in loaded.shown(policy.label):
        if policy.tool != UNMATCHED or shown.field not in {"tool", "effect", "match.path", "match.method"}:
            yield Line("field", shown.field, shown.value, shown.where)
