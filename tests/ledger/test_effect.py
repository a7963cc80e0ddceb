"""Effect keys: which two calls are one effect, and which are never taken for one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.effect import Part, effect_key, json_part, read, text_part
from policies.selector import MISSING

SUBJECT = "body:/subject"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def key_of(
    body: bytes, *, tenant: str = "-", tool: str = "send_email", scope: str = "thread", within: str = "t"
) -> str:
    """Return the effect key of a call whose one field is the body's `v`."""
    part = json_part(SUBJECT, read(body)["v"])
    assert part is not None
    return effect_key(tenant, tool, scope, within, [part])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"v": "x"}', b'{ "v" :"x","note":"other words" }'),
        (b'{"v": {"a": 1, "b": [true, null]}}', b'{"v":{"b":[true,null],"a":1}}'),
        (b'{"v": 1.0}', b'{"v":1}'),
        (b'{"v": 1e2}', b'{"v":100}'),
        (b'{"v": -0}', b'{"v":0}'),
        (b'{"v": "\\u00e9"}', '{"v":"é"}'.encode()),
        (b'{"v": "\\u0041"}', b'{"v":"A"}'),
        (b'{"v": 12345678901234567890}', b'{"v":12345678901234567890}'),
        (b'{"v": [1.0, 12345678901234567890]}', b'{"v":[1,12345678901234567890]}'),
        (b'{"v": 0.12345678901234567890}', b'{"v":0.12345678901234567890, "w": 2}'),
    ],
)  # fmt: skip
def test_same_value_in_other_spelling_is_the_same_effect(one: bytes, other: bytes) -> None:
    """White space, the order of members, escapes and the digits of a number do not matter; other fields neither."""
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"v": "x"}', b'{"v": "X"}'),
        (b'{"v": "1"}', b'{"v": 1}'),
        (b'{"v": "null"}', b'{"v": null}'),
        (b'{"v": true}', b'{"v": 1}'),
        (b'{"v": [1, 2]}', b'{"v": [2, 1]}'),
        (b'{"v": []}', b'{"v": {}}'),
        (b'{"v": 9007199254740992}', b'{"v": 9007199254740993}'),
        (b'{"v": 12345678901234567890}', b'{"v": 12345678901234567891}'),
        (b'{"v": 0.1}', b'{"v": 0.10000000000000000001}'),
        (b'{"v": 1e-400}', b'{"v": 0}'),
    ],
)
def test_other_value_is_another_effect(one: bytes, other: bytes) -> None:
    """Numbers that a double would take for one stay two: large ids are numbers like that."""
    assert key_of(one) != key_of(other)


def test_whose_and_where_is_part_of_the_effect() -> None:
    """Tenant, tool, kind of scope and whose: each makes another effect."""
    body = b'{"v": 1}'
    keys = {
        key_of(body), key_of(body, tenant="acme"), key_of(body, tool="create_ticket"), key_of(body, scope="user"),
        key_of(body, within="t2"), key_of(body, tenant="-send", tool="_email"),
    }  # fmt: skip
    assert len(keys) == 6


@pytest.mark.fault(50)
@given(st.lists(st.tuples(texts, texts), max_size=3), st.lists(st.tuples(texts, texts), max_size=3))
def test_parts_that_concatenate_alike_stay_apart(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """Each part is length-prefixed and named by its selector."""

    def key(pairs: list[tuple[str, str]]) -> str:
        return effect_key("-", "tool", "thread", "t", [text_part(source, text) for source, text in pairs])

    assert (key(one) == key(other)) == (one == other)


@given(values)
def test_value_does_not_care_how_it_was_written(value: Any) -> None:
    """Indented, sorted, escaped or compact: one effect."""
    ways = [
        json.dumps({"v": value}), json.dumps({"v": value}, indent=2), json.dumps({"v": value}, ensure_ascii=False),
        json.dumps({"v": value}, sort_keys=True, separators=(",", ":")),
    ]  # fmt: skip
    assert len({key_of(way.encode()) for way in ways}) == 1


@given(values, values)
def test_two_values_are_one_effect_only_if_they_are_equal(one: Any, other: Any) -> None:
    """No two different JSON values share a key; `1` and `1.0` are equal, `true` and `1` are not."""
    same = key_of(json.dumps({"v": one}).encode()) == key_of(json.dumps({"v": other}).encode())
    assert same == (_typed(one) == _typed(other))


def _typed(value: Any) -> Any:
    """Return a value that Python compares as JSON does."""
    match value:
        case bool():
            return ("bool", value)
        case int() | float():
            return ("number", Decimal(repr(value)).normalize() + 0)
        case list():
            return [_typed(one) for one in value]
        case dict():
            return {name: _typed(one) for name, one in value.items()}
        case _:
            return value


@pytest.mark.parametrize(
    "body", [b"", b"no JSON", b'{"v": 1, "v": 2}', b'{"v": NaN}', b'{"v": "\xff"}', b"[" * 100_000]
)
def test_body_that_could_be_read_in_two_ways_has_no_fields(body: bytes) -> None:
    """Whose doubled member counts, nobody knows: there is no effect key then."""
    assert read(body) is MISSING


def test_value_that_is_no_text_has_no_form() -> None:
    """A lone surrogate cannot be compared."""
    assert json_part(SUBJECT, read(b'{"v": "\\ud800"}')["v"]) is None


def test_large_documents_have_effect_keys_too() -> None:
    """An e-mail with an attachment is the same e-mail twice, beyond what a fingerprint takes apart."""
    body = json.dumps({"v": "x", "attachment": "y" * 200_000}).encode()
    assert json_part(SUBJECT, read(body)["v"]) == Part(SUBJECT, "jcs", b'"x"')
