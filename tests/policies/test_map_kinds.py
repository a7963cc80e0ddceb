"""Maps with named fields, and JSON written as YAML."""

from __future__ import annotations

from typing import Any

import pytest

from policies.document import read_documents
from policies.faults import Place
from policies.kinds import BROKEN, Kind, boolean, integer
from policies.map_kinds import Contradiction, Entry, json_value, record, table, text_map


def build(place: Place, found: dict[str, Any]) -> dict[str, Any]:
    """Refuse one combination."""
    if found.get("a") == 9:
        raise Contradiction(place, "nine is too many", "Write eight.")
    return found


ENTRIES = {"a": Entry("Write a number.", integer(0, 9), required=True), "b": Entry("Whether.", boolean())}
MAP = record(ENTRIES, build, remedy="Write a map.")


def read(kind: Kind, text: str) -> tuple[Any, list[str]]:
    """Read a value; return it with what was reported."""
    (node,), faults = read_documents(text, "f")
    assert not faults
    said: list[str] = []
    value = kind.read(node, lambda place, path, m, r: said.append(f"{place.line}:{place.column}{path}: {m}. {r}"))
    return value, said


def test_map_is_read_by_its_fields() -> None:
    """As they are written; what is not written is not there."""
    assert read(MAP, "{a: 1, b: true}") == ({"a": 1, "b": True}, [])
    assert read(MAP, "a: 1") == ({"a": 1}, [])


def test_everything_wrong_with_a_map_is_told_at_once() -> None:
    """Each fault at its place, with the path below the map."""
    value, said = read(MAP, "b: no\nc: 1")
    assert value is BROKEN
    assert said == [
        "1:4.b: 'no' where true or false is expected. Write true or false, without quotes.",
        "2:1.c: unknown field. Remove it; there are a, b.",
        "1:1.a: missing. Write a number.",
    ]
    assert read(MAP, "[a]") == (BROKEN, ["1:1: a list where a map is expected. Write a map."])


def test_fields_that_make_no_sense_together_are_told() -> None:
    """By whoever puts the value together."""
    assert read(MAP, "{a: 9}") == (BROKEN, ["1:1: nine is too many. Write eight."])


def test_schema_knows_what_must_be_there() -> None:
    """And that nothing else may."""
    assert table(ENTRIES)["required"] == ["a"]
    assert table(ENTRIES)["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: [1, -2.5, true, null, x, '1', \"no\"]}", {"a": [1, -2.5, True, None, "x", "1", "no"]}),
        ("no", "no"),
        ("+1", 1),
        ("0x1F", "0x1F"),
        (".inf", ".inf"),
        ("a:", {"a": None}),
    ],
)
def test_json_is_written_as_yaml(text: str, value: Any) -> None:
    """Plain words as YAML 1.2 reads them, quoted ones as text; numbers that JSON lacks stay text."""
    assert read(json_value(), text) == (value, [])


def test_text_map_keeps_its_order() -> None:
    """And takes numbers as they are written."""
    assert read(text_map("Write a map."), "{X-A: 1, X-B: yes it is}") == ((("X-A", "1"), ("X-B", "yes it is")), [])
    value, said = read(text_map("Write a map."), "{X-A: [1]}")
    assert value is BROKEN
    assert said == ["1:7.X-A: a list where text is expected. Write a map."]
