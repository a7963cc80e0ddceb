"""Every field of a policy file: what it means, what it takes, where it goes in the model.

The loader reads by this table and `schema.json` is written from it, so that neither can say something else. What is
done about unknown outcomes has a file of its own, `policies.unknown_fields`.
"""

from __future__ import annotations

from typing import Any, Final

from policies import kinds, values
from policies.field import KEPT_MAX_MS, Elsewhere, Field, Group, Leaf, leaves, timer
from policies.model import KIB, MIB, SECOND_MS
from policies.unknown_fields import RETRY, UNKNOWN, UPSTREAM

API_VERSION: Final = "holdfast.dev/v1"
TOOL_POLICY: Final = "ToolPolicy"
DEFAULTS: Final = "Defaults"

BODY_MAX: Final = 256 * MIB
"""Bodies are held in memory, one for each call in flight."""

REPLICAS_MAX: Final = 16
"""More replicas than one master feeds in practice."""

_KEY = Group(
    "How a request says which call it is. Together with tenant and tool this makes the key.",
    {
        "from": Leaf(
            "Sources of identity, each a list of selectors; the first whose selectors all find something wins.",
            values.SOURCES,
            "key.sources",
        ),
        "tenant": Leaf(
            "Whose call it is: each tenant has keys of its own. A header named here is required.",
            kinds.nullable(values.selectors("header", "value"), "One tenant."),
            "key.tenant",
        ),
        "principal": Leaf(
            "Who asks. Hashed into the fingerprint, so that another principal gets a 422 and never a replay.",
            kinds.nullable(values.selectors("header"), "Anyone who has the key may have the result."),
            "key.principal",
        ),
        "onMissing": Leaf(
            "What happens to a write without identity: refused with 400, told apart by its effect key, or forwarded "
            "unprotected and counted.",
            kinds.choice("reject", "effect", "forward"),
            "key.on_missing",
        ),
        "onReuse": Leaf(
            "What the same ids with another content get: refused with 422; or, from providers that reuse ids, taken "
            "for another call, by making the fingerprint part of the key.",
            kinds.choice("refuse", "separate"),
            "key.on_reuse",
        ),
    },
)

_EFFECT_KEY = Group(
    "What makes two calls under different keys the same effect, and what the second one gets.",
    {
        "fields": Leaf(
            "Whose values are the effect key, together with tenant, tool and scope. A call that lacks one has none.",
            kinds.nullable(values.EFFECT_FIELDS, "No effect key."),
            "effect_key.fields",
        ),
        "scope": Leaf(
            "Within whose calls effects can be the same. The header that names run, thread or user is then required.",
            kinds.choice("run", "thread", "user", "tenant"),
            "effect_key.scope",
        ),
        "window": Leaf(
            "How long a completed success holds its effect key; what is in flight or unknown holds it without end.",
            kinds.duration(0, KEPT_MAX_MS),
            "effect_key.window_ms",
        ),
        "then": Leaf(
            "observe: counted and forwarded. hold: waits for the first, then forwarded. replay: gets the first one's "
            "result. refuse: 409.",
            kinds.choice("observe", "hold", "replay", "refuse"),
            "effect_key.then",
        ),
    },
)

_MATCH = Group(
    "Which requests this policy speaks for; the most specific match wins. Default: any method but GET and HEAD on "
    "/tools/<tool>.",
    {
        "method": Leaf("A method or a list of them. Default: any but GET and HEAD.", values.METHODS, "match.methods"),
        "path": Leaf(
            "An absolute path. A segment * matches one segment, a final /** the rest, none included.",
            values.PATH,
            "match.path",
        ),
        "tenants": Leaf(
            "Whose requests it speaks for, by key.tenant. Before a policy for all tenants.",
            values.TENANTS,
            "match.tenants",
        ),
    },
)

_TIMEOUTS = Group(
    "How long things may take. connect < upstream, hold <= upstream + late.",
    {
        "connect": Leaf("From dialling. At its end: provably not sent.", timer(1), "timeouts.connect_ms"),
        "upstream": Leaf(
            "From the first byte written. At its end callers are told that the outcome is unknown; listening goes on.",
            timer(1),
            "timeouts.upstream_ms",
        ),
        "hold": Leaf(
            "How long a duplicate waits for a call in flight before it gets a 409.", timer(), "timeouts.hold_ms"
        ),
        "late": Leaf("How long a reply is still listened for after upstream is over.", timer(), "timeouts.late_ms"),
    },
)

