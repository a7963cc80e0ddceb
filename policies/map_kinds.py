"""Kinds of values that hold other values: a map with named fields, and any JSON value written as YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from policies import kinds
from policies.document import Mapping, Node, Scalar, Sequence
from policies.faults import Place, quoted
from policies.kinds import BROKEN, Kind, Report

NAME_SHOWN_MAX: Final = 40


class Entry(Struct, frozen=True):
    """One field of a map: what it means, and what it takes."""

    doc: str
    kind: Kind
    required: bool = False


class Contradiction(Exception):
    """Raised by `build` for a map whose fields make no sense together."""

    def __init__(self, place: Place, message: str, remedy: str) -> None:
        super().__init__(message)
        self.said: Final = (place, "", message, remedy)


def record(entries: dict[str, Entry], build: Callable[[Place, dict[str, Any]], Any], *, remedy: str) -> Kind:
    """A map with named fields. `build` gets the map's place and what is written in it; it may raise
    `Contradiction`."""

    def read(node: Node, report: Report) -> Any:
        if not isinstance(node, Mapping):
            report(node.place, "", f"{kinds.type_of(node)} where a map is expected", remedy)
            return BROKEN
        found: dict[str, Any] = {}
        for name, (place, value) in node.entries.items():
            if name in entries:
                found[name] = entries[name].kind.read(value, _below(report, name))
            else:
                shown = name if name.isprintable() and len(name) <= NAME_SHOWN_MAX else quoted(name)
                report(place, f".{shown}", "unknown field", f"Remove it; there are {', '.join(entries)}.")
        for name, entry in entries.items():
            if entry.required and name not in node.entries:
                report(node.place, f".{name}", "missing", entry.doc)
                found[name] = BROKEN
        if any(value is BROKEN for value in found.values()):
            return BROKEN
        try:
            return build(node.place, found)
        except Contradiction as error:
            report(*error.said)
            return BROKEN

    return Kind(read, lambda value: value, table(entries))


def table(entries: dict[str, Entry]) -> dict[str, Any]:
    """Return the JSON Schema of a map with these fields."""
    properties = {name: {**entry.kind.schema, "description": entry.doc} for name, entry in entries.items()}
    required = [name for name, entry in entries.items() if entry.required]
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": required} if required else schema


def _below(report: Report, name: str) -> Report:
    return lambda place, path, message, remedy: report(place, f".{name}{path}", message, remedy)


def text_map(remedy: str) -> Kind:
    """A map of names to text; numbers and booleans are taken as they are written."""

    def read(node: Node, report: Report) -> Any:
        if not isinstance(node, Mapping):
            report(node.place, "", f"{kinds.type_of(node)} where a map is expected", remedy)
            return BROKEN
        found = []
        for name, (_, value) in node.entries.items():
            if not isinstance(value, Scalar) or not value.text.isprintable():
                report(value.place, f".{name}", f"{kinds.type_of(value)} where text is expected", remedy)
                return BROKEN
            found.append((name, value.text))
        return tuple(found)

    return Kind(read, dict, {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})


def json_value() -> Kind:
    """Any JSON value: plain words as YAML 1.2 reads them, quoted ones as text."""
    return Kind(lambda node, _: plain(node), lambda value: value, {})


def plain(node: Node) -> Any:
    """Return a node as a JSON value."""
    match node:
        case Mapping():
            return {name: plain(value) for name, (_, value) in node.entries.items()}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar():
            return _scalar(node)


def _scalar(node: Scalar) -> Any:
    match kinds.type_of(node):
        case "null" | "no value":
            return None
        case "a boolean":
            return node.text.lower() == "true"
        case "a number":
            return _number(node.text)
        case _:
            return node.text


def _number(text: str) -> Any:
    try:
        return json.loads(text.removeprefix("+"), parse_constant=str)
    except ValueError:
        return text  # hexadecimal, octal, infinite: no JSON number
