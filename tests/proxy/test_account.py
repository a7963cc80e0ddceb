"""An operation as it is told to people."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ledger.records import Alias, Call, Completed, Event, Free, InFlight, Probing, Record, Unknown
from policies.model import HOUR_MS, UnknownRules
from proxy.account import account, can_end, instant, with_history
from tests.proxy.world import POLICY

AT_MS = 1_700_000_000_000
BASE: dict[str, Any] = {
    "operation": "op_1", "fingerprint": "secret-digest", "call": Call("-", "create_ticket", "run_1", "call_1"),
    "created_ms": AT_MS, "attempt": 5, "tokens": ("t4", "t5"),
    "history": (Event(AT_MS, "claimed", "t1"), Event(AT_MS, "claimed", "t4"), Event(AT_MS + 1, "lost", "t5", "reset")),
}  # fmt: skip
UNKNOWN = Unknown(**BASE, since_ms=AT_MS + 1_000, why="timeout")


def told(record: Record, *, lease_left_ms: int | None = None, resends: bool = False) -> dict[str, Any]:
    """Return the account of a record, a minute after it was made."""
    rules = UnknownRules("resend", HOUR_MS) if resends else UnknownRules()
    return account(
        record, has_result=False, lease_left_ms=lease_left_ms, now_ms=AT_MS + 61_000, payload_hash="keyed",
        policy=replace(POLICY, unknown=rules),
    )  # fmt: skip


def test_every_state_is_told_with_its_age_and_its_call_and_without_its_fingerprint() -> None:
    """A program can rely on the same members in all of them."""
    records: list[Record] = [
        InFlight(**BASE),
        UNKNOWN,
        Completed(**BASE, completed_ms=AT_MS, status=200, digest="d"),
        Free(**BASE, since_ms=AT_MS, why="ruling"),
        Alias(**BASE, of="op_2", since_ms=AT_MS),
    ]
    for record in records:
        shown = told(record)
        assert (shown["operation"], shown["tool"], shown["run_id"]) == ("op_1", "create_ticket", "run_1")
        assert shown["age_s"] in {60, 61}
        assert shown["created"] == instant(AT_MS)
        assert "secret-digest" not in str(shown)
    assert [told(record)["state"] for record in records] == ["in_flight", "unknown", "completed", "free", "alias"]


def test_unknown_tells_what_can_still_end_it() -> None:
    """A reply that is listened to, probes, resends while their window is open, and always an operator."""
    listening = replace(UNKNOWN, listening=True)
    assert told(UNKNOWN)["can_end"] == ["a ruling"]
    assert told(listening, lease_left_ms=5_000)["can_end"] == ["a late reply", "a ruling"]
    assert told(listening, lease_left_ms=-1)["can_end"] == ["a ruling"], "its listener is dead"
    probing = told(replace(UNKNOWN, probing=Probing(3, 9_000, 5_000)), lease_left_ms=4_000)
    assert probing["can_end"] == ["a probe", "a ruling"]
    assert probing["probing"] == {"asked": 3, "next_in_ms": 4_000}
    resends = told(UNKNOWN, resends=True)
    assert resends["can_end"] == ["a resend", "a ruling"]
    assert resends["resend_until"] == instant(AT_MS + HOUR_MS)


def test_history_counts_attempts_in_place_of_tokens() -> None:
    """Of tokens that have been forgotten no attempt can be told."""
    lines = with_history({}, UNKNOWN)["history"]
    assert [(line["what"], line.get("attempt")) for line in lines] == [("claimed", None), ("claimed", 4), ("lost", 5)]
    assert lines[-1]["detail"] == "reset"
    assert "t5" not in str(lines)


def test_who_asks_is_told_whether_an_unknown_may_end_without_an_operator() -> None:
    """What operators are told of its ends, in one word; what is no longer unknown has ended."""
    resending = replace(POLICY, unknown=UnknownRules("resend", HOUR_MS))
    assert not can_end(UNKNOWN, AT_MS, POLICY)
    assert can_end(replace(UNKNOWN, listening=True), AT_MS, POLICY)
    assert can_end(replace(UNKNOWN, probing=Probing(3, 9_000, 5_000)), AT_MS, POLICY)
    assert can_end(UNKNOWN, AT_MS + HOUR_MS - 1, resending)
    assert not can_end(UNKNOWN, AT_MS + HOUR_MS, resending)
    assert can_end(Completed(**BASE, completed_ms=AT_MS, status=200, digest="d"), AT_MS, POLICY)
    assert can_end(None, AT_MS, POLICY)
