"""What the store is asked to keep of each record, and for how long."""

from __future__ import annotations

import pytest

from ledger.records import decode
from ledger.store import Write
from ledger.writes import SHARED_MS, write_of
from policies.model import ResultRules
from tests.ledger.samples import OPERATION, RECORDS, completed, free, in_flight, unknown

RULES = ResultRules(retention_ms=1_000, remember_ms=5_000)
LEASE_MS = 15_000
RESULT = b"a stored reply"

KEPT = {
    "in flight": ("in_flight", LEASE_MS, None, None),
    "unknown": ("unknown", None, SHARED_MS, None),
    "unknown, listening": ("unknown", LEASE_MS, SHARED_MS, None),
    "completed": ("completed", None, 1_000, 5_000),
    "free": ("free", None, SHARED_MS, 5_000),
}
"""Phase, lease, how long a result is kept, and when all is forgotten; milliseconds, None for never."""


def write(state: str, result: bytes | None) -> Write:
    """Return the write that puts a sample in its place."""
    return write_of(RECORDS[state], "v1", RULES, LEASE_MS, result)


@pytest.mark.parametrize("state", KEPT)
def test_record_goes_to_the_store_with_the_times_of_its_state(state: str) -> None:
    """The record itself is what was meant, and its phase, lease, retention and end are what the table says."""
    phase, lease_ms, _, forget_ms = KEPT[state]
    made = write(state, None)
    assert decode(made.record, OPERATION) == RECORDS[state]
    assert (made.version, made.phase, made.lease_ms, made.forget_ms) == ("v1", phase, lease_ms, forget_ms)
    assert (made.result, made.result_ms) == (None, None)


@pytest.mark.parametrize("state", [state for state in KEPT if state != "in flight"])
def test_result_is_kept_as_long_as_its_state_says(state: str) -> None:
    """For retention if it settles the call, else just long enough for whoever joined on another replica."""
    made = write(state, RESULT)
    assert (made.result, made.result_ms) == (RESULT, KEPT[state][2])


def test_nothing_in_flight_has_a_result() -> None:
    """What has not ended has brought nothing."""
    assert write("in flight", RESULT).result is None


def test_unknown_is_never_forgotten() -> None:
    """An unknown outcome that was forgotten would be executed again: it waits for the truth, however long."""
    for record in (unknown(), unknown(listening=True), in_flight()):
        assert write_of(record, "v", RULES, LEASE_MS).forget_ms is None


def test_only_who_is_alive_has_a_lease() -> None:
    """A lease on what nobody works on would only bring sweeps that find nothing to do."""
    for record in (unknown(), completed(), free()):
        assert write_of(record, "v", RULES, LEASE_MS).lease_ms is None
