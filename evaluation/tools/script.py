"""How the simulated tools are to behave: a script in YAML or JSON, with one set of fields for each tool.

A tool's fields are, from the weakest to the strongest, those that all tools are born with, those under `_default`,
those that the tool is born with (`BORN`), and those under its own name; `rates` are merged one by one. A name that
stands nowhere is a tool too, as `_default` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from evaluation.scripts import BadScript, Range, convert, load
from evaluation.tools.faults import Fault
from policies.selector import parse_selector

DEFAULT = "_default"

BORN: dict[str, dict[str, Any]] = {
    "create_ticket": {"prefix": "tkt", "lookup": "/tickets"},
    "send_email": {"prefix": "eml", "lookup": "/emails", "status": 202},
    "refund_payment": {"prefix": "rfd", "lookup": "/refunds"},
    "update_crm": {"prefix": "crm", "lookup": "/crm_updates", "status": 200},
    "search_kb": {"effect": "read"},
    "get_order": {"effect": "read"},
    "get_customer": {"effect": "read"},
    "list_tickets": {"effect": "read"},
}
"""What is known of the tools of the seeds without a script."""


ANSWERED = (200, 201, 202, 203)
"""The statuses of success that have a body, where the audit id is."""


class HonouredKey(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a tool that honours idempotency keys finds them, `header:NAME` or `body:/POINTER`, and for how many seconds
    it knows one, from its effect."""

    at: str = "header:Idempotency-Key"
    window: float = 24 * 3600

    def __post_init__(self) -> None:
        if parse_selector(self.at).kind == "value":
            raise ValueError(f"{self.at!r} is the same for every request: write header:NAME or body:/POINTER")
        if self.window <= 0:
            raise ValueError(f"window is {self.window:g}: write seconds above 0")


class Tool(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How one tool behaves. Times are in seconds.

    effect       whether it changes anything; what reads is counted and leaves no line in the audit.
    prefix       how its audit ids begin.
    status       of the answer to an effect.
    latency      from a request's arrival to its effect, usually.
    latencies    in place of that: of the first request with a subject (see `Script`), the second …; the last repeats.
    slow         in place of that, when `slow` strikes.
    limit, past  the caller's time limit, and by how much `over-limit` and `late-answer` miss it (below 0: just made).
    retry_after  what the 429 of `throttled` says.
    rates        how often each fault befalls a request, between 0 and 1.
    key          how it honours idempotency keys, if it does.
    lookup       the path on which it tells what was done under `?external_ref=`, by default `/tools/<tool>`.
    lag          from an effect to its being found there.
    """

    effect: Literal["write", "read"] = "write"
    prefix: str = "aud"
    status: int = 201
    latency: Range = Range(0, 0)
    latencies: tuple[float, ...] = ()
    slow: Range = Range(1, 3)
    limit: float = 10
    past: Range = Range(0.1, 2)
    retry_after: int = 1
    rates: dict[Fault, float] = {}
    key: HonouredKey | None = None
    lookup: str = ""
    lag: Range = Range(0, 0)

    def __post_init__(self) -> None:
        for fault, rate in self.rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"the rate of {fault.value} is {rate}: write a number between 0 and 1")
        shortest = (*self.latencies, self.latency.low, self.slow.low, self.lag.low, self.limit + self.past.low)
        if min(shortest) < 0 or self.retry_after < 0:
            raise ValueError("a time is below 0")
        if self.status not in ANSWERED:
            raise ValueError(f"status is {self.status}: an effect is answered {', '.join(map(str, ANSWERED))}")
        if self.lookup and not self.lookup.startswith("/"):
            raise ValueError(f"lookup is {self.lookup!r}: a path begins with /")


Subject = Literal["tenant", "user", "thread", "run", "call", "payload"]


class Script(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How all tools behave; `seed` decides every draw.

    override  whether a request may say what befalls it, in `X-Simulate`.
    subject   what a draw is about, beside the tool: the same request again is the same subject, asked once more. The
              default is what the workload decides and no process makes up, so that a fault befalls the same calls again
              when a scenario is repeated, whatever their runs are called then.
    """

    seed: int = 0
    override: bool = False
    subject: tuple[Subject, ...] = ("tenant", "user", "payload")
    tools: dict[str, Tool] = {}

    def tool(self, name: str) -> Tool:
        """Return how a tool behaves, whether or not the script names it."""
        return self.tools.get(name) or self.tools[DEFAULT]


def script_from(found: Any, path: Path) -> Script:
    """Return a script from a decoded document. Raises `BadScript`, which names `path` and the field."""
    told = found.get("tools") or {} if isinstance(found, dict) else {}
    if not isinstance(found, dict) or not isinstance(told, dict):
        raise BadScript(f"{path}: a script is a map, and so are its tools")
    if wrong := [name for name, fields in told.items() if not isinstance(fields, dict | None)]:
        raise BadScript(f"{path}: the fields of {wrong[0]} are no map")
    default = told.get(DEFAULT) or {}
    names = [DEFAULT, *BORN, *(name for name in told if name != DEFAULT)]
    tools = {name: _merged(default, BORN.get(name, {}), told.get(name) or {}) for name in names}
    script = convert(path, {**found, "tools": tools}, Script)
    _check_lookups(path, script)
    return script


def read_script(path: Path) -> Script:
    """Return the script in a file. Raises `BadScript` and `OSError`."""
    return script_from(load(path), path)


def built_in() -> Script:
    """Return how tools behave without a script: at once, and well."""
    return script_from({}, Path("built in"))


def _merged(*layers: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for fields in layers:
        known, more = merged.get("rates"), fields.get("rates")
        merged |= fields
        if isinstance(known, dict) and isinstance(more, dict):
            merged["rates"] = {**known, **more}
    return merged


def _check_lookups(path: Path, script: Script) -> None:
    taken: dict[str, str] = {}
    for name, tool in script.tools.items():
        if tool.lookup and taken.setdefault(tool.lookup, name) != name:
            raise BadScript(f"{path}: {name} and {taken[tool.lookup]} are looked up on the same path, {tool.lookup}")
