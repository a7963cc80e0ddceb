"""The Lua scripts that Redis runs for us, and the keys that they touch.

Lua compares, Python judges: each script reads and writes one place and knows nothing of what a record means. Every key
of a scope shares the hash tag `{scope}`, so that a script touches one slot only; the registry of scopes has its own.

    holdfast:{acme/create_ticket}:record:op_…    hash: operation, version, phase, record, due, kept, watched
    holdfast:{acme/create_ticket}:reply:op_…     hash: operation, version, reply; expires with its retention
    holdfast:{acme/create_ticket}:due            sorted set: operations with a lease, by the moment it lapses
    holdfast:{acme/create_ticket}:unknown        sorted set: unknown operations, by the moment they became so
    holdfast:{acme/create_ticket}:effect:…       string: `holdfast ` and the operation that holds this effect key
    holdfast:scopes                              set: every scope that ever had a claim
    holdfast:{memory}:beats:…                    string: how many heartbeats of a process have been counted
    holdfast:{memory}:refusal                    string: the process that saw the memory go back; expires
    holdfast:schema                              string: from 2 on, what a process must know to touch any of this
    holdfast:wake                                channel: operations that were watched, as they are swapped
"""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from types import NoneType

from msgspec import Struct, field

SCOPES = b"holdfast:scopes"
CHANNEL = b"holdfast:wake"


class Script(Struct, frozen=True):
    """A script's text, the hash by which a server that has seen it knows it, and the types its replies may have."""

    name: str
    text: bytes
    sha: bytes
    replies: frozenset[type]


def script_of(package: str, prelude: str, name: str, *replies: type) -> Script:
    """Return the script `name` of a package's folder `scripts`, behind the `prelude` that all scripts there share."""
    folder = files(package) / "scripts"
    text = (folder / f"{prelude}.lua").read_bytes() + (folder / f"{name}.lua").read_bytes()
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode("ascii")
    return Script(name, text, sha, frozenset(replies))


_script = functools.partial(script_of, "ledger.stores", "place")

SWAP = _script("swap", bytes, list, NoneType)
READ = _script("read", list, NoneType)
RENEW = _script("renew", int)
DUE = _script("due", list)
UNKNOWNS = _script("unknowns", list)
INDEX = _script("index", list)
LISTED = _script("listed", list, NoneType)
BEAT = _script("beat", list)
ALL = (SWAP, READ, RENEW, DUE, UNKNOWNS, INDEX, LISTED, BEAT)


class ScopeKeys(Struct, frozen=True):
    """The keys of one scope; a record's and a reply's lack the operation at their end, an effect's lacks its key.

    swap_frames    what `ledger.stores.redis_swap` has packed of them, once for all swaps.
    effect_frames  the same, for swaps that write an effect key.
    """

    record: bytes
    reply: bytes
    due: bytes
    unknown: bytes
    effect: bytes
    swap_frames: dict[int, tuple[bytes, bytes, bytes]] = field(default_factory=dict)
    effect_frames: dict[tuple[int, int], tuple[bytes, bytes, bytes, bytes]] = field(default_factory=dict)


def keys_of(scope: str) -> ScopeKeys:
    """Return the keys of `scope`, which `ledger.key.scope_of` keeps free of braces."""
    tag = b"holdfast:{%s}:" % scope.encode("utf-8", "surrogateescape")
    return ScopeKeys(tag + b"record:", tag + b"reply:", tag + b"due", tag + b"unknown", tag + b"effect:")
