"""JSON lines read strictly: what is wrong is told by file, line and field, with what to do about it."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

LINE_BYTES_MAX = 4 * 1024 * 1024
"""Each thing on a line is a few kilobytes: a line far longer is another kind of file, and would be read whole."""

Thing = TypeVar("Thing")

_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", re.DOTALL)
_NAMED = re.compile(r"field `(?P<field>\w+)`")


class BadLine(ValueError):
    """A line that cannot be used; the message names the file, the line and the field, and says what to do."""


def decoded(where: str, line: bytes, decoder: msgspec.json.Decoder[Thing]) -> Thing:
    """Return what a line says; `where` is its file and number. Raises `BadLine`."""
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        found = _AT.match(str(error))
        assert found
        what, place = found["what"], found["where"] or ""
        named = _NAMED.search(what)
        field = ".".join(filter(None, (place, named["field"] if named else ""))) or "the whole line"
        raise BadLine(f"{where}: {field}: {what}: {_remedy(what)}") from None
    except msgspec.DecodeError as error:
        told = "the line is empty: remove it" if not line.strip() else f"not JSON ({error}): write one record per line"
        raise BadLine(f"{where}: {told}") from None


def _remedy(what: str) -> str:
    if "unknown field" in what:
        return "remove the field, or correct its name"
    if "missing required" in what:
        return "add the field"
    return "write what is expected"
