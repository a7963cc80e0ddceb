"""What one answer of the proxy means for a tool call: something definite, or a reason to ask again under the same ids.

| who says it | what                                                    | it means                             |
|-------------|---------------------------------------------------------|--------------------------------------|
| the tool    | any status, but for the next two                        | its answer                           |
|             | 429; of a tool that Holdfast does not guard also 503    | try again, twice; then its answer    |
|             | anything that Holdfast marks `unknown`                  | attach: the next answer says more    |
| Holdfast    | `in-flight`                                             | attach                               |
|             | `outcome-unknown`, and something can end it             | attach                               |
|             | `outcome-unknown`, and nothing but a person can         | `unknown`                            |
|             | `not-sent`                                              | try again, twice; then `unreached`   |
|             | 503: its ledger is away, it stops, it is full           | not yet: ask again for a while;      |
|             |                                                         | then `refused`                       |
|             | 408                                                     | try again, twice; then `refused`     |
|             | a read whose answer was lost                            | try again, twice; then `unreached`   |
|             | `internal`                                              | as a connection that broke           |
|             | anything else                                           | `refused`                            |
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from coordinator.tools import Told, Verdict

TYPE_PREFIX = "urn:holdfast:problem:"
UNREACHED = frozenset({"not-sent", "upstream-lost", "upstream-timeout"})
"""After the tries, these were not executed, or were reads: nothing has happened that must not happen twice."""


class Definite(Struct, frozen=True):
    """What is told of the call."""

    told: Told


class Attach(Struct, frozen=True):
    """It may be under way: ask again, for as long as there is time. `told` is what is known so far."""

    told: Told


class Retry(Struct, frozen=True):
    """It was refused for now: ask again, twice at most, `after_s` from now or later. `told`: what is told if that does
    not help."""

    told: Told
    after_s: float | None = None


class NotYet(Struct, frozen=True):
    """Holdfast itself refused it for now, before the tool was asked: its ledger is away, or it is being restarted. That
    passes within seconds, so ask again for a while, `after_s` from now or later. `told`: what is told if it does
    not."""

    told: Told
    after_s: float | None = None


class Broken(Struct, frozen=True):
    """Nobody knows what became of the request, and the proxy's ledger will: ask again."""

    told: Told


Meaning = Definite | Attach | Retry | NotYet | Broken

Get = Callable[[str], str]


class _Document(Struct, frozen=True):
    type: str = ""
    detail: str = ""
    operation: str | None = None
    can_end: bool = False


def meaning(status: int, get: Get, body: bytes, output: Callable[[], str]) -> Meaning:
    """Return what an answer means. `get` returns a header field's value, empty if there is none; `output` what is
    handed in for it, if it is the tool's."""
    known = Told("answered", status=status, outcome=get("Holdfast-Outcome"), operation=get("Holdfast-Operation"))
    if get("Proxy-Status").partition(";")[0].strip() == "holdfast":
        return _of_holdfast(status, get, body, known)
    answered = replace(known, output=output())
    if status == 429 or (status == 503 and not known.operation):
        return Retry(answered, retry_after_s(get("Retry-After"), get("Date")))
    if known.outcome == "unknown":
        detail = f"the tool answered {status}, which does not say whether it has acted"
        return Attach(replace(known, verdict="overdue", detail=detail))
    return Definite(answered)


def _of_holdfast(status: int, get: Get, body: bytes, known: Told) -> Meaning:
    try:
        document = msgspec.json.decode(body, type=_Document)
    except msgspec.DecodeError:
        document = _Document()
    slug = document.type.removeprefix(TYPE_PREFIX) if document.type.startswith(TYPE_PREFIX) else ""

    def told(verdict: Verdict) -> Told:
        operation = known.operation or document.operation or ""
        return replace(known, verdict=verdict, operation=operation, detail=document.detail, problem=slug)

    after_s = retry_after_s(get("Retry-After"), get("Date"))
    if slug == "outcome-unknown":
        return Attach(told("overdue")) if document.can_end else Definite(told("unknown"))
    if slug == "in-flight" or status == 202:
        return Attach(told("overdue"))
    if slug in UNREACHED:
        return Retry(told("unreached"), after_s)
    if status == 503:
        return NotYet(told("refused"), after_s)
    if status in {408, 429}:
        return Retry(told("refused"), after_s)
    return Broken(told("overdue")) if slug == "internal" else Definite(told("refused"))


def retry_after_s(field: str, date: str) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110, 10.2.3): a number, or a moment, which counts from the
    answer's own Date. None if there is none that can be read."""
    if field.isascii() and field.isdigit():
        return float(field[:9])
    try:
        return max(0.0, (parsedate_to_datetime(field) - parsedate_to_datetime(date)).total_seconds())
    except (ValueError, TypeError):
        return None
