"""Notifications: who signed well is believed that a run is worth a look; nobody else is believed anything."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from standardwebhooks import Webhook

from coordinator.webhooks import BODY_BYTES_MAX, TOLERANCE_S, BadWebhook, Notice, Webhooks
from evaluation.assistants import webhooks as simulator
from evaluation.assistants.script import Fate, Rates, Script
from evaluation.assistants.things import Run

NOW = 1_800_000_000
ONE, TWO = ("whsec_" + base64.b64encode(word * 6).decode() for word in (b"one!", b"two!"))
EVENT = {"type": "thread.run.requires_action", "data": {"thread_id": "thread_1", "run_id": "run_1"}}
NOTICE = Notice("msg_1", "thread_1", "run_1", "requires_action")


def signed(
    event: Any = EVENT, *, secret: str = ONE, at: int = NOW, webhook_id: str = "msg_1", **changed: str
) -> tuple[CIMultiDict[str], bytes]:
    """Return fields and body of a notification, some fields changed after it was signed."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signature = Webhook(secret).sign(webhook_id, datetime.fromtimestamp(at, UTC), body.decode("latin-1"))
    fields = {"webhook-id": webhook_id, "webhook-timestamp": str(at), "webhook-signature": signature}
    return CIMultiDict(fields | {name.replace("_", "-"): value for name, value in changed.items()}), body


