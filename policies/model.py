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
    """A comparison over a JSON reply, such as `body:/isError == true`; a missing value equals nothing."""

    selector: Selector
    operator: Literal["==", "!="]
    literal: Any


class Match(Struct, frozen=True):
    """Which requests a policy speaks for.

    `methods` empty means every method but GET and HEAD. `path` is an absolute path; a `*` segment matches one segment,
    a final `**` segment matches the rest, none included.
    """

    path: str
    methods: frozenset[str] = frozenset()


class Upstream(Struct, frozen=True):
    """Where the tool lives (`http://` or `https://`, authority only, no path); `None` is the proxy's `--upstream`."""

    url: str | None = None


class KeyRules(Struct, frozen=True):
    """How a request's identity is found. The first source whose selectors all yield a value wins."""

    sources: tuple[tuple[Selector, ...], ...] = (
        (Selector("header", "X-Run-Id"), Selector("header", "X-Tool-Call-Id")),
        (Selector("header", "Idempotency-Key"),),
    )
    tenant: Selector | None = None
    principal: Selector | None = Selector("header", "Authorization")
    on_missing: Literal["reject", "forward"] = "reject"


class FingerprintRules(Struct, frozen=True):
    """Which parts of a JSON body may differ between two attempts of one call."""

    ignore: tuple[Selector, ...] = ()


class Timeouts(Struct, frozen=True):
    """The timers of contract section 6 that a policy sets."""

    connect_ms: int = 2 * SECOND_MS
    upstream_ms: int = 90 * SECOND_MS
    hold_ms: int = 30 * SECOND_MS
    late_ms: int = 10 * MINUTE_MS


class Retry(Struct, frozen=True):
    """How often a call that provably was not sent is tried, the first try included, and how long to wait between."""

    attempts: int = 2
    on: tuple[Literal["not-sent"], ...] = ("not-sent",)
    backoff_base_ms: int = 200
    backoff_max_ms: int = 5 * SECOND_MS


class UnknownRules(Struct, frozen=True):
    """What is done about an unknown outcome. `hold`: nothing is guessed; it stays unknown until the truth comes in."""

    then: Literal["hold"] = "hold"


class ResultRules(Struct, frozen=True):
    """Which replies settle a call, and how long their results and records are kept, counted from completion."""

    final: frozenset[int] = frozenset(range(200, 500)) - {408}
    not_final: frozenset[int] = frozenset({401, 403, 407, 425, 429})
    failed_if: tuple[Predicate, ...] = ()
    retention_ms: int = DAY_MS
    remember_ms: int = 7 * DAY_MS
    body_bytes_max: int = MIB
    close_delimited_is_whole: bool = False

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
    mode: Literal["enforce", "off"] = "enforce"
    upstream: Upstream = Upstream()
    key: KeyRules = KeyRules()
    fingerprint: FingerprintRules = FingerprintRules()
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    unknown: UnknownRules = UnknownRules()
    result: ResultRules = ResultRules()
    store_down: Literal["refuse", "forward"] = "refuse"
    limits: Limits = Limits()
    announce: bool = True
    longest_run_ms: int = 10 * MINUTE_MS
