"""The table of refusals, held against the contract's."""

from __future__ import annotations

import json

import pytest

from proxy.problems import Kind, Refused, document, headers

CONTRACT = {
    "key-missing": {400},
    "key-reused": {422},
    "in-flight": {409},
    "outcome-unknown": {504, 502, 409},
    "not-sent": {502, 504},
    "result-unavailable": {409},
    "store-unavailable": {503},
    "too-large": {413},
    "overloaded": {503},
    "bad-request": {400},
    "body-timeout": {408},
    "denied": {403},
    "not-executed": {409},
    "not-found": {404},
}
"""Contract, section 1, and what attaching to an operation can be told beside it (decision 0021)."""

EXECUTED_MAYBE = {"in-flight", "outcome-unknown", "result-unavailable", "key-reused", "store-unavailable", "overloaded"}


@pytest.mark.parametrize("slug", CONTRACT)
def test_every_problem_of_the_contract_has_its_statuses(slug: str) -> None:
    """Nothing is missing, and nothing has another status than was promised."""
    statuses = {kind.value.status for kind in Kind if kind.value.slug == slug}
    assert statuses >= CONTRACT[slug]
    if slug != "bad-request":  # which covers 405, 501 and 505 as well
        assert statuses == CONTRACT[slug]


@pytest.mark.parametrize("kind", list(Kind))
def test_retry_after_comes_with_what_passes(kind: Kind) -> None:
    """In flight, store down and overload are over soon; a client is told when to come again."""
    fields = dict(headers(kind, 0))
    soon = kind.value.slug in {"in-flight", "store-unavailable", "overloaded"}
    assert (b"Retry-After" in fields) == soon
    if soon:
        assert kind.value.sdk_retry


@pytest.mark.parametrize("kind", list(Kind))
def test_sdks_are_told_not_to_retry_what_a_blind_retry_cannot_help(kind: Kind) -> None:
    """openai-python and others obey `x-should-retry`; an unknown outcome must not be hammered."""
    fields = dict(headers(kind, 0))
    assert (fields.get(b"x-should-retry") == b"false") == (not kind.value.sdk_retry)
    if kind.value.slug in {"outcome-unknown", "result-unavailable", "key-reused", "key-missing"}:
        assert fields[b"x-should-retry"] == b"false"


@pytest.mark.parametrize("kind", list(Kind))
def test_another_key_is_called_safe_only_where_nothing_can_have_run(kind: Kind) -> None:
    """What may have run under this key must not be run again under another (I5)."""
    if kind.value.slug in EXECUTED_MAYBE:
        assert not kind.value.safe_new_key


def test_document_leaves_out_nothing() -> None:
    """Machines read all members of every problem."""
    made = json.loads(document(Kind.NOT_SENT, "refused", "op_1", "free"))
    assert made == {
        "type": "urn:holdfast:problem:not-sent", "title": Kind.NOT_SENT.value.title, "status": 502, "detail": "refused",
        "operation": "op_1", "state": "free", "retry": "same-key", "safe_new_key": True,
    }  # fmt: skip


def test_refused_carries_what_the_answer_needs() -> None:
    """Raised where parsing cannot go on."""
    refused = Refused(Kind.TOO_LARGE, "why", close=True)
    assert (refused.kind, refused.detail, refused.close) == (Kind.TOO_LARGE, "why", True)