def renamed(webhook_id: str, other: str) -> tuple[CIMultiDict[str], bytes]:
    """Return a notification that was signed under one id and comes under another."""
    fields, body = signed(webhook_id=webhook_id)
    fields["webhook-id"] = other
    return fields, body


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A file with one secret."""
    path = tmp_path / "secrets"
    path.write_text(ONE + "\n")
    return path


@pytest.fixture
def webhooks(secrets: Path) -> Webhooks:
    """Verification at a fixed time."""
    return Webhooks(str(secrets), now=lambda: NOW)


def refused(webhooks: Webhooks, fields: CIMultiDict[str], body: bytes) -> str:
    """Return why a notification is refused."""
    with pytest.raises(BadWebhook) as told:
        webhooks.verify(fields, body)
    assert str(told.value)
    return told.value.why


def test_signed_notification_names_its_run(webhooks: Webhooks) -> None:
    """Ids and what became of the run; whatever else it holds is not looked at."""
    assert webhooks.verify(*signed()) == NOTICE
    run = {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "status": "completed", "tools": [1]}
    assert webhooks.verify(*signed({"type": "thread.run.requires_action", "data": run})) == NOTICE
    step = {"id": "step_1", "object": "thread.run.step", "thread_id": "thread_1", "run_id": "run_1"}
    told = webhooks.verify(*signed({"type": "thread.run.step.created", "data": step}))
    assert told == Notice("msg_1", "thread_1", "run_1", "step.created")


async def test_simulator_is_believed(secrets: Path) -> None:
    """What the simulated API sends over HTTP, doubled as well, is verified with the real clock."""
    told: list[Notice] = []
    came = asyncio.Event()
    webhooks = Webhooks(str(secrets))

    async def take(request: web.Request) -> web.Response:
        told.append(webhooks.verify(request.headers, await request.read()))
        if len(told) == 2:
            came.set()
        return web.Response()

    application = web.Application()
    application.router.add_post("/hook", take)
    async with TestServer(application) as server:
        fate = Fate(Script(rates=Rates(webhook_twice=1)))
        sender = simulator.Webhooks([simulator.Receiver(str(server.make_url("/hook")))], ONE, fate)
        sender.notify(Run("run_1", "thread_1", "asst_1", 0, 600, [], status="requires_action"))
        await came.wait()
        await sender.close()
    assert {(one.thread_id, one.run_id, one.status) for one in told} == {("thread_1", "run_1", "requires_action")}
    assert len({one.webhook_id for one in told}) == 1


@pytest.mark.fault(70)
@pytest.mark.parametrize(
    "notification",
    [
        signed(secret=TWO),
        signed(webhook_signature="v1,"),
        signed(webhook_signature="nonsense"),
        signed(webhook_signature=""),
        signed(webhook_signature="v1,\udcff"),
        (signed()[0], signed()[1] + b" "),
        renamed("msg_2", "msg_1"),
        signed(at=NOW - 1, webhook_timestamp=str(NOW)),
        signed(b'{"type": "\xff"}'),
    ],
    ids=["secret", "empty", "nonsense", "none", "bytes", "body", "id", "time", "no text"],
)  # fmt: skip
def test_forged_notification_is_refused(webhooks: Webhooks, notification: tuple[CIMultiDict[str], bytes]) -> None:
    """Another secret, or one byte of body, id or time that was not signed."""
    assert refused(webhooks, *notification) == "unsigned"


@pytest.mark.fault(70)
@pytest.mark.parametrize("late_s", [TOLERANCE_S + 1, -TOLERANCE_S - 1])
def test_notification_replayed_after_five_minutes_is_refused(webhooks: Webhooks, late_s: int) -> None:
    """However well it is signed, and whichever clock is wrong; to the second before, it counts."""
    assert refused(webhooks, *signed(at=NOW - late_s)) == "stale"
    within = TOLERANCE_S if late_s > 0 else -TOLERANCE_S
    assert webhooks.verify(*signed(at=NOW - within)) == NOTICE


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_doubled_or_missing_field_is_refused(webhooks: Webhooks, name: str) -> None:
    """Two readers could take two different ones, even if one of them was signed."""
    fields, body = signed()
    doubled = CIMultiDict(fields)
    doubled.add(name.title(), fields[name])
    assert refused(webhooks, doubled, body) == "unsigned"
    del fields[name]
    assert refused(webhooks, fields, body) == "unsigned"


@pytest.mark.parametrize("timestamp", ["", "nan", "inf", "1e9", f"{NOW}.5", f"+{NOW}", "-1", "9" * 400, "١٢"])
def test_time_that_is_not_whole_seconds_is_refused(webhooks: Webhooks, timestamp: str) -> None:
    """Python reads more as a number than senders write."""
    assert refused(webhooks, *signed(webhook_timestamp=timestamp)) == "unsigned"


@pytest.mark.parametrize("webhook_id", ["x" * 256, "a b", "a\x00"])
def test_id_that_cannot_be_remembered_is_refused(webhooks: Webhooks, webhook_id: str) -> None:
    """It becomes a key in the store."""
    assert refused(webhooks, *signed(webhook_id=webhook_id)) == "unsigned"


@pytest.mark.parametrize(
    "event",
    [
        b"{", b"[]", b"", {"data": {}}, {"type": 1},
        {"type": "thread.run.failed"}, {"type": "thread.run.failed", "data": 1},
        {"type": "thread.run.failed", "data": {"run_id": "run_1"}},
        {"type": "thread.run.failed", "data": {"thread_id": "thread_1"}},
        {"type": "thread.run.failed", "data": {"thread_id": "thread_1", "run_id": "run 1"}},
        {"type": "thread.run.step.created", "data": {"thread_id": "t", "id": "step_1", "object": "thread.run.step"}},
        b"[" * 60_000, b" " * (BODY_BYTES_MAX + 1),
    ],
)  # fmt: skip
def test_malformed_notification_is_refused_as_such(webhooks: Webhooks, event: Any) -> None:
    """It is signed well, and says nothing that can be used: the sender's fault, and not a forger's."""
    assert refused(webhooks, *signed(event)) == "malformed"


def test_notification_about_something_else_is_no_fault(webhooks: Webhooks) -> None:
    """A sender may tell of more than runs."""
    assert webhooks.verify(*signed({"type": "ping"})) == Notice("msg_1", "", "", "ping")


def test_rotated_secret_counts_from_the_next_notification_on(secrets: Path, webhooks: Webhooks) -> None:
    """Two lines are a rotation under way; the one that was taken out signs nothing any more."""
    assert refused(webhooks, *signed(secret=TWO)) == "unsigned"
    _replace(secrets, f"{TWO}\n{ONE}\n")
    assert [webhooks.verify(*signed(secret=secret)) for secret in (ONE, TWO)] == [NOTICE, NOTICE]
    _replace(secrets, f"{TWO}\n")
    assert webhooks.verify(*signed(secret=TWO)) == NOTICE
    assert refused(webhooks, *signed()) == "unsigned"


def test_sender_that_rotates_signs_twice_and_is_believed(webhooks: Webhooks) -> None:
    """One of the signatures in the field is enough; other versions' are passed over."""
    fields, body = signed()
    other = signed(secret=TWO)[0]["webhook-signature"]
    fields["webhook-signature"] = f"v1a,c2ln {other} {fields['webhook-signature']}"
    assert webhooks.verify(fields, body) == NOTICE


def test_file_that_was_changed_for_the_worse_leaves_the_secrets_that_were_there(
    secrets: Path, webhooks: Webhooks
) -> None:
    """Notifications go on being believed while somebody mends it."""
    _replace(secrets, "not base64!\n")
    assert webhooks.verify(*signed()) == NOTICE


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "no secret"), ("not base64!", "base64"), ("whsec_c2hvcnQ=", "fewer"), (f"{ONE}\n?", "base64")],
)  # fmt: skip
def test_file_that_holds_no_secret_is_a_fault_at_start(tmp_path: Path, content: str, told: str) -> None:
    """Nobody's notifications would be believed, or a guesser's."""
    (tmp_path / "secrets").write_text(content)
    with pytest.raises(ValueError, match=told):
        Webhooks(str(tmp_path / "secrets"))


def _replace(path: Path, content: str) -> None:
    beside = path.with_suffix(".next")
    beside.write_text(content)
    beside.replace(path)
