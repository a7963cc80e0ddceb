"""The fields by which a policy says how an unknown outcome can be ended: a key that the tool honours, and a probe."""

from __future__ import annotations

from typing import Final

from policies import kinds, probe_values, values
from policies.field import KEPT_MAX_MS, Group, Leaf, timer
from policies.model import SECOND_MS
from policies.presets import PRESETS

UPSTREAM: Final = Group(
    "Where the tool lives, and how it takes a key of ours.",
    {
        "url": Leaf(
            "Scheme, host and port, without a path: targets are passed on as they come. Default: --upstream.",
            kinds.nullable(values.URL, "The proxy's --upstream."),
            "upstream.url",
        ),
        "preset": Leaf(
            "What is known of a provider: fills idempotencyHeader and honoursKeyFor, which win where they are written.",
            kinds.nullable(kinds.choice(*PRESETS), "Nothing is filled in."),
            "upstream.preset",
        ),
        "idempotencyHeader": Leaf(
            "The header field by which the tool takes a key: it is sent the operation id, the same on every attempt.",
            kinds.nullable(values.KEY_HEADER, "No header is added."),
            "upstream.idempotency_header",
        ),
        "idempotencyBody": Leaf(
            "The place in a JSON object by which the tool takes a key: the operation id is put there.",
            kinds.nullable(values.POINTER, "The body goes down as it came."),
            "upstream.idempotency_body",
        ),
        "honoursKeyFor": Leaf(
            "How long the tool remembers a key, and answers the same key without acting again.",
            kinds.nullable(kinds.duration(SECOND_MS, KEPT_MAX_MS), "The tool honours no key."),
            "upstream.honours_key_ms",
        ),
    },
)

_NOT_APPLIED = Group(
    "When the answer that it did not happen frees the key, so that the call may run.",
    {
        "trust": Leaf(
            "never: a call that is not there yet may still arrive. after: not there after that time means never there.",
            kinds.choice("never", "after"),
            "unknown.probe.trust",
        ),
        "after": Leaf(
            "The time of trust: after. Not below timeouts.upstream: the first request may still be at work.",
            kinds.nullable(timer(1), "With trust: never."),
            "unknown.probe.free_after_ms",
        ),
    },
)

_PROBE = Group(
    "How the tool is asked what became of a call: a GET, without any caller waiting for it.",
    {
        "get": Leaf(
            "The target of the GET, at the tool's origin. {operation}, {run_id}, {tool_call_id}, {thread_id}, "
            "{user_id}, {tenant}, {body:/…} and {header:…} are filled in from the call.",
            kinds.nullable(probe_values.TEMPLATE, "The tool is not asked."),
            "unknown.probe.get",
        ),
        "applied": Leaf(
            "What holds in the JSON answer of a 2xx if the call happened.",
            kinds.nullable(probe_values.CONDITION, "The tool is not asked."),
            "unknown.probe.applied",
        ),
        "matches": Leaf(
            "Where the answer has what must equal the operation id.",
            kinds.nullable(values.selectors("body"), "Nothing is compared."),
            "unknown.probe.matches",
        ),
        "createdAt": Leaf(
            "Where the answer has the time of creation (RFC 3339, or seconds since 1970), not to be before the call's.",
            kinds.nullable(values.selectors("body"), "Nothing is compared."),
            "unknown.probe.created",
        ),
        "result": Leaf(
            "Which part of the answer becomes the stored result.",
            kinds.nullable(values.selectors("body"), "All of it."),
            "unknown.probe.result",
        ),
        "status": Leaf("The status of the stored result.", kinds.integer(200, 599), "unknown.probe.status"),
        "headers": Leaf(
            "Header fields of the GET; a value file:PATH is read anew each time.",
            probe_values.HEADERS,
            "unknown.probe.headers",
        ),
        "after": Leaf("From when the outcome became unknown to the first probe.", timer(), "unknown.probe.after_ms"),
        "every": Leaf("From one probe to the next.", timer(100), "unknown.probe.every_ms"),
        "for": Leaf("How long the tool is asked.", timer(), "unknown.probe.for_ms"),
        "notApplied": _NOT_APPLIED,
    },
)

UNKNOWN: Final = Group(
    "What is done about an outcome that nobody knows.",
    {
        "then": Leaf(
            "hold: it stays unknown, and is said to be, until the truth comes in. resend: the tool honours our key, "
            "and is asked again with it.",
            kinds.choice("hold", "resend"),
            "unknown.then",
        ),
        "within": Leaf(
            "Until when after the first attempt a resend may begin; below upstream.honoursKeyFor.",
            kinds.nullable(kinds.duration(SECOND_MS, KEPT_MAX_MS), "Nothing is sent again."),
            "unknown.within_ms",
        ),
        "probe": _PROBE,
    },
)

RETRY: Final = Group(
    "How often a call is tried within one claim.",
    {
        "attempts": Leaf("Tries in all, the first included.", kinds.integer(1, 10), "retry.attempts"),
        "on": Leaf(
            "After what. not-sent is safe; lost and 5xx may hide an executed call and are for tools that honour a key.",
            kinds.list_of(kinds.choice("not-sent", "lost", "5xx"), at_most=3, remedy="Write [not-sent]."),
            "retry.on",
        ),
        "backoff": Group(
            "How long to wait between tries: doubled each time, with jitter.",
            {
                "base": Leaf("The wait before the second try.", timer(1), "retry.backoff_base_ms"),
                "max": Leaf("The longest wait between two tries.", timer(1), "retry.backoff_max_ms"),
            },
        ),
    },
)
