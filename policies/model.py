"""One tool's policy with every default filled in: what the rest of Holdfast reads.

The YAML that an operator writes is looser (units, partial maps, shared defaults); `policies.loader` turns it into these
values and is the only place that knows how. Everything here is frozen: a policy set can be swapped under live traffic.
Durations are whole milliseconds, sizes are bytes; both say so in their names.
"""

from __future__ import annotations

import enum
from typing import Any, Literal

from msgspec import Struct

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
KIB = 1024
MIB = 1024 * KIB

UNMATCHED = "_unmatched"
"""The tool label of requests that no policy names."""


class Verdict(enum.Enum):
    """What a reply's status says about the call (contract, section 1: `notFinal` before `final`)."""

    FINAL = "final"
    NOT_FINAL = "not_final"
    NEITHER = "neither"


_FINAL, _NOT_FINAL, _NEITHER = Verdict.FINAL, Verdict.NOT_FINAL, Verdict.NEITHER
"""Bound once: an enum's member costs a function call each time it is named, and these are named in every call's way."""


class Selector(Struct, frozen=True):
    """Where to find a value in a request: `header:Name`, `body:/json/pointer` (RFC 6901) or `value:constant`."""

    kind: Literal["header", "body", "value"]
    argument: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}"


class Predicate(Struct, frozen=True):
    """A comparison over a JSON reply, such as `body:/isError == true`; a missing value equals nothing. `exists` holds
    for whatever is there and is not null."""

    selector: Selector
    operator: Literal["==", "!=", "exists"]
    literal: Any = None


class Match(Struct, frozen=True):
    """Which requests a policy speaks for.

    `methods` empty means every method but GET and HEAD. `path` is an absolute path; a `*` segment matches one segment,
    a final `**` segment matches the rest, none included. `tenants` empty means all of them.
    """

    path: str
    methods: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()


class Upstream(Struct, frozen=True):
    """Where the tool lives, and how it takes a key of ours.

    url              `http://` or `https://`, authority only, no path; `None` is the proxy's `--upstream`.
    idempotency      where the operation id goes on every attempt, for a tool that honours a key: `header:Name`, or
                     `body:/pointer` into a JSON object; None for a tool that does not.
    honours_key_ms   how long the tool remembers such a key; None if it honours none.
    """

    url: str | None = None
    idempotency: Selector | None = None
    honours_key_ms: int | None = None


class KeyRules(Struct, frozen=True):
    """How a request's identity is found. The first source whose selectors all yield a value wins.

    on_missing  what a write without identity gets: `effect` takes its effect key for one.
    on_reuse    what the same ids with another content get: `separate` makes the fingerprint part of the key, for
                providers that reuse ids.
    """

    sources: tuple[tuple[Selector, ...], ...] = (
        (Selector("header", "X-Run-Id"), Selector("header", "X-Tool-Call-Id")),
        (Selector("header", "Idempotency-Key"),),
    )
    tenant: Selector | None = None
    principal: Selector | None = Selector("header", "Authorization")
    on_missing: Literal["reject", "effect", "forward"] = "reject"
    on_reuse: Literal["refuse", "separate"] = "refuse"


class FingerprintRules(Struct, frozen=True):
    """Which parts of a JSON body may differ between two attempts of one call."""

    ignore: tuple[Selector, ...] = ()


class EffectRules(Struct, frozen=True):
    """What makes two calls with different keys the same effect, and what the second one gets (design 2.2).

    fields     whose values, together with tenant, tool and scope, are the effect key; a call that lacks one has none.
    scope      within whose calls effects can be the same; the header that names it is required (400) but for `tenant`.
    window_ms  how long a completed success goes on holding its effect key.
    """

    fields: tuple[Selector, ...]
    scope: Literal["run", "thread", "user", "tenant"] = "thread"
    window_ms: int = 90 * SECOND_MS
    then: Literal["observe", "hold", "replay", "refuse"] = "replay"


class Timeouts(Struct, frozen=True):
    """The timers of contract section 6 that a policy sets."""

    connect_ms: int = 2 * SECOND_MS
    upstream_ms: int = 90 * SECOND_MS
    hold_ms: int = 30 * SECOND_MS
    late_ms: int = 10 * MINUTE_MS


