"""Targets with gaps, and what callers may put into them."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.model import Selector
from policies.template import TARGET_MAX, parse_template

ONE = parse_template("/tickets/{operation}")
PAIR = parse_template("/tickets?ref={operation}&by={header:X-User-Id}&what={body:/a~1b/0}")


def test_gaps_are_filled_in_order() -> None:
    """Names and selectors alike; what is looked for in the request is told apart."""
    assert PAIR.variables == ("operation", "header:X-User-Id", "body:/a~1b/0")
    assert PAIR.selectors == (Selector("header", "X-User-Id"), Selector("body", "/a~1b/0"))
    values = {"operation": "op_1", "header:X-User-Id": "u 1&x=/", "body:/a~1b/0": "Ü"}
    assert PAIR.fill(values) == "/tickets?ref=op_1&by=u%201%26x%3D%2F&what=%C3%9C"


def test_template_without_gaps_is_its_text() -> None:
    """A tool with one thing to ask for."""
    assert parse_template("/last?all=%20").fill({}) == "/last?all=%20"


@pytest.mark.parametrize("value", [None, "", ".", "..", "x" * (TARGET_MAX + 1), "%" * (TARGET_MAX // 2), "\ud800"])
def test_value_that_would_ask_for_something_else_fills_nothing(value: str | None) -> None:
    """`/tickets/` lists all, `/tickets/..` is another resource, and half a character is none."""
    assert ONE.fill({"operation": value}) is None


def test_dots_are_only_dangerous_as_a_segment() -> None:
    """In a query, or as part of a word, they are letters."""
    assert ONE.fill({"operation": "a..b"}) == "/tickets/a..b"
    assert parse_template("/t?x={operation}/.").fill({"operation": ".."}) == "/t?x=../."
    assert parse_template("/t/{operation}{run_id}").fill({"operation": ".", "run_id": "."}) is None


def test_octets_that_are_no_text_are_sent_as_they_came() -> None:
    """A header that is not UTF-8 is decoded with surrogates, and becomes the same octets again."""
    assert ONE.fill({"operation": b"\xff".decode("utf-8", "surrogateescape")}) == "/tickets/%FF"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tickets", "starts with one /"),
        ("//evil/{operation}", "starts with one /"),
        ("http://evil/", "starts with one /"),
        ("/t/{operation", "a brace without its other half"),
        ("/t/operation}", "a brace without its other half"),
        ("/t/{{operation}}", "a brace without its other half"),
        ("/t/{run}", "{run} cannot be filled in; there are {operation}, {run_id}, {tool_call_id}"),
        ("/t/{}", "{} cannot be filled in"),
        ("/t/{value:x}", "cannot be filled in"),
        ("/t/{body:a}", "is not a JSON Pointer"),
        ("/t/{header:X_A}", "underscore"),
        ("/t/{header:Authorization}", "is a credential"),
        ("/t/{header:X-Api-Key}", "is a credential"),
        ("/t/{header:Connection}", "belongs to one connection"),
        ("/t t", "has to be percent-encoded"),
        ("/t#x", "has to be percent-encoded"),
        ("/ü", "has to be percent-encoded"),
        ("/t%2", "has to be percent-encoded"),
        ("/a/../{operation}", "a dot segment"),
        ("/" + "x" * TARGET_MAX, "longer than"),
    ],
)
def test_template_that_cannot_be_a_target_says_why(text: str, why: str) -> None:
    """To whoever wrote the policy, when it is loaded."""
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_template(text)


@given(st.text(min_size=1, max_size=40))
def test_no_value_leaves_its_gap(value: str) -> None:
    """Whatever a caller sends, the target stays printable, keeps its shape, and gives the value back."""
    template = parse_template("/a/{run_id}/b?c={run_id}&d=1")
    target = template.fill({"run_id": value})
    if target is None:
        assert value in {".", ".."} or re.search("[\ud800-\udfff]", value)
        return
    found = re.fullmatch(r"/a/([A-Za-z0-9._~%-]+)/b\?c=([A-Za-z0-9._~%-]+)&d=1", target)
    assert found is not None
    assert unquote(found[1], errors="surrogateescape") == unquote(found[2], errors="surrogateescape") == value
