"""The key that goes down to a tool: set where the policy says, and nothing else is touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.selector import find, parse_selector
from proxy.keyed import with_key
from proxy.problems import Kind, Refused

FIELD = parse_selector("body:/key")
NESTED = parse_selector("body:/meta/a~1b/key")


def test_header_takes_the_place_of_the_callers_own_however_it_is_spelled() -> None:
    """One key, and it is the operation's: a caller's own would be another with each of its attempts."""
    headers = ((b"idempotency-key", b"mine"), (b"Accept", b"*/*"), (b"IDEMPOTENCY-KEY", b"mine, too"))
    given_headers, body = with_key(parse_selector("header:Idempotency-Key"), headers, b"\xff", "op_1")
    assert given_headers == ((b"Accept", b"*/*"), (b"Idempotency-Key", b"op_1"))
    assert body == b"\xff"


@pytest.mark.parametrize(
    ("selector", "before", "after"),
    [
        (FIELD, b"{}", b'{"key":"op_1"}'),
        (FIELD, b" { } \n", b' {"key":"op_1" } \n'),
        (FIELD, b'{"a": 1.0e2, "b": 12345678901234567890}', b'{"key":"op_1","a": 1.0e2, "b": 12345678901234567890}'),
        (FIELD, b'{"a": {"key": 1}, "key" : [1, {"x": "}"}] , "b": 2}', b'{"a": {"key": 1}, "key" : "op_1" , "b": 2}'),
        (FIELD, b'{"k\\u0065y": "x", "a": 1, "a": 2}', b'{"k\\u0065y": "op_1", "a": 1, "a": 2}'),
        (NESTED, b'{"a": 1}', b'{"meta":{"a/b":{"key":"op_1"}},"a": 1}'),
        (NESTED, b'{"meta": {"c": "\xc3\xa9"}}', b'{"meta": {"a/b":{"key":"op_1"},"c": "\xc3\xa9"}}'),
        (NESTED, b'{"meta": {"a/b": {"key": "old"}}}', b'{"meta": {"a/b": {"key": "op_1"}}}'),
    ],
)
def test_field_is_set_and_every_other_byte_stays(selector: object, before: bytes, after: bytes) -> None:
    """Numbers, spaces and duplicate names are the caller's business."""
    assert with_key(selector, (), before, "op_1") == ((), after)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selector", "body"),
    [
        (FIELD, b""), (FIELD, b"[]"), (FIELD, b'"text"'), (FIELD, b"{"), (FIELD, b"\xff"), (FIELD, b'{"a": NaN}'),
        (FIELD, b'{"key": 1, "key": 2}'), (NESTED, b'{"meta": []}'), (NESTED, b'{"meta": {"a/b": 1}}'),
        (FIELD, b"[" * 100_000), (FIELD, b"\xef\xbb\xbf{}"),
    ],
)  # fmt: skip
def test_body_without_a_place_for_the_key_is_refused(selector: object, body: bytes) -> None:
    """Sent without it, a second attempt would be a second call."""
    with pytest.raises(Refused) as refused:
        with_key(selector, (), body, "op_1")  # type: ignore[arg-type]
    assert refused.value.kind is Kind.BAD_REQUEST


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["key", "a", "meta", ""]) | st.text(max_size=3), JSON), st.sampled_from([None, 2])
)
def test_document_is_the_same_but_for_its_key(document: dict[str, object], indent: int | None) -> None:
    """Whatever JSON writes, the field is what we set and all else is what it was."""
    _, body = with_key(FIELD, (), json.dumps(document, indent=indent).encode(), "op_1")
    sent = json.loads(body)
    assert find("/key", sent) == "op_1"
    assert {**sent, "key": None} == {**document, "key": None}
