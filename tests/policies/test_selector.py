"""Selectors and predicates: what they read, what they find, what they compare."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.model import Predicate, Selector
from policies.selector import (
    MISSING,
    find,
    holds,
    is_credential,
    parse_condition,
    parse_predicate,
    parse_selector,
    show_predicate,
    text_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    "text", ["header:X-Run-Id", "body:/user/id", "body:/a~1b/~0/0", "value:acme", "body:/", "body:/a b"]
)
def test_selector_that_is_well_formed_is_read(text: str) -> None:
    """A selector reads as itself."""
    assert str(parse_selector(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("X-Run-Id", "where to look"),
        ("cookie:a", "where to look"),
        ("Header:X", "where to look"),
        ("header:", "not a header name"),
        ("header:X Run", "not a header name"),
        ("header:X-Rün", "not a header name"),
        ("header:X-Run-Id\n", "not a header name"),
        ("header:X_Run_Id", "underscore"),
        ("header:Connection", "belongs to one connection"),
        ("header:transfer-encoding", "belongs to one connection"),
        ("header:Holdfast-Operation", "to Holdfast itself"),
        ("body:user", "JSON Pointer"),
        ("body:", "JSON Pointer"),
        ("body:/a~2", "JSON Pointer"),
        ("body:/a~", "JSON Pointer"),
        ("value:", "constant"),
        ("value:a\nb", "constant"),
        ("header:" + "x" * 600, "longer than"),
    ],
)
def test_selector_that_could_never_identify_a_call_is_refused(text: str, why: str) -> None:
    """Each refusal says what is wrong."""
    with pytest.raises(ValueError, match=why):
        parse_selector(text)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/a/b", 1),
        ("/a~1b", 2),
        ("/m~0n", 3),
        ("/", 4),
        ("/list/1", "y"),
        ("/null", None),
        ("/list/01", MISSING),
        ("/list/-", MISSING),
        ("/list/2", MISSING),
        ("/list/٠", MISSING),
        ("/list/99999999999999999999", MISSING),
        ("/text/0", MISSING),
        ("/a/b/c", MISSING),
        ("/nothing", MISSING),
    ],
)
def test_pointer_finds_what_rfc_6901_says(pointer: str, value: Any) -> None:
    """Objects by name, arrays by canonical index, nothing else: a string has no members."""
    document = {"a": {"b": 1}, "a/b": 2, "m~n": 3, "": 4, "list": ["x", "y"], "null": None, "text": "hello"}
    assert find(pointer, document) is value or find(pointer, document) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (7, "7"),
        (True, "true"),
        (1.5, "1.5"),
        ("", None),
        (None, None),
        ([], None),
        ({}, None),
        (MISSING, None),
    ],
)
def test_json_value_as_identity_is_text_or_nothing(value: Any, text: str | None) -> None:
    """Only scalars that say something can tell one call from another."""
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("body:/isError == true", Predicate(Selector("body", "/isError"), "==", True)),
        ('body:/status != "ok"', Predicate(Selector("body", "/status"), "!=", "ok")),
        ('body:/s == "a == b"', Predicate(Selector("body", "/s"), "==", "a == b")),
        ("body:/n  ==  null", Predicate(Selector("body", "/n"), "==", None)),
        ("body:/n == -1.5", Predicate(Selector("body", "/n"), "==", -1.5)),
    ],
)
def test_predicate_compares_with_a_json_scalar(text: str, predicate: Predicate) -> None:
    """The literal is JSON, and it reads back."""
    assert parse_predicate(text) == predicate
    assert parse_predicate(show_predicate(predicate)) == predicate


@pytest.mark.parametrize(
    "text",
    [
        "body:/a",
        "body:/a=true",
        "body:/a == ",
        "body:/a == True",
        "body:/a == ok",
        "body:/a == NaN",
        "body:/a == [1]",
        "header:X == 1",
        "value:a == 1",
        "== true",
        "",
        "body:/a == " + "[" * 400,
    ],
)
def test_predicate_that_compares_nothing_sensible_is_refused(text: str) -> None:
    """Text needs quotes, containers cannot be compared, and the reply's body is the only place to look."""
    with pytest.raises(ValueError, match="."):
        parse_predicate(text)


@pytest.mark.parametrize(
    ("text", "reply", "truth"),
    [
        ("body:/isError == true", {"isError": True}, True),
        ("body:/isError == true", {"isError": 1}, False),
        ("body:/isError == true", {"isError": "true"}, False),
        ("body:/isError == true", {}, False),
        ("body:/isError == true", None, False),
        ("body:/isError == true", [1], False),
        ("body:/n == 1", {"n": 1.0}, True),
        ("body:/n == 1", {"n": True}, False),
        ("body:/n == null", {"n": None}, True),
        ("body:/n == null", {}, False),
        ("body:/ok != true", {}, True),
        ("body:/ok != true", {"ok": True}, False),
    ],
)
def test_predicate_is_as_strict_as_json(text: str, reply: Any, truth: bool) -> None:
    """JSON's true is not 1, 1 is 1.0, and a missing value equals nothing, not even null."""
    assert holds(parse_predicate(text), reply) is truth


@pytest.mark.parametrize(
    ("text", "reply", "truth"),
    [
        ("body:/items/0", {"items": [{"id": 1}]}, True),
        ("body:/items/0", {"items": [False]}, True),
        ("body:/items/0", {"items": []}, False),
        ("body:/items/0", {"items": [None]}, False),
        ("body:/items/0", None, False),
        ('body:/status == "done"', {"status": "done"}, True),
        ('body:/status == "done"', {"status": "open"}, False),
    ],
)
def test_condition_may_be_a_place_that_must_be_there(text: str, reply: Any, truth: bool) -> None:
    """Whatever is there and is not null; or a comparison like any other. Both are shown as they are written."""
    condition = parse_condition(text)
    assert holds(condition, reply) is truth
    assert show_predicate(condition) == text


@pytest.mark.parametrize("text", ["", "header:A", "items", "body:/a =="])
def test_condition_that_says_nothing_is_refused(text: str) -> None:
    """As a predicate is."""
    with pytest.raises(ValueError, match="."):
        parse_condition(text)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("Authorization", True), ("proxy-authorization", True), ("Cookie", True), ("X-API-Key", True), ("apikey", True),
        ("X-Auth-Token", True), ("X-Client-Secret", True), ("X-Signature", True),
        ("X-Run-Id", False), ("Idempotency-Key", False), ("Accept", False), ("X-Keynote", False),
    ],
)  # fmt: skip
def test_credential_is_told_by_its_headers_name(name: str, secret: bool) -> None:
    """Any spelling of the usual ones."""
    assert is_credential(name) is secret


@given(JSON, st.lists(st.text(), min_size=1, max_size=4))
def test_any_pointer_into_any_document_finds_or_misses(document: Any, parts: list[str]) -> None:
    """Looking something up never raises."""
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    expected: Any = document
    for part in parts:
        if isinstance(expected, dict):
            expected = expected.get(part, MISSING)
        elif isinstance(expected, list) and part in {str(index) for index in range(len(expected))}:
            expected = expected[int(part)]
        else:
            expected = MISSING
    assert find(pointer, document) is expected
