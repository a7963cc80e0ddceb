"""Idempotency keys as a tool honours them that has such a thing: one key, one effect, whoever sends it and how often.

The customs are those of the payment providers: the same key with the same request is answered with the first answer
again, with 409 while the first is still being worked on, and with 422 if another request comes under it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from policies.model import Selector
from policies.selector import find, text_of


class Known(Struct, frozen=True):
    """What became of a key: `answer` is what was said when it was done, None while that is still to come."""

    payload_hash: str
    answer: str | None = None


class Word(enum.Enum):
    """What a request gets by its key."""

    FRESH = enum.auto()
    DONE = enum.auto()
    AT_WORK = enum.auto()
    OTHER_REQUEST = enum.auto()


class HonouredKeys:
    """The keys that a tool has seen, each within what it was sent to; an answer is named by its audit id."""

    def __init__(self, selector: Selector, done: Iterable[tuple[str, str, Known]]) -> None:
        self._selector = selector
        self._known = {(tool, key): known for tool, key, known in done if key}

    def key_of(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return the key that a request brings, empty if none."""
        if self._selector.kind == "header":
            return headers.get(self._selector.argument, "")
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        return text_of(find(self._selector.argument, document)) or ""

    def arrived(self, tool: str, key: str, payload_hash: str) -> tuple[Word, str]:
        """Say what a request with `key` gets, and the audit id if it is done. A fresh one is at work from now on."""
        known = self._known.get((tool, key))
        if known is None:
            self._known[tool, key] = Known(payload_hash)
            return Word.FRESH, ""
        if known.payload_hash != payload_hash:
            return Word.OTHER_REQUEST, ""
        return (Word.AT_WORK, "") if known.answer is None else (Word.DONE, known.answer)

    def ended(self, tool: str, key: str, payload_hash: str, answer: str | None) -> None:
        """What was at work is done, or came to nothing (None) and may be tried again under its key."""
        if answer is None:
            self._known.pop((tool, key), None)
        else:
            self._known[tool, key] = Known(payload_hash, answer)
