"""Sending a key of ours down to a tool that honours one: the operation id, the same on every attempt (design 1).

The field is set in place of whatever the caller wrote there, and everything else stays as it came, byte for byte: a
body that were decoded and written anew would lose what JSON libraries disagree about (numbers, duplicate names,
spaces).
"""

from __future__ import annotations

import json
from typing import Any

from policies.model import Selector
from policies.selector import pointer_parts
from proxy.forward import Headers
from proxy.problems import Kind, Refused

_decoder = json.JSONDecoder()
_SPACE = " \t\n\r"


def with_key(selector: Selector, headers: Headers, body: bytes, operation: str) -> tuple[Headers, bytes]:
    """Return header fields and body with `operation` where `selector` says. Raises `Refused` for a body that has no
    place for it: without the key the tool could not tell a second attempt from a second call."""
    if selector.kind == "header":
        name = selector.argument.encode()
        others = tuple(field for field in headers if field[0].lower() != name.lower())
        return (*others, (name, operation.encode())), body
    try:
        text = body.decode()
        document = json.loads(text, parse_constant=_no_constant)
        return headers, _with_field(text, document, pointer_parts(selector.argument), operation).encode()
    except (ValueError, RecursionError) as error:
        detail = f"the policy sends a key down at {selector}, and this body has no place for it: {error}"
        raise Refused(Kind.BAD_REQUEST, detail) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _with_field(text: str, document: Any, parts: tuple[str, ...], value: str) -> str:
    """Return `text`, a JSON document, with the string `value` at the place that `parts` lead to."""
    start = _past_space(text, 0)
    for depth, part in enumerate(parts):
        if not isinstance(document, dict):
            where = f"/{'/'.join(parts[:depth])}" if depth else "it"
            raise ValueError(f"{where} is no JSON object")  # noqa: TRY004  # a caller's mistake, not a programmer's
        spans = [span for name, span in _members(text, start) if name == part]
        if len(spans) > 1:
            raise ValueError(f"{part!r} is there twice")
        if not spans:
            return _inserted(text, start, parts[depth:], value, first=not document)
        start, end = spans[0]
        document = document[part]
    return text[:start] + json.dumps(value) + text[end:]


def _inserted(text: str, start: int, parts: tuple[str, ...], value: str, *, first: bool) -> str:
    """Add a member to the object that begins at `start`, and objects around the value as `parts` say."""
    member: Any = value
    for part in reversed(parts[1:]):
        member = {part: member}
    added = f"{json.dumps(parts[0])}:{json.dumps(member, separators=(',', ':'))}"
    return f"{text[: start + 1]}{added}{'' if first else ','}{text[start + 1 :]}"


def _members(text: str, start: int) -> list[tuple[str, tuple[int, int]]]:
    """Return the names of the object that begins at `start`, each with where its value begins and ends. The text is
    known to be well-formed."""
    found: list[tuple[str, tuple[int, int]]] = []
    here = _past_space(text, start + 1)
    while text[here] != "}":
        name, here = _decoder.raw_decode(text, here)
        begin = _past_space(text, _past_space(text, here) + 1)
        _, end = _decoder.raw_decode(text, begin)
        found.append((name, (begin, end)))
        here = _past_space(text, end)
        if text[here] == ",":
            here = _past_space(text, here + 1)
    return found


def _past_space(text: str, here: int) -> int:
    while here < len(text) and text[here] in _SPACE:
        here += 1
    return here
