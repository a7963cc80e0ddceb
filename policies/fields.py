"""Every field of a policy file: what it means, what it takes, where it goes in the model.

The loader reads by this table and `schema.json` is written from it, so that neither can say something else. Fields
that the documentation promises for later versions are in it too, as `Later`: they are refused by name, never ignored,
because a guard that is configured and does not exist is worse than none.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from policies import kinds, values
from policies.kinds import Kind
from policies.model import DAY_MS, KIB, MIB, SECOND_MS

API_VERSION: Final = "holdfast.dev/v1"
TOOL_POLICY: Final = "ToolPolicy"
DEFAULTS: Final = "Defaults"

TIMER_MAX_MS: Final = DAY_MS
"""No call and no wait takes longer than a day; what does is a typing error."""

KEPT_MAX_MS: Final = 366 * DAY_MS
BODY_MAX: Final = 256 * MIB
"""Bodies are held in memory, one for each call in flight."""


class Leaf(Struct, frozen=True):
    """A field with a value. `target` is its place in the model."""

    doc: str
    kind: Kind
    target: str


class Group(Struct, frozen=True):
    """A field that holds fields."""

    doc: str
    fields: dict[str, Field]


class Later(Struct, frozen=True):
    """A field of a later version. `remedy` says what to do in this one."""

    remedy: str


class Elsewhere(Struct, frozen=True):
    """A field of the other kind of document."""

    message: str
    remedy: str


Field = Leaf | Group | Later | Elsewhere


def _timer(at_least_ms: int = 0) -> Kind:
    return kinds.duration(at_least_ms, TIMER_MAX_MS)


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
            "What happens to a write without identity: refused with 400, or forwarded unprotected and counted.",
            kinds.choice("reject", "forward", later={"effect": "Write reject: effect keys are not there yet."}),
            "key.on_missing",
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
        "tenants": Later("Remove it: a policy holds for all tenants."),
    },
)

_UPSTREAM = Group(
    "Where the tool lives.",
    {
        "url": Leaf(
            "Scheme, host and port, without a path: targets are passed on as they come. Default: --upstream.",
            kinds.nullable(values.URL, "The proxy's --upstream."),
            "upstream.url",
        ),
        "idempotencyHeader": Later("Remove it: no key is passed down yet, so an unknown outcome stays unknown."),
        "honoursKeyFor": Later("Remove it: no key is passed down yet, so an unknown outcome stays unknown."),
    },
)

_TIMEOUTS = Group(
    "How long things may take. connect < upstream, hold <= upstream + late.",
    {
        "connect": Leaf("From dialling. At its end: provably not sent.", _timer(1), "timeouts.connect_ms"),
        "upstream": Leaf(
            "From the first byte written. At its end callers are told that the outcome is unknown; listening goes on.",
            _timer(1),
            "timeouts.upstream_ms",
        ),
        "hold": Leaf(
            "How long a duplicate waits for a call in flight before it gets a 409.", _timer(), "timeouts.hold_ms"
        ),
        "late": Leaf("How long a reply is still listened for after upstream is over.", _timer(), "timeouts.late_ms"),
    },
)

_RETRY = Group(
    "How often a call that provably was not sent is tried.",
    {
        "attempts": Leaf("Tries in all, the first included.", kinds.integer(1, 10), "retry.attempts"),
        "on": Leaf(
            "After what. Only what provably did not reach the tool can be sent again safely.",
            kinds.list_of(
                kinds.choice(
                    "not-sent",
                    later={
                        "lost": "Remove it: a lost reply may hide an executed call, and no key is passed down yet.",
                        "5xx": "Remove it: a 5xx may hide an executed call, and no key is passed down yet.",
                    },
                ),
                at_most=1,
                remedy="Write [not-sent].",
            ),
            "retry.on",
        ),
        "backoff": Group(
            "How long to wait between tries: doubled each time, with jitter.",
            {
                "base": Leaf("The wait before the second try.", _timer(1), "retry.backoff_base_ms"),
                "max": Leaf("The longest wait between two tries.", _timer(1), "retry.backoff_max_ms"),
            },
        ),
    },
)

_UNKNOWN = Group(
    "What is done about an outcome that nobody knows.",
    {
        "then": Leaf(
            "hold: it stays unknown, and is said to be, until the truth comes in.",
            kinds.choice(
                "hold", later={"resend": "Write hold: without a key passed down a resend could run it twice."}
            ),
            "unknown.then",
        ),
        "probe": Later("Remove it: tools are not asked yet what became of a call."),
        "within": Later("Remove it: nothing is sent again."),
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
        "auditId": Later("Remove it: audit ids are not read from replies yet."),
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
        "enforce, or off: forwarded without any protection.",
        kinds.choice(
            "enforce",
            "off",
            later={
                "observe": "Write enforce, or off to forward unguarded.",
                "deny": "Write enforce; to keep a tool from being called, do not launch it.",
            },
        ),
        "mode",
    ),
    "upstream": _UPSTREAM,
    "key": _KEY,
    "fingerprint": Group(
        "What two attempts of one call must have in common: method, target and body, without what is ignored here.",
        {
            "ignore": Leaf(
                "Places in a JSON body that may differ between attempts.", values.IGNORED, "fingerprint.ignore"
            )
        },
    ),
    "effectKey": Later("Remove it: calls are told apart by their key and fingerprint alone."),
    "timeouts": _TIMEOUTS,
    "retry": _RETRY,
    "unknown": _UNKNOWN,
    "result": _RESULT,
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


def leaves(fields: dict[str, Field], above: str = "") -> dict[str, Leaf]:
    """Return every leaf by its path, such as `retry.backoff.base`."""
    found: dict[str, Leaf] = {}
    for name, field in fields.items():
        if isinstance(field, Leaf):
            found[above + name] = field
        elif isinstance(field, Group):
            found |= leaves(field.fields, f"{above}{name}.")
    return found


LEAVES: Final = leaves(TOOL_FIELDS) | leaves(DEFAULT_FIELDS)
"""Every leaf of either kind, in the order of the documentation."""

GROUPS_OF: Final[dict[str, Any]] = {TOOL_POLICY: TOOL_FIELDS, DEFAULTS: DEFAULT_FIELDS}
