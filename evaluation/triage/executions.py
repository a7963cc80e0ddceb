"""Executions: what the events say was done, each effect once, however many services tell of it.

Two events tell of one execution if they have its audit id, or the same operation and attempt, or, where neither names
an audit id, the same request. What an event lacks (tool, payload, user, run) is taken from the request that it answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from evaluation.triage.event import Event
from evaluation.triage.ours import CUT, PROXY
from evaluation.triage.spill import Spill

FIELDS = ("tenant", "user", "conversation", "tool", "hashed", "payload", "thread", "run", "step", "call")
"""What is taken from whichever event has it; `hashed` goes with `payload`."""

NAMES = ("audit", "operation", "request")


class Execution(Struct, kw_only=True):
    """One thing that was done. `at` is the earliest time at which the logs have it as done (None: at no known time),
    `began` when its request was sent or arrived, or (`began_guessed`) when it must have been if `at` is its end.

    `heard` says that the logs have only a caller's word: the time is that of an answer, not of the effect.
    """

    id: int
    name: str
    at: int | None
    began: int | None
    began_guessed: bool
    heard: bool
    cut: bool
    tenant: str
    user: str
    conversation: str
    tool: str
    hashed: str
    payload: str
    thread: str
    run: str
    step: str
    call: str
    audit: str
    operation: str
    request: str
    attempt: int
    service: str


COLUMNS = Execution.__struct_fields__


def find_executions(spill: Spill) -> int:
    """Fill the table of executions and return how many there are. Raises `SpillFull`."""
    kinds = ", ".join("id INTEGER PRIMARY KEY" if column == "id" else column for column in COLUMNS)
    spill.run(f"CREATE TABLE execution ({kinds}, UNIQUE (name))")
    spill.run("BEGIN")
    for event in spill.events("kind IN ('effect', 'prevented') AND (kind = 'effect' OR audit <> '')", by="by_kind"):
        _merge(spill, _execution(spill, event))
    spill.run("COMMIT")
    spill.run("CREATE INDEX same_payload ON execution (tenant, user, hashed, tool, payload, at) WHERE payload <> ''")
    spill.run("CREATE INDEX same_call ON execution (tenant, run, call, tool, payload) WHERE run <> '' AND call <> ''")
    return int(spill.value("SELECT count(*) FROM execution"))


def _execution(spill: Spill, event: Event) -> Execution:
    asked = _asked(spill, event)
    fields: dict[str, Any] = {field: getattr(event, field) or getattr(asked, field, "") for field in FIELDS}
    if event.payload:
        fields["hashed"] = event.hashed
    audit = event.audit or _audit_of(spill, event)
    name = audit or (f"{event.operation}#{event.attempt}" if event.operation else event.request)
    began, guessed = event.began, False
    if began is None and asked is not None:
        began = asked.at
    if began is None and event.took_ms and event.at is not None:
        began, guessed = event.at - event.took_ms, True
    return Execution(
        id=0, name=name or f"{event.file}:{event.line}", at=event.at, began=began, began_guessed=guessed,
        heard=event.service == PROXY or (asked is not None and asked.service == event.service),
        cut=event.detail.startswith(CUT), audit=audit, operation=event.operation, request=event.request,
        attempt=event.attempt, service=event.service, **fields,
    )  # fmt: skip


def _asked(spill: Spill, event: Event) -> Event | None:
    """Return the sending of the request that this answers, from the service that heard the answer or any other."""
    if not event.request:
        return None
    where = "request = ? AND request <> '' AND kind = 'sent'"
    return next(spill.events(where, event.request, by="by_request", limit=1), None)


def _audit_of(spill: Spill, event: Event) -> str:
    """Return the audit id that another event has for the same attempt or request."""
    if event.operation:
        found = spill.value(
            "SELECT min(audit) FROM event INDEXED BY by_operation "
            "WHERE operation = ? AND operation <> '' AND attempt = ? AND kind = 'effect' AND audit <> ''",
            event.operation, event.attempt,
        )  # fmt: skip
    else:
        found = spill.value(
            "SELECT min(audit) FROM event INDEXED BY by_request "
            "WHERE request = ? AND request <> '' AND kind = 'effect' AND audit <> ''",
            event.request,
        )
    return str(found or "")


def _merge(spill: Spill, new: Execution) -> None:
    """Put an execution in, or what it adds to what stands under its name; other ids under one name are another."""
    standing = named(spill, new.name)
    if standing is not None and _contradict(standing, new):
        new.name = f"{new.name} {new.run} {new.call}"
        standing = named(spill, new.name)
    if standing is None:
        marks = ", ".join("?" * (len(COLUMNS) - 1))
        values = [getattr(new, column) for column in COLUMNS[1:]]
        spill.run(f"INSERT INTO execution ({', '.join(COLUMNS[1:])}) VALUES ({marks})", *values)  # noqa: S608
        return
    if standing.hashed and new.payload and not new.hashed:  # a hash that others write too can be compared with more
        standing.payload, standing.hashed = new.payload, ""
    elif not standing.payload:
        standing.payload, standing.hashed = new.payload, new.hashed
    for field in FIELDS:
        if field != "hashed" and not getattr(standing, field):
            setattr(standing, field, getattr(new, field))
    for field in ("audit", "operation", "request"):
        setattr(standing, field, getattr(standing, field) or getattr(new, field))
    standing.at = min((at for at in (standing.at, new.at) if at is not None), default=None)
    if new.began is not None and (standing.began is None or (standing.began_guessed and not new.began_guessed)):
        standing.began, standing.began_guessed = new.began, new.began_guessed
    standing.heard = standing.heard and new.heard
    standing.cut = standing.cut or new.cut
    sets = ", ".join(f"{column} = ?" for column in COLUMNS[1:])
    values = [getattr(standing, column) for column in COLUMNS[1:]]
    spill.run(f"UPDATE execution SET {sets} WHERE id = ?", *values, standing.id)  # noqa: S608


def _contradict(a: Execution, b: Execution) -> bool:
    return any(
        getattr(a, field) != getattr(b, field) for field in ("run", "call") if getattr(a, field) and getattr(b, field)
    )


def named(spill: Spill, name: str) -> Execution | None:
    """Return the execution under a name."""
    return next(executions(spill, "name = ?", name), None)


def executions(spill: Spill, where: str, *values: object, limit: int = -1) -> Iterator[Execution]:
    """Yield the executions that fulfil a condition, in the order of their times."""
    wanted = f"SELECT {', '.join(COLUMNS)} FROM execution WHERE {where} ORDER BY at, name LIMIT {limit}"  # noqa: S608
    for row in spill.run(wanted, *values):
        found = dict(zip(COLUMNS, row, strict=True))
        for flag in ("began_guessed", "heard", "cut"):
            found[flag] = bool(found[flag])
        yield Execution(**found)
