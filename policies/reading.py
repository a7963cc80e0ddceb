"""One document becomes settings: a value and a place for each field, checked against the table of fields."""

from __future__ import annotations

import difflib
from typing import Any, Final

from msgspec import Struct

from policies.document import Mapping, Node, Scalar
from policies.faults import Fault, Place, quoted
from policies.field import Elsewhere, Field, Group, Leaf
from policies.fields import API_VERSION, DEFAULTS, GROUPS_OF, LEAVES, TOOL_POLICY
from policies.kinds import type_of

GUESSED_LENGTH_MAX: Final = 40
"""Longer words are not misspelt fields, and comparing them costs time."""


class Setting(Struct, frozen=True):
    """A field's value and where it was written; no place means built in. `value` is `BROKEN` for a reported one.

    `by` says what filled the field in from there, if it was not written itself.
    """

    value: Any
    place: Place | None
    by: str = ""

    @property
    def where(self) -> str:
        """`file:line`, or `built in`."""
        if self.place is None:
            return "built in"
        return f"{self.place} ({self.by})" if self.by else str(self.place)


class Part(Struct, frozen=True):
    """What one document says. `settings` is by field path."""

    kind: str
    place: Place
    settings: dict[str, Setting]


class _Reader:
    def __init__(self) -> None:
        self.settings: dict[str, Setting] = {}
        self.faults: list[Fault] = []

    def complain(self, place: Place, field: str, message: str, remedy: str) -> None:
        self.faults.append(Fault(place, field, message, remedy))

    def fields(self, node: Mapping, fields: dict[str, Field], above: str) -> None:
        """Read a map's fields into `settings`."""
        for name, (place, value) in node.entries.items():
            if name not in fields:
                shown = name if name.isprintable() and len(name) <= GUESSED_LENGTH_MAX else quoted(name)
                self.complain(place, above + shown, *_unknown(name, fields, above))
                continue
            self.field(fields[name], above + name, place, value)

    def field(self, field: Field, path: str, place: Place, value: Node) -> None:
        """Read one field."""
        match field:
            case Leaf():

                def report(where: Place, below: str, message: str, remedy: str) -> None:
                    self.complain(where, path + below, message, remedy)

                self.settings[path] = Setting(field.kind.read(value, report), place)
            case Group():
                if isinstance(value, Mapping) and value.entries:
                    self.fields(value, field.fields, f"{path}.")
                else:
                    found = "an empty map" if isinstance(value, Mapping) else type_of(value)
                    remedy = f"Set one or more of {', '.join(_now(field.fields))} below it, or remove it."
                    self.complain(value.place, path, f"{found} where a map is expected", remedy)
            case Elsewhere():
                self.complain(place, path, field.message, field.remedy)


def read_part(node: Node) -> tuple[Part | None, list[Fault]]:
    """Read a document. None if it is not of a kind that could be read."""
    reader = _Reader()
    if not isinstance(node, Mapping):
        reader.complain(node.place, "", f"{type_of(node)} where a policy is expected", _envelope_remedy())
        return None, reader.faults
    entries = dict(node.entries)
    kind = _kind(reader, node, entries)
    if kind is None:
        return None, reader.faults
    fields = GROUPS_OF[kind]
    reader.fields(Mapping(node.place, entries), fields, "")
    if kind == TOOL_POLICY and "tool" not in entries:
        reader.complain(node.place, "tool", "missing", "Name the tool that this policy is for.")
    return Part(kind, node.place, reader.settings), reader.faults


def _envelope_remedy() -> str:
    return f"A policy begins with apiVersion: {API_VERSION} and kind: {TOOL_POLICY} or {DEFAULTS}."


def _kind(reader: _Reader, node: Mapping, entries: dict[str, tuple[Place, Node]]) -> str | None:
    """Take the two fields of the envelope out of `entries`, and say which kind of document it is."""
    found: dict[str, str] = {}
    for name in ("apiVersion", "kind"):
        place, value = entries.pop(name, (node.place, None))
        if value is None:
            reader.complain(place, name, "missing", _envelope_remedy())
        elif isinstance(value, Scalar):
            found[name] = value.text
        else:
            reader.complain(value.place, name, f"{type_of(value)} where text is expected", _envelope_remedy())
    version = found.get("apiVersion", API_VERSION)
    kind = found.get("kind")
    if version != API_VERSION:
        message = f"{quoted(version)} is not a version that can be read"
        reader.complain(node.entries["apiVersion"][1].place, "apiVersion", message, f"Write {API_VERSION}.")
    if kind is None or kind in GROUPS_OF:
        return kind
    place = node.entries["kind"][1].place
    remedy = f"Write {TOOL_POLICY}, {DEFAULTS} or PolicyTest."
    reader.complain(place, "kind", f"{quoted(kind)} is not a kind of document", remedy)
    return None


def _now(fields: dict[str, Field]) -> list[str]:
    """The fields that can be set here in this version."""
    return [name for name, field in fields.items() if isinstance(field, Leaf | Group)]


def _unknown(name: str, fields: dict[str, Field], above: str) -> tuple[str, str]:
    """Return message and remedy for a field that is not in the table, with a guess at what was meant."""
    if name == "<<":
        return "merge keys are YAML 1.1", f"Write the fields out, or put what policies share into kind: {DEFAULTS}."
    here = _now(fields)
    if len(name) <= GUESSED_LENGTH_MAX:
        below = {path: path.rpartition(".")[2] for path in LEAVES}
        guess = _near(name, {above + known: known for known in here}, 0.6) or _near(name, below, 0.7)
        if guess is not None:
            return "unknown field", f"Did you mean {guess}?"
    return "unknown field", f"Remove it; {above.rstrip('.') or 'this document'} takes {', '.join(here)}."


def _near(name: str, known: dict[str, str], likeness: float) -> str | None:
    """Return the one path whose word is nearest to `name`, if one is near; not a guess among several."""
    words = [word.lower() for word in known.values()]
    near = difflib.get_close_matches(name.lower(), words, n=1, cutoff=likeness)
    paths = [path for path, word in known.items() if near and word.lower() == near[0]]
    return paths[0] if len(paths) == 1 else None
