"""What must hold between the fields of one policy: inequalities of the timers, and settings that undo each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from policies.template import parse_template


class Rule(Struct, frozen=True):
    """`holds` gets the values of `fields`; `message` is formatted with them as they are written in a policy."""

    fields: tuple[str, ...]
    holds: Callable[..., bool]
    message: str
    remedy: str


def _risky(on: tuple[str, ...]) -> bool:
    """Whether a retry could repeat a call that has run."""
    return "lost" in on or "5xx" in on


def _names_operation(get: str | None) -> bool:
    return get is not None and "operation" in parse_template(get).variables


TIMERS: Final = (
    Rule(
        ("timeouts.connect", "timeouts.upstream"),
        lambda connect, upstream: connect < upstream,
        "connect ({}) is not below upstream ({})",
        "Dialling is over before the tool is waited for: make connect shorter.",
    ),
    Rule(
        ("timeouts.hold", "timeouts.upstream", "timeouts.late"),
        lambda hold, upstream, late: hold <= upstream + late,
        "hold ({}) is above upstream ({}) + late ({})",
        "Nobody listens any more by then: make hold shorter.",
    ),
    Rule(
        ("retry.backoff.base", "retry.backoff.max"),
        lambda base, longest: base <= longest,
        "backoff base ({}) is above its max ({})",
        "Make base shorter, or max longer.",
    ),
    Rule(
        ("result.retention", "longestRun"),
        lambda retention, longest: longest <= retention,
        "retention ({}) is below longestRun ({})",
        "A run that is still going could repeat a call whose result is gone: keep results longer.",
    ),
    Rule(
        ("result.remember", "result.retention"),
        lambda remember, retention: retention <= remember,
        "remember ({}) is below retention ({})",
        "A result cannot outlive the memory of its call: make remember longer.",
    ),
)

REPLIES: Final = (
    Rule(
        ("result.final", "result.notFinal"),
        lambda final, not_final: bool(final - not_final),
        "no status in final ({}) is left beside notFinal ({}), so no reply can settle a call",
        "notFinal is looked at first: take the statuses that settle a call out of it.",
    ),
    Rule(
        ("result.notFinal",),
        lambda not_final: not any(200 <= status < 300 for status in not_final),
        "notFinal ({}) has a success in it",
        "What is not final is sent again, and a success has run: take 2xx out.",
    ),
)

IDENTITY: Final = (
    Rule(
        ("match.tenants", "key.tenant"),
        lambda tenants, tenant: not tenants or tenant is not None,
        "tenants ({}) are named, and key.tenant ({}) does not say where a request names its own",
        "Write key.tenant, such as header:X-Tenant-Id.",
    ),
    Rule(
        ("key.onMissing", "effectKey.fields"),
        lambda missing, fields: missing != "effect" or fields is not None,
        "onMissing: {} without an effectKey ({})",
        "Write effectKey.fields: they are the identity of calls that have no other.",
    ),
    Rule(
        ("effectKey.window", "result.retention", "effectKey.then", "effectKey.fields"),
        lambda window, kept, then, fields: fields is None or then != "replay" or window <= kept,
        "window ({}) is above retention ({}), and a result that is gone cannot be replayed",
        "Make the window shorter, keep results longer, or write then: refuse.",
    ),
    Rule(
        ("effectKey.window", "result.remember", "effectKey.fields"),
        lambda window, known, fields: fields is None or window <= known,
        "window ({}) is above remember ({})",
        "An effect cannot be held by a call that is forgotten: make the window shorter, or remember longer.",
    ),
)

KEYS_OF_OURS: Final = (
    Rule(
        ("upstream.idempotencyBody", "upstream.idempotencyHeader"),
        lambda body, header: body is None or header is None,
        "the key cannot go both into the body ({}) and into a header ({})",
        "Keep the one that the tool reads.",
    ),
    Rule(
        ("upstream.honoursKeyFor", "upstream.idempotencyHeader", "upstream.idempotencyBody"),
        lambda honours, header, body: honours is None or header is not None or body is not None,
        "honoursKeyFor ({}) without a place for the key (idempotencyHeader {}, idempotencyBody {})",
        "Write idempotencyHeader, idempotencyBody or preset.",
    ),
    Rule(
        ("retry.on", "upstream.honoursKeyFor"),
        lambda on, honours: not _risky(on) or honours is not None,
        "retry after {} may run the call twice: honoursKeyFor is {}",
        "Write [not-sent]; or, if the tool honours a key, upstream.idempotencyHeader and honoursKeyFor.",
    ),
    Rule(
        ("retry.attempts", "upstream.honoursKeyFor", "timeouts.upstream", "retry.backoff.max", "retry.on"),
        lambda tries, honours, upstream, pause, on: (
            honours is None or not _risky(on) or tries * upstream + (tries - 1) * pause < honours
        ),
        "attempts ({}) can take longer than honoursKeyFor ({})",
        "Make fewer attempts: the last could run a call that the tool has forgotten.",
    ),
    Rule(
        ("unknown.then", "upstream.honoursKeyFor"),
        lambda then, honours: then != "resend" or honours is not None,
        "then: {} may run the call twice: honoursKeyFor is {}",
        "Write hold; or, if the tool honours a key, upstream.idempotencyHeader and honoursKeyFor.",
    ),
    Rule(
        ("unknown.then", "unknown.within"),
        lambda then, within: then != "resend" or within is not None,
        "then: {} without an end: within is {}",
        "Write unknown.within, below upstream.honoursKeyFor.",
    ),
    Rule(
        ("unknown.within", "upstream.honoursKeyFor"),
        lambda within, honours: within is None or honours is None or within < honours,
        "within ({}) is not below honoursKeyFor ({})",
        "A resend must arrive while the tool still knows the key: make within shorter.",
    ),
)

PROBES: Final = (
    Rule(
        ("unknown.probe.applied", "unknown.probe.get"),
        lambda applied, get: (applied is None) == (get is None),
        "a probe takes both applied ({}) and get ({})",
        "Write what to ask for, and what holds in the answer if the call happened.",
    ),
    Rule(
        ("unknown.probe.get", "unknown.probe.matches", "unknown.probe.createdAt"),
        lambda get, matches, created: get is None or _names_operation(get) or (matches or created) is not None,
        "{} may find another call's effect: it has no {{operation}}, and neither matches ({}) nor createdAt ({})",
        "Ask by {operation}, or say where the answer names the operation or its time of creation.",
    ),
    Rule(
        (
            "unknown.probe.get", "unknown.probe.matches", "announce", "upstream.idempotencyHeader",
            "upstream.idempotencyBody",
        ),
        lambda get, matches, announce, header, body: (
            get is None or announce or header is not None or body is not None
            or (matches is None and not _names_operation(get))
        ),
        "the tool is asked for an operation that it is never told ({0}; announce: {2})",
        "Write announce: true, or pass the operation down by upstream.idempotencyHeader or .idempotencyBody.",
    ),
    Rule(
        ("unknown.probe.after", "unknown.probe.for", "unknown.probe.get"),
        lambda after, end, get: get is None or after <= end,
        "the first probe (after {}) comes when asking is over (for {})",
        "Make after shorter, or for longer.",
    ),
    Rule(
        ("unknown.probe.status", "result.final", "result.notFinal", "unknown.probe.get"),
        lambda status, final, not_final, get: get is None or status in final - not_final,
        "a result of status {} settles nothing under final ({}) and notFinal ({})",
        "Write a status that is final.",
    ),
    Rule(
        ("unknown.probe.notApplied.trust", "unknown.probe.notApplied.after"),
        lambda trust, after: trust != "after" or after is not None,
        "trust: {} without a time: after is {}",
        "Write notApplied.after, not below timeouts.upstream.",
    ),
    Rule(
        ("unknown.probe.notApplied.after", "unknown.probe.notApplied.trust"),
        lambda after, trust: after is None or trust == "after",
        "after ({}) has no use beside trust: {}",
        "Write trust: after, or remove it.",
    ),
    Rule(
        ("unknown.probe.notApplied.after", "timeouts.upstream"),
        lambda after, upstream: after is None or after >= upstream,
        "notApplied.after ({}) is below upstream ({})",
        "The first request may still be at work: make it longer.",
    ),
)  # fmt: skip

RULES: Final[tuple[Rule, ...]] = (*TIMERS, *REPLIES, *IDENTITY, *KEYS_OF_OURS, *PROBES)

UNUSED_BY_READS: Final = (
    "key.from", "key.onMissing", "key.onReuse", "fingerprint.ignore", "storeDown", "effectKey", "upstream.preset",
    "upstream.idempotencyHeader", "upstream.idempotencyBody", "upstream.honoursKeyFor", "unknown", "durability",
    "result.auditId",
)  # fmt: skip
"""Fields, and groups whole."""


def unused(name: str, values: dict[str, Any]) -> tuple[str, str] | None:
    """Return message and remedy if the field `name` says nothing beside the policy's other `values`."""
    if values["effect"] == "read":
        if any(name == field or name.startswith(f"{field}.") for field in UNUSED_BY_READS):
            message = "has no use beside effect: read, which is forwarded without key or ledger"
            return message, "Remove it, or write effect: write."
        if name == "mode" and values["mode"] == "observe":
            return "observe has nothing to count beside effect: read", "Write enforce, off or deny."
    for above, needed in (("effectKey.", "effectKey.fields"), ("unknown.probe.", "unknown.probe.get")):
        if name.startswith(above) and name != needed and values[needed] is None:
            return f"has no use without {needed}", f"Write {needed}, or remove it."
    if name == "unknown.within" and values["unknown.then"] == "hold" and values[name] is not None:
        return "has no use beside then: hold", "Write then: resend, or remove it."
    return None
