"""Notifications of runs, signed as Standard Webhooks are: who may send one, and the little that is believed of it.

They are thin on purpose: a notification says that a run is worth a look now, and the look tells what is true. So one
that is lost, doubled or out of order costs a look or a wait, and nothing else; but one that is forged must not even
cost that.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy
from standardwebhooks import Webhook

from process.tokens import Secrets

BODY_BYTES_MAX = 64 * 1024
"""Of a notification; one that carries the whole run with its instructions stays below, and ours need three ids."""

TOLERANCE_S = 300
"""Between a notification's signature and its coming, either way, as the specification has it. Within this time a
repetition is told by its id, which whoever remembers it must do for longer."""

SECRET_BYTES_MIN = 16
"""A shorter one can be guessed; the specification asks senders for 24."""

SIGNATURES_MAX = 16
"""In one field: a sender that rotates signs with two."""

_ID = re.compile(r"[!-~]{1,255}")
_SECONDS = re.compile(r"[0-9]{1,11}")

RUNS = "thread.run."

Why = Literal["unsigned", "stale", "malformed"]
Fields = CIMultiDict[str] | CIMultiDictProxy[str]


class BadWebhook(Exception):
    """A notification counts for nothing. `malformed` ones are signed well, and say nothing that can be used."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class Notice(Struct, frozen=True):
    """What a notification is believed: something became of a run.

    `status` is what its type says after `thread.run.`: a run's status, as a rule. Of one that is about no run it is the
    whole type, and the ids of thread and run are empty.
    """

    webhook_id: str
    thread_id: str
    run_id: str
    status: str


class _Data(Struct, frozen=True):
    thread_id: str = ""
    run_id: str = ""
    id: str = ""
    object: str = ""


class _Event(Struct, frozen=True):
    type: str
    data: Any = None


class Webhooks:
    """Verifies with the secrets of a file, one a line (base64, `whsec_` before it if one likes), any of which may have
    signed; the file is read anew when it changes. `now` returns Unix seconds."""

    def __init__(self, path: str, now: Callable[[], float] = time.time) -> None:
        """Read the file. Raises `OSError`, and `ValueError` for a line that is no secret or a file without any."""
        self._now = now
        self._secrets = Secrets(path)
        self._lines = self._secrets.current()
        self._signers = [_signer(line) for line in self._lines]

    def verify(self, fields: Fields, body: bytes) -> Notice:
        """Return what a notification says. Raises `BadWebhook`."""
        if len(body) > BODY_BYTES_MAX:
            raise BadWebhook("malformed", f"a notification has {BODY_BYTES_MAX} bytes at most")
        webhook_id = _only(fields, "webhook-id", _ID)
        seconds = int(_only(fields, "webhook-timestamp", _SECONDS))
        signatures = _only(fields, "webhook-signature").split(" ")
        if abs(self._now() - seconds) > TOLERANCE_S:
            raise BadWebhook("stale", f"its webhook-timestamp is more than {TOLERANCE_S} s from now")
        if not self._signed(webhook_id, seconds, body, signatures[:SIGNATURES_MAX]):
            raise BadWebhook("unsigned", "no secret of ours made its webhook-signature")
        return _notice(webhook_id, body)

    def _signed(self, webhook_id: str, seconds: int, body: bytes, signatures: list[str]) -> bool:
        """Say whether one of `signatures` is by one of our secrets, in a time that tells nothing about them."""
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            return False  # the specification signs text
        at = datetime.fromtimestamp(seconds, UTC)
        signed = False
        for signer in self._current():
            right = signer.sign(webhook_id, at, text).encode()
            for signature in signatures:
                signed |= hmac.compare_digest(right, signature.encode("utf-8", "surrogateescape"))
        return signed

    def _current(self) -> list[Webhook]:
        """Return what signs; a file that was changed for the worse leaves what was there."""
        lines = self._secrets.current()
        if lines != self._lines:
            self._lines = lines
            try:
                self._signers = [_signer(line) for line in lines]
            except ValueError:
                return self._signers
        return self._signers


def _signer(line: bytes) -> Webhook:
    """Return what signs with one line's secret. The library would take what is no base64 for a shorter secret."""
    encoded = line.removeprefix(b"whsec_")
    try:
        secret = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is not base64") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a webhook secret has fewer than {SECRET_BYTES_MIN} bytes")
    return Webhook(secret)


def _only(fields: Fields, name: str, shape: re.Pattern[str] | None = None) -> str:
    """Return the value of a field that must be there once: of two, sender and receiver might not mean the same."""
    values = fields.getall(name, [])
    if len(values) != 1:
        raise BadWebhook("unsigned", f"{name} comes {len(values)} times; it must be there once")
    if shape is not None and shape.fullmatch(values[0]) is None:
        raise BadWebhook("unsigned", f"{name} is not what it should be")
    return values[0]


def _notice(webhook_id: str, body: bytes) -> Notice:
    """Read a notification: `{"type": "thread.run.…", "data": {thread_id, run_id}}`, or with the run itself as data."""
    try:
        event = msgspec.json.decode(body, type=_Event)
        if not event.type.startswith(RUNS):
            return Notice(webhook_id, "", "", event.type)
        data = msgspec.convert(event.data, _Data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadWebhook("malformed", f"it is no notification: {error}") from None
    run_id = data.run_id or (data.id if data.object in {"", "thread.run"} else "")
    if _ID.fullmatch(run_id) is None or _ID.fullmatch(data.thread_id) is None:
        raise BadWebhook("malformed", "its data has no run_id and thread_id")
    return Notice(webhook_id, data.thread_id, run_id, event.type.removeprefix(RUNS))
