"""Notifications of runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from evaluation.variants.notices import Notice, Notices
from evaluation.variants.turn_api import BadNotice

SECRET = "whsec_aG9sZGZhc3QtdGVzdC1zZWNyZXQtMDAwMDAx"


def signed(body: str, secret: str = SECRET) -> dict[str, str]:
    """Return the header fields of a notification."""
    at = datetime.now(tz=UTC)
    told = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(at.timestamp()))}
    return told | {"Webhook-Signature": Webhook(secret).sign("msg_1", at, body)}


@pytest.fixture
def notices(tmp_path: Path) -> Notices:
    """A reader of notifications."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    return Notices(tmp_path / "secret")


def test_signed_notification_says_what_became_of_which_run(notices: Notices) -> None:
    """It is thin: ids and a status."""
    body = json.dumps({"type": "thread.run.x", "data": {"thread_id": "t", "run_id": "r", "status": "x"}})
    assert notices.read(signed(body), body.encode()) == Notice("msg_1", "t", "r", "x")


@pytest.mark.parametrize("fields", [{}, signed("{}", "whsec_b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldA=="), signed("other")])
def test_notification_that_is_not_signed_is_refused(notices: Notices, fields: dict[str, str]) -> None:
    """Whoever sent it, it costs no look."""
    with pytest.raises(BadNotice) as refused:
        notices.read(fields, b"{}")
    assert refused.value.why == "unauthorized"


def test_notification_of_nothing_is_refused(notices: Notices) -> None:
    """Though it is signed."""
    with pytest.raises(BadNotice) as refused:
        notices.read(signed("{}"), b"{}")
    assert refused.value.why == "bad-request"


def test_file_without_a_secret_is_refused(tmp_path: Path) -> None:
    """At start, and not when the first notification comes."""
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ValueError, match="no secret"):
        Notices(tmp_path / "secret")
