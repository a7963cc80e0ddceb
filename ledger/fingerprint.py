"""The fingerprint: a digest of what a call asks for, so that one key cannot stand for two different calls.

JSON bodies are taken in canonical form (RFC 8785), so that key order and white space do not matter; everything else,
and JSON whose canonical form could make two different bodies look alike, is taken byte for byte.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import msgspec
import rfc8785

from policies.model import Selector
from policies.selector import find, pointer_parts

JSON_BYTES_MAX = 64 * 1024
"""Larger bodies are hashed raw: canonicalising them would hold up the event loop (about 1 ms at this size)."""

REMEMBERED_MAX, REMEMBERED_BYTES_MAX = 512, 4 * 1024
"""Bodies whose canonical form is remembered, and how long they may be: who asks again sends the same bytes, and soon.
Half of what a replay's fingerprint costs; 4 MiB at the most."""

INTEGER_MAX = 2**53 - 1
FLOAT_DIGITS_MAX = 15
FLOAT_MIN = 2.0**-1022
"""Decimals with more digits than a double is sure to keep could be conflated (RFC 8785, 3.2.2.3; IEEE 754), and so
could those below its smallest normal number, down to zero."""

_encode, _encode_sorted = msgspec.json.Encoder().encode, msgspec.json.Encoder(order="sorted").encode


class NotCanonical(Exception):
    """The body is no JSON, or JSON that must be taken byte for byte."""


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members. Raises `NotCanonical` if one appears twice: readers disagree on which counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotCanonical
    return found


def _integer(digits: str) -> int:
    if len(digits) > 17 or digits == "-0" or not -INTEGER_MAX <= (number := int(digits)) <= INTEGER_MAX:
        raise NotCanonical
    return number


def decimal(digits: str) -> float:
    """Return a number with a fraction or an exponent. Raises `NotCanonical` if a double does not keep all of it."""
    mantissa = digits.lower().partition("e")[0]
    if sum(map(str.isdigit, mantissa)) > FLOAT_DIGITS_MAX:
        raise NotCanonical
    number = float(digits)
    if abs(number) < FLOAT_MIN and mantissa.strip("0."):
        raise NotCanonical
    return number


def _no_constant(_: str) -> float:
    raise NotCanonical


def _no_float(_: str) -> float:
    raise ValueError("floats have a canonical form of their own")


_careful = json.JSONDecoder(
    object_pairs_hook=members, parse_int=_integer, parse_float=decimal, parse_constant=_no_constant
)
_quick = msgspec.json.Decoder(float_hook=_no_float)


def canonical(body: bytes, ignore: tuple[Selector, ...] = (), plain: Any = None) -> bytes | None:
    """Return the canonical JSON of `body` without the `ignore`d places, or None if it must be taken byte for byte.

    `plain` is what `read_plain` makes of it, if that is known already; the places are taken out of it.
    """
    if not body or len(body) > JSON_BYTES_MAX:
        return None
    if plain is None and len(body) <= REMEMBERED_BYTES_MAX:
        return _remembered(body, ignore)
    return _canonical(body, ignore, plain)


def _canonical(body: bytes, ignore: tuple[Selector, ...], plain: Any = None) -> bytes | None:
    try:
        if plain is None:
            plain = read_plain(body)
        if plain is not NOT_PLAIN:
            return _encode_sorted(_without_all(plain, ignore))
        return rfc8785.dumps(_without_all(_careful.decode(body.decode("utf-8")), ignore))
    except (NotCanonical, ValueError, RecursionError):
        # Lone surrogates, non-finite numbers, bad UTF-8 or syntax, too deep: rfc8785's errors are ValueErrors as well.
        return None


_remembered = functools.lru_cache(REMEMBERED_MAX)(_canonical)

NOT_PLAIN = object()
"""Also `null`, which nobody sends: it is read the careful way."""


def read_plain(body: bytes) -> Any:
    """Return the document if it is plain: ASCII, no floats, and written as encoders write it.

    Writing it anew gives the same bytes, so nothing in it (a doubled member, an escape, a digit of however large an
    integer) was lost in reading, and its canonical form is what a sorting encoder writes. That takes a tenth of the
    careful way, which takes the rest; `tests/ledger/test_fingerprint.py` holds the two against each other.
    """
    if not body.isascii():
        return NOT_PLAIN
    try:
        document = _quick.decode(body)
        compact = _encode(document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return NOT_PLAIN
    if document is None:
        return NOT_PLAIN
    return document if compact == body or msgspec.json.format(compact, indent=0) == body else NOT_PLAIN


def _without_all(document: Any, ignore: tuple[Selector, ...]) -> Any:
    for selector in ignore:
        document = _without(document, selector.argument)
    return document


def _without(document: Any, pointer: str) -> Any:
    """Return `document` without the member at `pointer`; one that is not there is no fault."""
    parent_pointer, _, _ = pointer.rpartition("/")
    parent = find(parent_pointer, document) if parent_pointer else document
    if isinstance(parent, dict):
        parent.pop(pointer_parts(pointer)[-1], None)
    return document


def fingerprint(
    method: bytes, target: bytes, body: bytes, ignore: tuple[Selector, ...], principal: str | None, json_body: bool,
    plain: Any = None,
) -> str:  # fmt: skip
    """Return the fingerprint, SHA-256 in hex, over method, raw target, principal and body.

    `json_body` says that the request declares JSON. Each part is length-prefixed, and the body is tagged with the form
    it was taken in, so that no two different requests share their input. `plain` as for `canonical`.
    """
    form = canonical(body, ignore, plain) if json_body else None
    tag, data = (b"raw", body) if form is None else (b"jcs", form)
    who = b"-" if principal is None else b"+" + principal.encode("utf-8", "surrogateescape")
    head = b"%d:%b%d:%b%d:%b%b" % (len(method), method, len(target), target, len(who), who, tag)
    return hashlib.sha256(head + data).hexdigest()
