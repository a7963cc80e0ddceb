"""The kinds of values that a field can have: how each is read, shown again, and described to an editor.

A reader gets a node and a `Report`; it returns the value, or `BROKEN` once it has reported why not. So one bad field
never hides another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from policies import units
from policies.document import Mapping, Node, Scalar, Sequence
from policies.faults import Place, quoted

BROKEN: Final[Any] = object()
"""Stands for a value that was reported as faulty; whatever depends on it is left unsaid."""

Report = Callable[[Place, str, str, str], None]
"""`report(place, path below the field, message, remedy)`."""

ITEMS_MAX: Final = 64

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NUMBER = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
"""What a plain scalar is besides text (YAML 1.2.2, 10.3.2: the core schema)."""

_SURPRISE = re.compile(
    r"y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]?[0-9]+_[0-9_]*|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*"
)
"""Plain text to YAML 1.2, but a boolean, a number in base 60 or a date to the YAML 1.1 readers that are still about."""


class Kind(Struct, frozen=True):
    """One kind of value. `show` turns a value into what JSON and YAML can hold, in the form that `read` takes."""

    read: Callable[[Node, Report], Any]
    show: Callable[[Any], Any]
    schema: dict[str, Any]


def _same(value: Any) -> Any:
    return value


def type_of(node: Node) -> str:
    """Name a node's type as its author would."""
    if not isinstance(node, Scalar):
        return "a map" if isinstance(node, Mapping) else "a list"
    if not node.plain:
        return "text"
    if _NULL.fullmatch(node.text):
        return "no value" if not node.text else "null"
    if _BOOL.fullmatch(node.text):
        return "a boolean"
    return "a number" if _NUMBER.fullmatch(node.text) else "text"


def text(parse: Callable[[str], Any], show: Callable[[Any], Any], schema: dict[str, Any], *, remedy: str) -> Kind:
    """Text that `parse` turns into a value; its `ValueError` becomes a fault with `remedy`."""

    def read(node: Node, report: Report) -> Any:
        if (what := type_of(node)) != "text" or not isinstance(node, Scalar):
            report(node.place, "", f"{what} where text is expected", remedy)
            return BROKEN
        if node.plain and _SURPRISE.fullmatch(node.text):
            message = f"plain {quoted(node.text)} is a boolean, a number or a date to YAML 1.1 readers"
            report(node.place, "", message, "Put it in double quotes if you mean the text.")
            return BROKEN
        return _parsed(node, parse, report, remedy)

    return Kind(read, show, {"type": "string", **schema})


def _parsed(node: Scalar, parse: Callable[[str], Any], report: Report, remedy: str) -> Any:
    try:
        return parse(node.text)
    except ValueError as error:
        report(node.place, "", str(error), remedy)
        return BROKEN


def choice(*values: str) -> Kind:
    """One word of several."""

    def read(node: Node, report: Report) -> Any:
        if isinstance(node, Scalar) and node.text in values:
            return node.text
        what = quoted(node.text) if isinstance(node, Scalar) and node.text else type_of(node)
        report(node.place, "", f"{what} is not a choice here", f"Write {' or '.join(values)}.")
        return BROKEN

    return Kind(read, _same, {"type": "string", "enum": list(values)})


def duration(at_least_ms: int, at_most_ms: int) -> Kind:
    """A duration with its unit, in milliseconds."""
    shown = f"{units.show_duration(at_least_ms)} to {units.show_duration(at_most_ms)}"
    kind = _quantity(units.duration_ms, at_least_ms, at_most_ms, shown, "a duration")
    description = f"A number and its unit: ms, s, m, h or d; {shown}."
    return Kind(
        kind, units.show_duration, {"type": "string", "pattern": units.DURATION_PATTERN, "description": description}
    )


def size(at_least: int, at_most: int) -> Kind:
    """A size with its unit, in bytes."""
    shown = f"{units.show_size(at_least)} to {units.show_size(at_most)}"
    kind = _quantity(units.size_bytes, at_least, at_most, shown, "a size")
    description = f"A number and its unit: B, KiB, MiB, GiB (1024) or kB, MB, GB (1000); {shown}."
    return Kind(kind, units.show_size, {"type": "string", "pattern": units.SIZE_PATTERN, "description": description})


_EXAMPLES: Final = {
    "a duration": ("{n}s or {n}ms", "200ms, 2s, 10m, 24h or 7d"),
    "a size": ("{n}MiB or {n}KiB", "512KiB or 1MiB"),
}