_RESULT = Group(
    "Which replies settle a call, and how long they are kept. longestRun <= retention <= remember.",
    {
        "retention": Leaf(
            "How long a result is replayed, from completion.",
            kinds.duration(SECOND_MS, KEPT_MAX_MS),
            "result.retention_ms",
        ),
        "remember": Leaf(
            "How long it is remembered that the call ran, from completion.",
            kinds.duration(SECOND_MS, KEPT_MAX_MS),
            "result.remember_ms",
        ),
        "maxBody": Leaf(
            "The largest reply that is kept. A larger one goes to its first caller and is not replayed.",
            kinds.size(0, BODY_MAX),
            "result.body_bytes_max",
        ),
        "final": Leaf(
            "Replies that say that the call is over. 4xx leaves 408 out; name it if it is final here.",
            values.STATUS_LIST,
            "result.final",
        ),
        "notFinal": Leaf(
            "Replies that say that the call did not run and may be sent again. Looked at before final; what is in "
            "neither leaves the outcome unknown.",
            values.STATUS_LIST,
            "result.not_final",
        ),
        "failedIf": Leaf(
            "Comparisons over a final JSON reply that say that the tool reported a failure in its body.",
            values.PREDICATES,
            "result.failed_if",
        ),
        "closeDelimitedIsWhole": Leaf(
            "Whether a reply that ends with its connection is taken for whole. A cut one looks just like it.",
            kinds.boolean(),
            "result.close_delimited_is_whole",
        ),
        "auditId": Leaf(
            "Where the tool's reply has its own id for what it did, for logs and histories.",
            kinds.nullable(values.selectors("header", "body"), "None is looked for."),
            "result.audit_id",
        ),
    },
)

_LIMITS = Group(
    "Bounds for each process; beyond them calls are refused.",
    {
        "inFlight": Leaf("Calls in flight.", kinds.integer(1, 100_000), "limits.in_flight"),
        "waitersPerKey": Leaf(
            "Duplicates that wait for one call.", kinds.integer(0, 100_000), "limits.waiters_per_key"
        ),
        "requestBody": Leaf("The largest request body.", kinds.size(1 * KIB, BODY_MAX), "limits.request_body_bytes"),
    },
)

SHARED: Final[dict[str, Field]] = {
    "mode": Leaf(
        "enforce; observe: forward, and count what would have been prevented; off: forwarded without any protection; "
        "deny: refused, not launched here.",
        kinds.choice("enforce", "observe", "off", "deny"),
        "mode",
    ),
    "upstream": UPSTREAM,
    "key": _KEY,
    "fingerprint": Group(
        "What two attempts of one call must have in common: method, target and body, without what is ignored here.",
        {
            "ignore": Leaf(
                "Places in a JSON body that may differ between attempts.", values.IGNORED, "fingerprint.ignore"
            )
        },
    ),
    "effectKey": _EFFECT_KEY,
    "timeouts": _TIMEOUTS,
    "retry": RETRY,
    "unknown": UNKNOWN,
    "result": _RESULT,
    "durability": Group(
        "What it takes for a write to the ledger to count as written.",
        {
            "replicas": Leaf(
                "How many replicas of the store must have it (Redis WAIT); beyond its own master.",
                kinds.integer(0, REPLICAS_MAX),
                "replicas",
            )
        },
    ),
    "storeDown": Leaf(
        "What happens to writes while the ledger is away: refused with 503, or forwarded unprotected and counted.",
        kinds.choice("refuse", "forward"),
        "store_down",
    ),
    "limits": _LIMITS,
    "announce": Leaf(
        "Whether the tool is sent Holdfast-Operation, Holdfast-Attempt and Via.", kinds.boolean(), "announce"
    ),
}
"""What both kinds of document may set."""

TOOL_FIELDS: Final[dict[str, Field]] = {
    "tool": Leaf("The tool's name: part of the key, and its label in metrics and logs.", values.TOOL, "tool"),
    "match": _MATCH,
    "effect": Leaf(
        "write: each call happens once. read: forwarded as often as asked, without a key or the ledger.",
        kinds.choice("write", "read"),
        "effect",
    ),
    **SHARED,
    "longestRun": Elsewhere(
        "longestRun is one for the whole folder", f"Move it to the document with kind: {DEFAULTS}."
    ),
}

DEFAULT_FIELDS: Final[dict[str, Field]] = {
    "longestRun": Leaf(
        "The longest that a run may take: results are kept at least that long.",
        kinds.duration(SECOND_MS, KEPT_MAX_MS),
        "longest_run_ms",
    ),
    **SHARED,
    **{
        name: Elsewhere(f"{name} is each tool's own", f"Move it to a document with kind: {TOOL_POLICY}.")
        for name in ("tool", "match", "effect")
    },
}

ENVELOPE: Final = ("apiVersion", "kind")


LEAVES: Final = leaves(TOOL_FIELDS) | leaves(DEFAULT_FIELDS)
"""Every leaf of either kind, in the order of the documentation."""

GROUPS_OF: Final[dict[str, Any]] = {TOOL_POLICY: TOOL_FIELDS, DEFAULTS: DEFAULT_FIELDS}
