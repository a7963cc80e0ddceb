"""The effect key: a digest of what a call would do, whoever asks and under whichever id (design 1 and 2.2).

Ids lie: a restarted model replica mints a new tool_call_id for the same step, a user clicks twice and makes two runs.
Two calls of one tool and tenant whose chosen fields are equal, within one run, thread, user or tenant, are the same
effect. Values are compared in canonical form (RFC 8785), so that white space, the order of members and `1.0` for `1`
do not matter; numbers that a double would round are compared digit by digit, since large ids are numbers like that.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import rfc8785
from msgspec import Struct

from ledger.fingerprint import FLOAT_DIGITS_MAX, FLOAT_MIN, NOT_PLAIN, NotCanonical, members, read_plain
from policies.selector import MISSING

EFFECT_BITS = 160
"""As for operations: no two effects of a deployment ever meet by chance."""

WHOLE_DIGITS_MAX = 400
"""Whole numbers up to here are the same with an exponent as without; `1e999999999` must not become a gigabyte."""


class Part(Struct, frozen=True, gc=False):
    """One field's value. `source` is the selector that found it, `form` says how `data` was written down."""

    source: str
    form: str
    data: bytes


def effect_key(tenant: str, tool: str, scope: str, within: str, parts: Sequence[Part]) -> str:
    """Return the effect key: SHA-256 over length-prefixed, source-tagged parts, cut to 160 bits, in hexadecimal.

    `scope` is the kind (run, thread, user, tenant) and `within` whose: empty for the tenant, who is named anyway.
    """
    digest = _begun(tenant, tool, scope).copy()
    pieces = [_prefixed(within)]
    for part in parts:
        pieces += (_prefixed(part.source), _prefixed(part.form), b"%d:" % len(part.data), part.data)
    digest.update(b"".join(pieces))
    return digest.digest()[: EFFECT_BITS // 8].hex()


@functools.lru_cache(maxsize=1024)
def _begun(*texts: str) -> hashlib._Hash:
    """Return the digest as far as a tool's calls have it in common: to be copied, never added to."""
    return hashlib.sha256(b"".join(map(_prefixed, texts)))


@functools.lru_cache(maxsize=4096)
def _prefixed(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(data), data)


def text_part(source: str, text: str) -> Part:
    """Return the part of a header field or a constant."""
    return Part(source, "text", text.encode("utf-8", "surrogateescape"))


def json_part(source: str, value: Any) -> Part | None:
    """Return the part of a JSON value as `read` gives it; None if it has no form that could be compared."""
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return Part(source, "jcs", _encode(value))  # what RFC 8785 makes of it, in a tenth of the time
    try:
        return Part(source, "jcs", rfc8785.dumps(value))
    except ValueError:
        pass  # a number that doubles would conflate with its neighbours, or no text
    except RecursionError:
        return None
    try:
        return Part(source, "exact", _encode_exactly(value))
    except (ValueError, OverflowError, RecursionError):
        return None


def read(body: bytes, plain: Any = None) -> Any:
    """Return the JSON document with its numbers as they were written, or `MISSING` for what is no JSON or could be read
    in two ways. `plain` is what `read_plain` makes of it, if that is known already."""
    if plain is None:
        plain = read_plain(body)
    if plain is not NOT_PLAIN:
        return plain
    try:
        return _decoder.decode(body.decode("utf-8"))
    except (NotCanonical, ValueError, RecursionError):
        return MISSING


def _number(digits: str) -> int | float | Decimal:
    """Return a number with a fraction or an exponent by its value, however it was written: `1.0` and `1e0` as 1."""
    try:
        exact = Decimal(digits)
    except InvalidOperation:
        raise NotCanonical from None  # an exponent that nothing can hold
    sign, figures, power = exact.as_tuple()
    kept = "".join(map(str, figures)).rstrip("0")
    if not kept:
        return 0
    power = int(power) + len(figures) - len(kept)
    if power >= 0 and exact.adjusted() < WHOLE_DIGITS_MAX:
        return int(exact)
    if len(kept) <= FLOAT_DIGITS_MAX and FLOAT_MIN <= abs(float(exact)) < math.inf:
        return float(exact)
    return Decimal(f"{'-' * sign}{kept}e{power}")  # doubles would conflate it with its neighbours


def _no_constant(_: str) -> float:
    raise NotCanonical


_decoder = json.JSONDecoder(object_pairs_hook=members, parse_float=_number, parse_constant=_no_constant)
_encode = msgspec.json.Encoder().encode
_encode_exactly = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
