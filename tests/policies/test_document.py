"""YAML as nodes with places: what is read, and what is refused before any field is looked at."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.document import DEPTH_MAX, Mapping, Node, Scalar, Sequence, read_documents

BEYOND_UNICODE = "ValueError" if sys.version_info >= (3, 13) else "OverflowError"
"""What Python says of a character beyond Unicode."""

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "a",
            "b: ",
            "- ",
            "\n",
            "\n  ",
            ": ",
            "? ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "&x ",
            "*x",
            "!t ",
            "!!str ",
            "|",
            ">",
            "'",
            '"',
            "\\U",
            "\\ud800",
            "%YAML 1.1\n",
            "---\n",
            "...\n",
            "#",
            "\t",
            "\x00",
            "\x07",
            "\u2028",
            "\ufeff",
            "~",
            "<<",
            "😀",
            "10:30",
        ]
    ),
    max_size=30,
).map("".join)


def plain(node: Node) -> object:
    """Return a node without its places."""
    match node:
        case Scalar():
            return node.text
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {name: plain(value) for name, (_, value) in node.entries.items()}


def complaints(text: str) -> list[tuple[int, int, str]]:
    """Return what is wrong with a text: line, column, message."""
    return [(fault.place.line, fault.place.column, fault.message) for fault in read_documents(text, "f")[1]]


def test_scalars_stay_the_text_that_they_are() -> None:
    """`no`, `10:30`, `010` and `~` are for the field to judge; nothing becomes a boolean or a number here."""
    (document,), faults = read_documents("a: no\nb: 10:30\nc: [010, 1_000, ~]\nd: 2026-03-19\n", "f")
    assert plain(document) == {"a": "no", "b": "10:30", "c": ["010", "1_000", "~"], "d": "2026-03-19"}
    assert not faults


def test_node_knows_its_line_and_column() -> None:
    """Places count from one, in characters and not in octets."""
    (document,), _ = read_documents("# ü\nä: {é: x}\n", "f")
    assert isinstance(document, Mapping)
    place, inner = document.entries["ä"]
    assert (place.line, place.column) == (2, 1)
    assert isinstance(inner, Mapping)
    assert inner.entries["é"][1].place.column == 8


def test_several_documents_and_empty_ones_are_one_file() -> None:
    """`---` separates; a document with nothing in it is no mistake."""
    documents, faults = read_documents("---\n# nothing\n---\na: 1\n---\nb: 2\n...\n", "f")
    assert [plain(document) for document in documents] == [{"a": "1"}, {"b": "2"}]
    assert not faults


def test_duplicate_key_is_a_fault_at_the_second() -> None:
    """The first stands, at any depth, and the fault says where it is."""
    (document,), faults = read_documents("a:\n  b: 1\n  c: 2\n  b: 3\n", "f")
    assert plain(document) == {"a": {"b": "1", "c": "2"}}
    assert str(faults[0]) == "f:4:3: the key 'b' stands twice in this map, first on line 2. Keep one of them."


def test_alias_is_the_anchored_node_itself() -> None:
    """An alias costs nothing, however often it is used: "a billion laughs" is a few hundred nodes."""
    levels = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 12)]
    began = time.process_time()
    (document,), faults = read_documents("\n".join(levels), "f")
    assert time.process_time() - began < 1
    assert not faults
    assert isinstance(document, Mapping)
    last = document.entries["a11"][1]
    assert isinstance(last, Sequence)
    assert last.items[0] is last.items[2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &x [*x]", (1, 8, "the alias 'x' stands inside what it refers to")),
        ("a: *x", (1, 4, "the alias 'x' refers to nothing in this document")),
        ("a: &x 1\n---\nb: *x", (3, 4, "the alias 'x' refers to nothing in this document")),
        ("a: !!python/object:os.system x", (1, 4, "the tag '!!python/object:os.system'")),
        ("a: !!str no", (1, 4, "the tag '!!str'")),
        ("%YAML 1.1\n---\na: no", (2, 1, "a YAML directive")),
        ("? [a]\n: b", (1, 3, "a key that is a list or a map")),
        ("a: b: c", (1, 5, "not YAML: mapping values are not allowed here")),
        ("a: [1\nb: 2", (2, 2, "not YAML: expected ',' or ']', but got ':'")),
        ("a:\n\t- b", (2, 1, "not YAML: found character '\\t' that cannot start any token")),
        ("a: x\nb: \x07", (2, 4, "not YAML: a character that YAML does not allow")),
        ('a: "\\ud800"', (1, 4, "half of a surrogate pair, which is no character")),
        ('a: "\\UFFFFFFFF"', (1, 1, f"not YAML: {BEYOND_UNICODE}")),
        ("[" * (DEPTH_MAX + 2), (1, DEPTH_MAX + 2, f"nested more than {DEPTH_MAX} deep")),
        ("[" * 100_000, (1, DEPTH_MAX + 2, f"nested more than {DEPTH_MAX} deep")),
    ],
)
def test_what_cannot_be_read_safely_is_a_fault_with_its_place(text: str, complaint: tuple[int, int, str]) -> None:
    """Each is told with line and column; none is executed, expanded or guessed at."""
    assert complaint in complaints(text)


def test_documents_before_a_syntax_error_are_still_read() -> None:
    """So that their faults are told together with it."""
    documents, faults = read_documents("a: 1\n---\nb: [", "f")
    assert [plain(document) for document in documents] == [{"a": "1"}]
    assert len(faults) == 1


@given(st.text(max_size=200) | FRAGMENTS)
def test_any_text_is_nodes_or_faults(text: str) -> None:
    """No text makes the reader raise, whatever the library's scanner stumbles over."""
    _, faults = read_documents(text, "f")
    for fault in faults:
        assert fault.place.line >= 1
        assert fault.place.column >= 1
        assert len(str(fault)) < 400
