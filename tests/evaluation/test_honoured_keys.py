"""One key, one effect: what a tool that honours idempotency keys says to each request."""

from __future__ import annotations

import pytest

from evaluation.honoured_keys import HonouredKeys, Known, Word
from policies.selector import parse_selector

HEADER = parse_selector("header:Idempotency-Key")


def test_key_is_at_work_then_done_and_never_another_requests() -> None:
    """The words a key goes through; the payload's hash tells one request from another."""
    keys = HonouredKeys(HEADER, [])
    assert keys.arrived("create_ticket", "k_1", "h_1") == (Word.FRESH, "")
    assert keys.arrived("create_ticket", "k_1", "h_1") == (Word.AT_WORK, "")
    assert keys.arrived("create_ticket", "k_1", "h_2") == (Word.OTHER_REQUEST, "")
    keys.ended("create_ticket", "k_1", "h_1", "tkt_1")
    assert keys.arrived("create_ticket", "k_1", "h_1") == (Word.DONE, "tkt_1")
    assert keys.arrived("create_ticket", "k_1", "h_2") == (Word.OTHER_REQUEST, "")


def test_work_that_came_to_nothing_may_be_tried_again_under_its_key() -> None:
    """A key is used up by an effect, not by an attempt."""
    keys = HonouredKeys(HEADER, [])
    keys.arrived("create_ticket", "k_1", "h_1")
    keys.ended("create_ticket", "k_1", "h_1", None)
    assert keys.arrived("create_ticket", "k_1", "h_1") == (Word.FRESH, "")


def test_keys_of_a_ledger_are_done_and_each_tools_are_its_own() -> None:
    """What was executed before the tool started counts; entries without a key do not."""
    keys = HonouredKeys(HEADER, [("create_ticket", "k_1", Known("h_1", "tkt_1")), ("create_ticket", "", Known("h_2"))])
    assert keys.arrived("create_ticket", "k_1", "h_1") == (Word.DONE, "tkt_1")
    assert keys.arrived("send_email", "k_1", "h_1") == (Word.FRESH, "")


@pytest.mark.parametrize(
    ("selector", "headers", "body", "key"),
    [
        ("header:Idempotency-Key", {"Idempotency-Key": "k_1"}, b"", "k_1"),
        ("header:Idempotency-Key", {}, b"", ""),
        ("body:/meta/request_id", {}, b'{"meta": {"request_id": "k_1"}}', "k_1"),
        ("body:/meta/request_id", {}, b'{"meta": {}}', ""),
        ("body:/meta/request_id", {}, b"no JSON", ""),
        ("body:/meta/request_id", {}, b"\xff", ""),
    ],
)
def test_key_is_where_the_selector_says_or_there_is_none(
    selector: str, headers: dict[str, str], body: bytes, key: str
) -> None:
    """A request without a key is an ordinary one."""
    assert HonouredKeys(parse_selector(selector), []).key_of(headers, body) == key