def _quantity(
    parse: Callable[[str], int], at_least: int, at_most: int, shown: str, name: str
) -> Callable[[Node, Report], Any]:
    unitless, example = _EXAMPLES[name]

    def read(node: Node, report: Report) -> Any:
        if not isinstance(node, Scalar) or not node.text:
            report(node.place, "", f"{type_of(node)} where {name} is expected", f"Write {example}.")
            return BROKEN
        if node.text.isdecimal():
            remedy = f"Say which: {unitless.format(n=node.text[:12])}."
        elif node.plain and (seconds := _base_60(node.text)) is not None and name == "a duration":
            message = f"{node.text} is {seconds} to YAML 1.1 readers and text to others"
            report(node.place, "", message, f"Write {seconds}s if you mean minutes and seconds.")
            return BROKEN
        else:
            remedy = f"Write a whole number and its unit, as in {example}."
        value = _parsed(node, parse, report, remedy)
        if value is BROKEN or at_least <= value <= at_most:
            return value
        report(node.place, "", f"{node.text} is out of range", f"It can be {shown}.")
        return BROKEN

    return read


def _base_60(written: str) -> int | None:
    """Return what YAML 1.1 makes of `10:30`, or None for anything else."""
    if re.fullmatch(r"[0-9]{1,4}:[0-5]?[0-9]", written) is None:
        return None
    minutes, seconds = written.split(":")
    return int(minutes) * 60 + int(seconds)


def integer(at_least: int, at_most: int) -> Kind:
    """A whole number without a unit."""

    def read(node: Node, report: Report) -> Any:
        if isinstance(node, Scalar) and node.plain and re.fullmatch(r"0|[1-9][0-9]{0,8}", node.text):
            if at_least <= int(node.text) <= at_most:
                return int(node.text)
            message = f"{node.text} is out of range"
        else:
            what = quoted(node.text) if isinstance(node, Scalar) and node.text else type_of(node)
            message = f"{what} where a whole number is expected"
        report(node.place, "", message, f"Write a number from {at_least} to {at_most}, without quotes.")
        return BROKEN

    return Kind(read, _same, {"type": "integer", "minimum": at_least, "maximum": at_most})


def boolean() -> Kind:
    """`true` or `false`, and none of YAML 1.1's other spellings."""

    def read(node: Node, report: Report) -> Any:
        if isinstance(node, Scalar) and node.plain and _BOOL.fullmatch(node.text):
            return node.text.lower() == "true"
        what = quoted(node.text) if isinstance(node, Scalar) and node.text else type_of(node)
        report(node.place, "", f"{what} where true or false is expected", "Write true or false, without quotes.")
        return BROKEN

    return Kind(read, _same, {"type": "boolean"})


def nullable(kind: Kind, remedy_schema: str) -> Kind:
    """`kind`, or an explicit `null` that takes a default away. A forgotten value is not a null."""

    def read(node: Node, report: Report) -> Any:
        return None if type_of(node) == "null" else kind.read(node, report)

    def show(value: Any) -> Any:
        return None if value is None else kind.show(value)

    return Kind(read, show, {"anyOf": [kind.schema, {"type": "null", "description": remedy_schema}]})


def list_of(kind: Kind, *, at_least: int = 0, at_most: int = ITEMS_MAX, remedy: str) -> Kind:
    """A list of `kind`, as a tuple."""

    def read(node: Node, report: Report) -> Any:
        if not isinstance(node, Sequence):
            report(node.place, "", f"{type_of(node)} where a list is expected", remedy)
            return BROKEN
        if not at_least <= len(node.items) <= at_most:
            report(node.place, "", f"a list of {len(node.items)}; it takes {at_least} to {at_most}", remedy)
            return BROKEN
        values: list[Any] = []
        for index, item in enumerate(node.items):
            values.append(kind.read(item, _below(report, index)))
        return BROKEN if any(value is BROKEN for value in values) else tuple(values)

    def show(values: Any) -> Any:
        return [kind.show(value) for value in values]

    limits = {"minItems": at_least, "maxItems": at_most}
    return Kind(read, show, {"type": "array", "items": kind.schema, **limits})


def _below(report: Report, index: int) -> Report:
    return lambda place, path, message, remedy: report(place, f"[{index}]{path}", message, remedy)
