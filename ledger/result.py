"""A tool's reply as it is kept for replays: what of it is stored, how it is written down, and its digest."""

from __future__ import annotations

import functools
import hashlib
import operator
import re

import msgspec
from msgspec import Struct

from ledger.records import CorruptRecord

Headers = tuple[tuple[bytes, bytes], ...]

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer",
     b"transfer-encoding", b"upgrade")
)  # fmt: skip
"""Fields that speak of one connection only (RFC 9110, 7.6.1, and the ones of RFC 2616 that old servers still send)."""

NEVER_KEPT = HOP_BY_HOP | frozenset(
    (b"set-cookie", b"set-cookie2", b"authorization", b"authentication-info", b"proxy-authentication-info",
    b"content-length")
)  # fmt: skip
"""Fields that belong to one caller or one message. Content-Length is written anew from the body."""


OURS = (b"holdfast-", b"idempotent-replayed")
"""How the names of Holdfast's own fields begin: from anybody else they are pretence."""

PROXY_STATUS = b"proxy-status"
_SIGNED = re.compile(rb"(?:^|,)\s*\"?holdfast\"?\s*(?:[;,]|$)", re.IGNORECASE)


HEAD_BYTES_MAX = 1024
"""Names and values that outlive a body, together: they are in the record, which every arrival reads."""

OUTLIVING = (b"content-type", b"location", b"etag", b"last-modified")
"""Fields that say what a reply was, the more telling ones first; of one that came twice, the first."""


class Result(Struct, frozen=True, array_like=True, gc=False):
    """A whole reply: replayed with the same status, headers and body for as long as it is kept."""

    status: int
    reason: bytes
    headers: Headers
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Result)


SECTIONS_MAX = 64
"""Header sections for which is remembered what is made of them: a busy tool repeats itself, but for the date, which
changes once a second. They have 64 KiB at the most."""

SPELLINGS_MAX = 1_000
_kept: dict[bytes, bool] = {}
"""Whether a field is kept, by its spelling: tools send the same few over and over. Bounded; it is only a shortcut."""


@functools.lru_cache(SECTIONS_MAX)
def storable(headers: Headers) -> Headers:
    """Return the fields that another caller may see, in their order and case: none of one connection, of one caller, or
    of Holdfast's own making."""
    kept = []
    named: frozenset[bytes] = frozenset()
    for field in headers:
        spelling = field[0]
        if _kept[spelling] if spelling in _kept else _is_kept(spelling):
            if len(spelling) != 12 or not signs_as_us(field):
                kept.append(field)
        elif len(spelling) == 10 and spelling.lower() == b"connection":
            named = connection_tokens(headers)
    if named:
        kept = [field for field in kept if field[0].lower() not in named]
    return tuple(kept)


def signs_as_us(field: tuple[bytes, bytes]) -> bool:
    """Say whether a field is a Proxy-Status that names Holdfast (RFC 9209): what Holdfast says itself is told from what
    tools say by that alone, so no tool may send one."""
    return field[0].lower() == PROXY_STATUS and _SIGNED.search(field[1]) is not None


def _is_kept(spelling: bytes) -> bool:
    if len(_kept) >= SPELLINGS_MAX:
        _kept.clear()
    name = spelling.lower()
    kept = _kept[spelling] = name not in NEVER_KEPT and not name.startswith(OURS)
    return kept


@functools.lru_cache(SECTIONS_MAX)
def head_of(headers: Headers, body_length: int | None) -> Headers:
    """Return the few fields of a reply that outlive its body, for whoever is told that it ran: what it was, what it
    made and where, and how long the body was (None: not known). What would take them past `HEAD_BYTES_MAX` is left out.
    """
    ranked: list[tuple[int, tuple[bytes, bytes]]] = []
    named: frozenset[bytes] = frozenset()
    for field in headers:
        spelling = field[0]
        rank = _ranks[spelling] if spelling in _ranks else _rank(spelling)
        if rank >= 0:
            ranked.append((rank, field))
        elif len(spelling) == 10 and spelling.lower() == b"connection":
            named = connection_tokens(headers)
    head: list[tuple[bytes, bytes]] = []
    left = HEAD_BYTES_MAX
    if body_length is not None:
        head.append((b"Content-Length", b"%d" % body_length))
        left -= len(b"Content-Length") + len(head[0][1])
    last = -1
    for rank, field in sorted(ranked, key=_by_rank):
        size = len(field[0]) + len(field[1])
        if rank != last and size <= left and OUTLIVING[rank] not in named:
            head.append(field)
            left -= size
            last = rank
    return tuple(head)


_ranks: dict[bytes, int] = {}
"""Where in `OUTLIVING` a field stands, by its spelling; -1 for one that does not. Bounded, like `_kept`."""
_by_rank = operator.itemgetter(0)


def _rank(spelling: bytes) -> int:
    if len(_ranks) >= SPELLINGS_MAX:
        _ranks.clear()
    name = spelling.lower()
    rank = _ranks[spelling] = OUTLIVING.index(name) if name in OUTLIVING else -1
    return rank


def connection_tokens(headers: Headers) -> frozenset[bytes]:
    """Return the field names (lower case) that the Connection fields declare to be hop-by-hop."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    if not values:
        return frozenset()
    return frozenset(token.strip().lower() for token in b",".join(values).split(b","))


def digest(status: int, headers: Headers, body: bytes) -> str:
    """Return SHA-256, in hex, over status, Content-Type and body: what makes two replies the same answer."""
    content_type = _content_type(headers)
    return hashlib.sha256(b"%d %d:%b%b" % (status, len(content_type), content_type, body)).hexdigest()


@functools.lru_cache(SECTIONS_MAX)
def _content_type(headers: Headers) -> bytes:
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            return value
    return b""


def encode(result: Result) -> bytes:
    """Write a result down."""
    return _encoder.encode(result)


def decode(data: bytes) -> Result:
    """Read a result back. Raises `CorruptRecord`."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise CorruptRecord(f"a stored result cannot be read: {error}") from error
