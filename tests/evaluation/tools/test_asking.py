"""What a request says of itself."""

from __future__ import annotations

from msgspec.structs import replace
from multidict import CIMultiDict

from evaluation.tools.asking import Ask, call_of, payload_hash, read_ask, subject_of

HEADERS = CIMultiDict({
    "x-tenant-id": "acme", "X-User-Id": "usr_1", "X-Thread-Id": "thd_1", "X-Run-Id": "run_1", "X-Step-Id": "stp_1",
    "X-Tool-Call-Id": "call_1", "X-Request-Id": "gw_1", "Holdfast-Operation": "op_1", "Holdfast-Attempt": "2",
})  # fmt: skip
FULL = Ask(
    tool="create_ticket", tenant="acme", user_id="usr_1", thread_id="thd_1", run_id="run_1", step_id="stp_1",
    tool_call_id="call_1", request_id="gw_1", operation="op_1", attempt=2, payload_hash=payload_hash(b"{}"),
)  # fmt: skip


def test_everything_that_is_said_is_read() -> None:
    """Ids by their header fields, whatever the case of these, and the operation with its attempt."""
    assert read_ask("create_ticket", HEADERS, b"{}") == FULL


def test_what_is_not_said_is_empty() -> None:
    """A request without ids is one too; an attempt that is no number is none."""
    assert read_ask("t", {"Holdfast-Attempt": "first"}, b"{}") == Ask(tool="t", payload_hash=payload_hash(b"{}"))


def test_payload_hash_is_of_what_json_means() -> None:
    """The order of members and white space do not matter; any value does. What is no JSON is taken as it is."""
    assert payload_hash(b'{"a": 1, "b": [2.0]}') == payload_hash(b'{"b":[2],"a":1}')
    assert len({payload_hash(body) for body in (b'{"a": 1}', b'{"a": "1"}', b'{"a": 2}', b"{", b" {")}) == 5
    assert len(payload_hash(b"")) == 16


def test_subject_is_made_of_the_parts_that_are_asked_for() -> None:
    """A request of another run about the same thing is the same subject, unless runs are part of it."""
    other = replace(FULL, run_id="run_2")
    assert subject_of(other, ("tenant", "user", "payload")) == subject_of(FULL, ("tenant", "user", "payload"))
    assert subject_of(other, ("run", "call")) != subject_of(FULL, ("run", "call"))


def test_call_is_named_by_the_best_that_is_known_of_it() -> None:
    """Operation, else key, else run and tool call, else what is asked for."""
    bare = read_ask("t", {}, b"{}")
    ids = read_ask("t", {"X-Run-Id": "run_1", "X-Tool-Call-Id": "call_1"}, b"{}")
    assert call_of(FULL, "k_1") == "create_ticket:op_1"
    assert call_of(ids, "k_1") == "t:k_1"
    assert call_of(ids) == "t:run_1/call_1"
    assert call_of(bare) == f"t:{bare.payload_hash}"
