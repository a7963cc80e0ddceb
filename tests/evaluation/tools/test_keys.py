"""One key, one effect: what a tool that honours idempotency keys says to each request."""

from __future__ import annotations

from typing import Any

import pytest

from evaluation.tools.keys import HonouredKeys, Word
from policies.selector import parse_selector

HEADER = parse_selector("header:Idempotency-Key")


def honoured(window_s: float = 60) -> HonouredKeys:
    """Return keys of which none has come."""
    return HonouredKeys(HEADER, window_s)


def test_key_is_at_work_then_done_and_never_another_requests() -> None:
    """The words a key goes through; the payload's hash tells one request from another."""
    keys = honoured()
    assert keys.arrived("t", "k_1", "h_1", 0) == (Word.FRESH, b"")
    assert keys.arrived("t", "k_1", "h_1", 1) == (Word.AT_WORK, b"")
    assert keys.arrived("t", "k_1", "h_2", 1) == (Word.OTHER_REQUEST, b"")
    keys.ended("t", "k_1", "h_1", b"tkt_1", 2)
    assert keys.arrived("t", "k_1", "h_1", 3) == (Word.DONE, b"tkt_1")
    assert keys.arrived("t", "k_1", "h_2", 3) == (Word.OTHER_REQUEST, b"")


def test_work_that_came_to_nothing_may_be_tried_again_under_its_key() -> None:
    """A key is used up by an effect, not by an attempt."""
    keys = honoured()
    keys.arrived("t", "k_1", "h_1", 0)
    keys.ended("t", "k_1", "h_1", None, 1)
    assert keys.arrived("t", "k_1", "h_1", 2) == (Word.FRESH, b"")


def test_key_is_forgotten_after_its_window_and_not_while_it_is_at_work() -> None:
    """From its effect on it is known for so long; then the same key is a new one, whatever comes under it."""
    keys = honoured(window_s=60)
    keys.arrived("t", "k_1", "h_1", 0)
    assert keys.arrived("t", "k_1", "h_1", 1000)[0] is Word.AT_WORK
    keys.ended("t", "k_1", "h_1", b"tkt_1", 1000)
    assert keys.arrived("t", "k_1", "h_1", 1059)[0] is Word.DONE
    assert keys.arrived("t", "k_1", "h_2", 1060)[0] is Word.FRESH


def test_each_tenants_keys_are_its_own() -> None:
    """Two tenants may use the same key."""
    keys = honoured()
    keys.ended("acme", "k_1", "h_1", b"tkt_1", 0)
    assert keys.arrived("globex", "k_1", "h_2", 1)[0] is Word.FRESH


@pytest.mark.parametrize(
    ("selector", "headers", "document", "key"),
    [
        ("header:Idempotency-Key", {"Idempotency-Key": "k_1"}, {}, "k_1"),
        ("header:Idempotency-Key", {}, {}, ""),
        ("body:/meta/request_id", {}, {"meta": {"request_id": "k_1"}}, "k_1"),
        ("body:/meta/request_id", {}, {"meta": {}}, ""),
    ],
)
def test_key_is_where_the_selector_says_or_there_is_none(
    selector: str, headers: dict[str, str], document: Any, key: str
) -> None:
    """A request without a key is an ordinary one."""
    assert HonouredKeys(parse_selector(selector), 60).key_of(headers, document) == key
