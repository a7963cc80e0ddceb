"""What a call was found to be, remembered for its repetitions: they are what Holdfast is there for.

A repetition nearly always has the same ids, target and body to the byte, and differs in tracing fields at most.
Whatever identity, fingerprint and effect key are made of is part of what is looked up here, so what is found is never
another call's; under other policies nothing is remembered.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from msgspec import Struct

from ledger.key import Ref
from ledger.records import Call
from proxy.fields import Incoming
from proxy.inbound.head import Line

BYTES_MAX = 1024 * 1024
"""Of bodies that are remembered, together with what is remembered of them."""

BODY_BYTES_MAX = 4 * 1024
"""Larger bodies are rare, and working out what they mean is not what their calls cost."""

ENTRY_BYTES = 1_024
"""What an entry weighs, roughly, beside its body."""

Sign = tuple[object, ...]


class Known(Struct):
    """What was worked out of a call: its place in the ledger, its fingerprint, its effect key (empty if it has none)
    with the field that it lacks for one, and what logs call it all, once they have been asked."""

    ref: Ref
    mark: str
    call: Call
    effect: str
    lacking: str
    payload_hash: str = ""
    effect_hash: str = ""


class Recall:
    """The calls of late, bounded in bytes; the oldest make room."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        # Not a plain dict: that looks for its first from its start each time, past all that has made room before.
        self._known: OrderedDict[Sign, tuple[Known, int]] = OrderedDict()
        self._bytes = 0
        self._bytes_max = bytes_max
        self._secret = secrets.token_bytes(16)

    def sign(self, line: Line, incoming: Incoming, body: bytes) -> Sign | None:
        """Return what such a call is looked up by; None if it is not to be remembered. A credential is never kept."""
        if len(body) > BODY_BYTES_MAX:
            return None
        credential = None if incoming.credential is None else self._digest(incoming.credential)
        controls = incoming.controls
        return (
            line.raw_method, line.raw_target, body, incoming.content_type, credential, tuple(controls),
            tuple(controls.values()),
        )  # fmt: skip

    def get(self, sign: Sign) -> Known | None:
        """Return what is known of such a call."""
        found = self._known.get(sign)
        return None if found is None else found[0]

    def put(self, sign: Sign, body: bytes, known: Known) -> None:
        """Remember it."""
        weight = ENTRY_BYTES + len(body)
        if sign in self._known:
            return
        self._known[sign] = known, weight
        self._bytes += weight
        while self._bytes > self._bytes_max:
            self._bytes -= self._known.popitem(last=False)[1][1]

    def _digest(self, credential: str) -> bytes:
        data = credential.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()
