"""Selectors (`header:X-Run-Id`, `body:/user/id`) and predicates (`body:/isError == true`), read and applied.

Reading raises `ValueError` with a message for whoever wrote the policy; applying never raises: what cannot be found is
`MISSING`. Pointers are RFC 6901 without the fragment form, and are walked here, not by a library, because the common
one indexes into strings (`/name/0` would find a letter).
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, Final, cast

from policies.model import Predicate, Selector

MISSING: Final[Any] = object()
"""What `find` returns for a place that a document does not have; JSON's null is a value and is not this."""

SELECTOR_LENGTH_MAX: Final = 512
SHOWN_MAX: Final = 60
"""How much of a wrong text is repeated in a message."""

HEADER_PATTERN: Final = r"[A-Za-z0-9!#$%&'*+.^`|~-]+"
"""A field name (RFC 9110, 5.6.2) without the underscore, which proxies and servers drop or take for a hyphen."""

POINTER_PATTERN: Final = r"(/([^~/]|~[01])*)+"
SELECTOR_PATTERNS: Final = {
    "header": rf"^header:{HEADER_PATTERN}$",
    "body": rf"^body:{POINTER_PATTERN}$",
    "value": r"^value:[ -~]+$",
}
PREDICATE_PATTERN: Final = r"^body:/.* (==|!=) .+$"

_HEADER = re.compile(HEADER_PATTERN)
_POINTER = re.compile(POINTER_PATTERN, re.DOTALL)
_COMPARISON = re.compile(r"[ \t]+(==|!=)[ \t]+")
_CREDENTIAL = re.compile(r"authori[sz]ation|cookie|token|secret|password|credential|api-?key|signature")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
UNSENT_HEADERS: Final = frozenset(
    {
        "connection", "content-length", "host", "idempotent-replayed", "keep-alive", "prefer", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Fields of one connection (RFC 9110, 7.6.1) or of Holdfast itself: they say nothing about which call this is."""


def parse_selector(text: str) -> Selector:
    """Read one selector."""
    if len(text) > SELECTOR_LENGTH_MAX:
        raise ValueError(f"longer than {SELECTOR_LENGTH_MAX} characters")
    kind, colon, argument = text.partition(":")
    if not colon or kind not in SELECTOR_PATTERNS:
        raise ValueError(f"{text[:SHOWN_MAX]!r} does not say where to look")
    if kind == "header":
        check_header(argument)
    elif kind == "body":
        pointer_parts(argument)
    elif not argument or not argument.isascii() or not argument.isprintable():
        raise ValueError("a constant is one or more printable ASCII characters")
    return Selector(cast("Any", kind), argument)


def check_header(name: str) -> None:
    """Raise `ValueError` if `name` cannot carry a call's identity."""
    if "_" in name:
        raise ValueError(f"header name {name[:SHOWN_MAX]!r} has an underscore, which servers drop or rewrite")
    if _HEADER.fullmatch(name) is None:
        raise ValueError(f"{name[:SHOWN_MAX]!r} is not a header name (RFC 9110, 5.6.2)")
    if name.lower() in UNSENT_HEADERS or name.lower().startswith("holdfast-"):
        raise ValueError(f"header {name} belongs to one connection or to Holdfast itself, not to a call")


def is_credential(name: str) -> bool:
    """Say whether a header field of this name carries what opens doors: not to be written into files or targets."""
    return _CREDENTIAL.search(name.lower()) is not None


@functools.lru_cache(maxsize=1024)
def pointer_parts(pointer: str) -> tuple[str, ...]:
    """Return the reference tokens of a JSON Pointer (RFC 6901, 4), unescaped."""
    if _POINTER.fullmatch(pointer) is None:
        raise ValueError(f"{pointer[:SHOWN_MAX]!r} is not a JSON Pointer (RFC 6901)")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def find(pointer: str, document: Any) -> Any:
    """Return what stands at `pointer` in a decoded JSON document, or `MISSING`."""
    here = document
    for part in pointer_parts(pointer):
        if isinstance(here, dict):
            here = here.get(part, MISSING)
        elif isinstance(here, list) and _INDEX.fullmatch(part) and int(part) < len(here):
            here = here[int(part)]
        else:
            return MISSING
        if here is MISSING:
            return MISSING
    return here


def text_of(value: Any) -> str | None:
    """Return a JSON value as part of an identity: strings as they are, numbers and booleans as JSON writes them.

    None for what names nothing: a missing value, null, the empty string, objects and arrays.
    """
    match value:
        case str():
            return value or None
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            return None


def parse_predicate(text: str) -> Predicate:
    """Read `body:/pointer == literal` or `!=`, the literal being a JSON scalar."""
    if len(text) > SELECTOR_LENGTH_MAX:
        raise ValueError(f"longer than {SELECTOR_LENGTH_MAX} characters")
    parts = _COMPARISON.split(text.strip(), maxsplit=1)
    if len(parts) != 3:
        raise ValueError(f"{text[:SHOWN_MAX]!r} compares nothing")
    selector = parse_selector(parts[0])
    if selector.kind != "body":
        raise ValueError("a predicate looks into the JSON body of the reply")
    try:
        literal = json.loads(parts[2], parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError(f"{parts[2][:SHOWN_MAX]!r} is not a JSON value (text needs double quotes)") from None
    if not (literal is None or isinstance(literal, str | bool | int | float)):
        raise ValueError("only text, numbers, true, false and null can be compared")
    return Predicate(selector, cast("Any", parts[1]), literal)


def parse_condition(text: str) -> Predicate:
    """Read a predicate, or a bare `body:/pointer`: it holds for whatever is there and is not null."""
    if _COMPARISON.search(text):
        return parse_predicate(text)
    selector = parse_selector(text)
    if selector.kind != "body":
        raise ValueError("a predicate looks into the JSON body of the reply")
    if re.search(r"\s|[=!]=", text):
        raise ValueError(f"{text[:SHOWN_MAX]!r} compares nothing")
    return Predicate(selector, "exists")


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def show_predicate(predicate: Predicate) -> str:
    """Write a predicate as `parse_condition` reads it."""
    if predicate.operator == "exists":
        return str(predicate.selector)
    return f"{predicate.selector} {predicate.operator} {json.dumps(predicate.literal)}"


def holds(predicate: Predicate, document: Any) -> bool:
    """Say whether `predicate` is true of a decoded JSON reply. A missing value equals nothing, not even null."""
    found = find(predicate.selector.argument, document)
    if predicate.operator == "exists":
        return found is not MISSING and found is not None
    equal = _same(found, predicate.literal)
    return equal if predicate.operator == "==" else not equal


def _same(one: Any, other: Any) -> bool:
    """Compare JSON scalars as JSON does: Python takes `True == 1`, JSON does not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
