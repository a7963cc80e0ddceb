"""Executions: each effect once, however many services tell of it."""

from __future__ import annotations

from collections.abc import Iterable

from evaluation.triage.event import Event
from evaluation.triage.executions import Execution, executions, find_executions
from evaluation.triage.ours import PROXY
from evaluation.triage.spill import Spill


def found(events: Iterable[Event]) -> list[Execution]:
    """Return the executions of these events."""
    with Spill(1 << 24) as spill:
        for event in events:
            spill.add(event)
        spill.complete()
        find_executions(spill)
        return list(executions(spill, "1"))


def test_answer_takes_what_it_lacks_from_its_request() -> None:
    """Tool, payload and user are on the line of the sending; its time is the beginning."""
    sent = Event(kind="sent", service="x", at=10, request="r", tool="t", payload="h", user="u")
    (one,) = found([sent, Event(kind="effect", service="x", at=30, request="r", audit="a")])
    assert (one.tool, one.payload, one.user, one.began, one.at, one.heard) == ("t", "h", "u", 10, 30, True)


def test_audit_line_of_the_tool_itself_is_no_hearsay() -> None:
    """Even where the caller's log has the request too; the earlier time is the effect's."""
    sent = Event(kind="sent", service="x", at=10, request="r")
    answer = Event(kind="effect", service="x", at=30, request="r")
    (one,) = found([sent, answer, Event(kind="effect", service="gw", at=20, request="r", audit="a")])
    assert (one.audit, one.at, one.heard) == ("a", 20, False)


def test_audit_id_under_another_call_is_another_execution() -> None:
    """Ids are reused, after a restart for example."""
    assert len(found([Event(kind="effect", audit="a", run=run, call="c") for run in ("r1", "r2")])) == 2


def test_hash_that_others_write_is_taken_before_the_proxys() -> None:
    """Whichever comes first: it can be compared with more."""
    own = Event(kind="effect", service=PROXY, at=2, audit="a", payload="keyed", hashed=PROXY)
    tool = Event(kind="effect", service="gw", at=1, audit="a", payload="plain")
    for order in ([own, tool], [tool, own]):
        (one,) = found(order)
        assert (one.payload, one.hashed) == ("plain", "")


def test_replay_names_an_execution_that_nobody_else_told_of() -> None:
    """A late result is known from who got it: one execution, and not one for each replay."""
    replays = [Event(kind="prevented", service=PROXY, at=at, operation="op", audit="a") for at in (5, 6)]
    (one,) = found(replays)
    assert (one.audit, one.at, one.heard) == ("a", 5, True)


def test_beginning_is_guessed_from_a_duration_where_nothing_else_tells_it() -> None:
    """And marked as such."""
    (one,) = found([Event(kind="effect", at=1_000, took_ms=842, audit="a")])
    assert (one.began, one.began_guessed) == (158, True)
