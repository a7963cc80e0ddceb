"""A tool call's identity, and the operation id that is derived from it.

Every replica and every restart derives the same id from the same request, so nothing needs to be asked or remembered to
find a record. Parts are length-prefixed and tagged with their source: ids that concatenate alike stay apart
(`("ab", "c")` is not `("a", "bc")`), and an `Idempotency-Key` can never meet a run id.
"""

from __future__ import annotations

import functools
import hashlib
from urllib.parse import quote

from msgspec import Struct

OPERATION_BITS = 160
"""Enough that no two calls of a deployment ever meet; 40 hexadecimal digits."""


class Key(Struct, frozen=True, gc=False):
    """Identity of one tool call. `source` names the selectors that were used, `parts` holds what they found."""

    tenant: str
    tool: str
    source: str
    parts: tuple[str, ...]


class Ref(Struct, frozen=True, gc=False):
    """Where a store keeps a record. All records of one `scope` live in one Redis hash slot (design 2.2)."""

    scope: str
    operation: str


def operation_id(key: Key) -> str:
    """Return the `op_…` id: SHA-256 over the length-prefixed parts, cut to 160 bits, in hexadecimal."""
    found = _begun(key.tenant, key.tool, key.source).copy()
    for part in key.parts:
        found.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
    return "op_" + found.digest()[: OPERATION_BITS // 8].hex()


@functools.lru_cache(maxsize=4096)
def _begun(*texts: str) -> hashlib._Hash:
    """Return the digest as far as a tool's calls have it in common: to be copied, never added to."""
    prefixed = "".join([f"{len(text)}:{text}" for text in texts])
    return hashlib.sha256(prefixed.encode("utf-8", "surrogatepass"))


@functools.lru_cache(maxsize=4096)
def scope_of(tenant: str, tool: str) -> str:
    """Return `tenant/tool`, percent-encoded so that neither part can hold a brace or a slash."""
    return f"{quote(tenant, safe='', errors='surrogatepass')}/{quote(tool, safe='')}"


def ref_of(key: Key) -> Ref:
    """Return the place of `key`'s record."""
    return Ref(scope_of(key.tenant, key.tool), operation_id(key))
