"""Idempotency keys as a tool honours them that has such a thing: one key, one effect, whoever sends it and how often.

The customs are those of the payment providers: the same key with the same request is answered with the first answer
again, with 409 while the first is still being worked on, and with 422 if another request comes under it. After a while
a key is forgotten, and then it is as good as new.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from policies.model import Selector
from policies.selector import find, text_of


class Known(Struct, frozen=True):
    """What became of a key: `answer` is what was said when it was done, None while that is still to come; `at` is the
    time of that, in Unix seconds."""

    payload_hash: str
    answer: bytes | None = None
    at: float = 0.0


class Word(enum.Enum):
    """What a request gets by its key."""

    FRESH = enum.auto()
    DONE = enum.auto()
    AT_WORK = enum.auto()
    OTHER_REQUEST = enum.auto()


class HonouredKeys:
    """The keys that a tool has seen, which each tenant has to itself. They are in a request where `selector` says, and
    are known for `window_s` after their effect."""

    def __init__(self, selector: Selector, window_s: float) -> None:
        self._selector = selector
        self._window_s = window_s
        self._known: dict[tuple[str, str], Known] = {}

    def key_of(self, headers: Mapping[str, str], document: Any) -> str:
        """Return the key that a request brings, empty if none. `document` is its decoded body."""
        if self._selector.kind == "header":
            return headers.get(self._selector.argument, "")
        return text_of(find(self._selector.argument, document)) or ""

    def arrived(self, tenant: str, key: str, payload_hash: str, now: float) -> tuple[Word, bytes]:
        """Say what a request with `key` gets, and the answer if it is done. A fresh one is at work from now on."""
        known = self._known.get((tenant, key))
        if known is None or (known.answer is not None and now >= known.at + self._window_s):
            self._known[tenant, key] = Known(payload_hash)
            return Word.FRESH, b""
        if known.payload_hash != payload_hash:
            return Word.OTHER_REQUEST, b""
        return (Word.AT_WORK, b"") if known.answer is None else (Word.DONE, known.answer)

    def ended(self, tenant: str, key: str, payload_hash: str, answer: bytes | None, now: float) -> None:
        """What was at work is done, or came to nothing (None) and may be tried again under its key."""
        if answer is None:
            self._known.pop((tenant, key), None)
        else:
            self._known[tenant, key] = Known(payload_hash, answer, now)
