"""YAML text as a tree of nodes that know where they are written; nothing is interpreted yet.

The parser's events are taken, not its objects: so duplicate keys can be seen, scalars stay the text that they are
(`no`, `10:30` and `1_000` are for the field to judge), tags construct nothing, an alias is the anchored node itself and
not a copy (a "billion laughs" costs nothing), and depth is bounded here and not by Python's stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from policies.faults import Fault, Place, quoted

DEPTH_MAX: Final = 16
"""Twice what the deepest field needs."""

CORE_TAG: Final = "tag:yaml.org,2002:"


class Scalar(Struct, frozen=True):
    """A leaf. `plain` tells `no` from `"no"`."""

    place: Place
    text: str
    plain: bool


class Sequence(Struct, frozen=True):
    """A list, in order."""

    place: Place
    items: list[Node]


class Mapping(Struct, frozen=True):
    """A map, in order and with its keys' own places; of equal keys the first is kept and the others are faults."""

    place: Place
    entries: dict[str, tuple[Place, Node]]


Node = Scalar | Sequence | Mapping


class _Stop(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


def read_documents(text: str, file: str) -> tuple[list[Node], list[Fault]]:
    """Return the documents of a file, empty ones left out, and what is wrong with its syntax.

    What comes after a syntax error cannot be read; the documents before it are returned all the same, so that their
    faults can be told in the same breath.
    """
    builder = _Builder(file, _events(text, file))
    documents: list[Node] = []
    try:
        for node in builder.documents():
            if not (isinstance(node, Scalar) and node.plain and not node.text):
                documents.append(node)  # noqa: PERF401  # what came before a _Stop is kept
    except _Stop as stop:
        builder.faults.append(stop.fault)
    return documents, builder.faults


def _fault(place: Place, message: str, remedy: str) -> Fault:
    return Fault(place, "", message, remedy)


def _events(text: str, file: str) -> Iterator[Any]:
    """Yield the parser's events. Raises `_Stop` at the first syntax error."""
    parser = YAML(typ="safe", pure=True)
    try:
        yield from parser.parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file) if mark is None else Place(file, mark.line + 1, mark.column + 1)
        problem = " ".join((error.problem or error.context or "cannot be read").split())
        raise _Stop(_fault(place, f"not YAML: {problem}", "Correct the syntax; later lines were not read.")) from error
    except YAMLError as error:
        # The reader's own error (a control character) has an offset and no mark.
        before = text[: getattr(error, "position", 0)]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _Stop(_fault(place, "not YAML: a character that YAML does not allow", "Remove it.")) from error
    except Exception as error:
        # The scanner is not ours, and stumbles over some malformed input (escapes beyond Unicode, odd directives) with
        # errors of any type. Whatever it was: this text cannot be read, which is the file's fault, not this process's.
        raise _Stop(_fault(Place(file), f"not YAML: {type(error).__name__}", "Correct the syntax.")) from error


class _Builder:
    """Turns events into nodes. Recursion is bounded by `DEPTH_MAX`."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self.file = file
        self.events = events
        self.faults: list[Fault] = []
        self.anchors: dict[str, Node | None] = {}

    def documents(self) -> Iterator[Node]:
        """Yield the root of each document."""
        for event in self.events:
            match type(event).__name__:
                case "DocumentStartEvent":
                    if event.version or event.tags:
                        self._complain(event, "a YAML directive", "Remove the line that starts with %.")
                    self.anchors = {}
                case "StreamStartEvent" | "StreamEndEvent" | "DocumentEndEvent":
                    pass
                case _:
                    yield self._node(event, 0)

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _complain(self, event: Any, message: str, remedy: str) -> None:
        self.faults.append(_fault(self._place(event), message, remedy))

    def _node(self, event: Any, depth: int) -> Node:
        place = self._place(event)
        if depth > DEPTH_MAX:
            raise _Stop(_fault(place, f"nested more than {DEPTH_MAX} deep", "No policy field goes that deep."))
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._aliased(event)
        if event.tag is not None:
            tag = str(event.tag).replace(CORE_TAG, "!!")
            self._complain(event, f"the tag {quoted(tag)}", "Remove it: a field's type is fixed by its name.")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node: Node
        if kind == "ScalarEvent":
            if any("\ud800" <= letter <= "\udfff" for letter in event.value):
                raise _Stop(_fault(place, "half of a surrogate pair, which is no character", "Write the character."))
            node = Scalar(place, event.value, plain=event.style in {None, ""})
        elif kind == "SequenceStartEvent":
            node = self._sequence(place, depth)
        else:
            node = self._mapping(place, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _aliased(self, event: Any) -> Node:
        name = event.anchor
        node = self.anchors.get(name)
        if node is not None:
            return node
        what = "stands inside what it refers to" if name in self.anchors else "refers to nothing in this document"
        raise _Stop(_fault(self._place(event), f"the alias {quoted(name)} {what}", "Write the value out."))

    def _sequence(self, place: Place, depth: int) -> Sequence:
        items: list[Node] = []
        while (event := self._next()).__class__.__name__ != "SequenceEndEvent":
            items.append(self._node(event, depth + 1))
        return Sequence(place, items)

    def _mapping(self, place: Place, depth: int) -> Mapping:
        entries: dict[str, tuple[Place, Node]] = {}
        while (event := self._next()).__class__.__name__ != "MappingEndEvent":
            key = self._node(event, depth + 1)
            value = self._node(self._next(), depth + 1)
            if isinstance(value, Scalar) and value.plain and not value.text:
                # The parser places what is not there at the next token, lines below.
                value = Scalar(self._place(event), "", plain=True)
            if not isinstance(key, Scalar):
                self._complain(event, "a key that is a list or a map", "Keys are plain words.")
            elif key.text in entries:
                first = entries[key.text][0]
                message = f"the key {quoted(key.text)} stands twice in this map, first on line {first.line}"
                self._complain(event, message, "Keep one of them.")
            else:
                entries[key.text] = (self._place(event), value)
        return Mapping(place, entries)

    def _next(self) -> Any:
        """Return the next event of a node under way; the parser never ends inside one."""
        return next(self.events)