class Retry(Struct, frozen=True):
    """How often a call is tried within one claim, the first try included, and how long to wait between. `lost` and
    `5xx` are for tools that honour a key."""

    attempts: int = 2
    on: tuple[Literal["not-sent", "lost", "5xx"], ...] = ("not-sent",)
    backoff_base_ms: int = 200
    backoff_max_ms: int = 5 * SECOND_MS


class Probe(Struct, frozen=True):
    """How to ask the tool whether a call happened.

    get           target of a GET at the tool's origin, with `{operation}`, `{run_id}`, `{tool_call_id}`, `{body:/…}`
                  and `{header:…}` filled in, percent-encoded.
    applied       holds in the JSON answer of a 2xx if it happened.
    matches       what must equal the operation id there, if named.
    created       the time of creation there (RFC 3339, or seconds since 1970), which must not be before the claim.
    result        which part of the answer is the stored result's body; None for all of it.
    status        of the stored result.
    headers       sent along; a value `file:PATH` is read anew each time.
    after_ms, every_ms, for_ms  the first probe after the outcome became unknown, the pause between, the end of it all.
    free_after_ms  when *not applied* frees the key, counted from when the outcome became unknown; None for never.
    """

    get: str
    applied: Predicate
    matches: Selector | None = None
    created: Selector | None = None
    result: Selector | None = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    after_ms: int = 2 * SECOND_MS
    every_ms: int = 5 * SECOND_MS
    for_ms: int = 60 * SECOND_MS
    free_after_ms: int | None = None


class UnknownRules(Struct, frozen=True):
    """What is done about an unknown outcome.

    then       `hold`: nothing is guessed; it stays unknown until the truth comes in. `resend`: the tool honours our key
               and is asked again with it.
    within_ms  until when after the first attempt a resend may begin; None without resends.
    probe      how the tool is asked what became of it; None if it cannot be.
    """

    then: Literal["hold", "resend"] = "hold"
    within_ms: int | None = None
    probe: Probe | None = None


class ResultRules(Struct, frozen=True):
    """Which replies settle a call, and how long their results and records are kept, counted from completion."""

    final: frozenset[int] = frozenset(range(200, 500)) - {408}
    not_final: frozenset[int] = frozenset({401, 403, 407, 425, 429})
    failed_if: tuple[Predicate, ...] = ()
    retention_ms: int = DAY_MS
    remember_ms: int = 7 * DAY_MS
    body_bytes_max: int = MIB
    close_delimited_is_whole: bool = False
    audit_id: Selector | None = None

    def verdict(self, status: int) -> Verdict:
        """Say what `status` means; a status in both lists is not final."""
        if status in self.not_final:
            return _NOT_FINAL
        return _FINAL if status in self.final else _NEITHER


class Limits(Struct, frozen=True):
    """Bounds per tool and process; beyond them the proxy refuses with `overloaded` or `too-large`."""

    in_flight: int = 100
    waiters_per_key: int = 100
    request_body_bytes: int = MIB


class ToolPolicy(Struct, frozen=True, kw_only=True):
    """Everything the proxy needs to know about one tool."""

    tool: str
    match: Match
    effect: Literal["write", "read"] = "write"
    mode: Literal["enforce", "observe", "off", "deny"] = "enforce"
    upstream: Upstream = Upstream()
    key: KeyRules = KeyRules()
    fingerprint: FingerprintRules = FingerprintRules()
    effect_key: EffectRules | None = None
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    unknown: UnknownRules = UnknownRules()
    result: ResultRules = ResultRules()
    store_down: Literal["refuse", "forward"] = "refuse"
    limits: Limits = Limits()
    announce: bool = True
    replicas: int = 0
    """How many replicas of the store must have each write (`WAIT`); 0 asks none."""
    longest_run_ms: int = 10 * MINUTE_MS

    @property
    def label(self) -> str:
        """What tells this policy from the others of a folder: its tool, and the tenants that it names, if any."""
        tenants = ", ".join(sorted(self.match.tenants))
        return f"{self.tool} ({tenants})" if tenants else self.tool
