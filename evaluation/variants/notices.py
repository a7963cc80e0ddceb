"""Notifications of runs, signed as Standard Webhooks are: who may send one, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

from evaluation.variants.turn_api import BadNotice


class Notice(Struct, frozen=True):
    """That a run of a thread has a new status."""

    id: str
    thread_id: str
    run_id: str
    status: str


class _Data(Struct):
    thread_id: str
    run_id: str
    status: str


class _Event(Struct):
    data: _Data


class Notices:
    """Reads notifications that are signed with the secret in the first line of a file."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`, and `ValueError` for a file that holds no secret."""
        lines = path.read_text().split()
        if not lines:
            raise ValueError(f"{path} holds no secret")
        self._signer = Webhook(lines[0])

    def read(self, fields: Mapping[str, str], body: bytes) -> Notice:
        """Return what a notification says. Raises `BadNotice`."""
        told = {name.lower(): value for name, value in fields.items()}
        try:
            self._signer.verify(body.decode(), told, json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            raise BadNotice("unauthorized", f"the notification is not signed: {error}") from None
        try:
            data = msgspec.json.decode(body, type=_Event).data
        except msgspec.MsgspecError as error:
            raise BadNotice("bad-request", f"it is no notification of a run: {error}") from None
        return Notice(told["webhook-id"], data.thread_id, data.run_id, data.status)
