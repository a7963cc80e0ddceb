"""Effect keys: which two calls are one effect, and which are never taken for one."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger.effect import WHOLE_DIGITS_MAX, Part, effect_key, json_part, read, text_part
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
        (b'{"v": -0.0}', b'{"v":0}'),
        (b'{"v": 9007199254740993.0}', b'{"v":9007199254740993}'),
        (b'{"v": 1e20}', b'{"v":100000000000000000000}'),
        (b'{"v": 0.1000000000000000000000}', b'{"v":1e-1}'),
        (b'{"v": 10e400}', b'{"v":1e401}'),
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
        (b'{"v": 1e400}', b'{"v": 2e400}'),
        (b'{"v": 1e400}', b'{"v": -1e400}'),
        (b'{"v": 1e400}', b'{"v": null}'),
        (b'{"v": [1e400, null]}', b'{"v": [null, 1e400]}'),
        (b'{"v": 18446744073709551616}', b'{"v": 18446744073709551617}'),
        (b'{"v": %s}' % (b"1" * 500), b'{"v": %s}' % (b"1" * 501)),
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


def test_key_is_what_it_was_and_always_as_long() -> None:
    """Another version computes the same, or a duplicate would get through at every upgrade."""
    parts = [Part(SUBJECT, "jcs", b'"printer"'), text_part("header:X-Region", "eu")]
    assert effect_key("acme", "create_ticket", "thread", "thread_7QpK", parts) == KNOWN
    assert len(effect_key("", "", "tenant", "", [Part(SUBJECT, "jcs", b"x" * 100_000)])) == len(KNOWN)


KNOWN = "efd8698d175f9e29c580f4d8276ff9cd4b097f0d"


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=5), st.data())
def test_bytes_never_move_from_one_part_to_the_next(pieces: list[bytes], data: st.DataObject) -> None:
    """The same bytes, cut at other places, are other values."""
    whole = b"".join(pieces)
    places = st.lists(st.integers(0, len(whole)), min_size=len(pieces) - 1, max_size=len(pieces) - 1)
    bounds = [0, *sorted(data.draw(places)), len(whole)]
    others = [whole[begin:end] for begin, end in itertools.pairwise(bounds)]
    one, other = (effect_key("-", "t", "run", "r", [Part("", "", piece) for piece in cut]) for cut in (pieces, others))
    assert (one == other) is (pieces == others)


def test_source_and_form_tell_equal_bytes_apart() -> None:
    """A header's `42` is no body's, nor another header's, nor the number."""
    parts = [text_part("header:X", "42"), text_part("header:Y", "42"), json_part("header:X", 42), json_part("b", "42")]
    assert len({effect_key("-", "t", "run", "r", [part]) for part in parts if part is not None}) == 4


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_header_fields_are_compared_byte_for_byte(one: bytes, other: bytes) -> None:
    """Neither case nor white space nor encoding is touched, nor must it be UTF-8; a tenant's or thread's neither."""
    texts = [raw.decode("utf-8", "surrogateescape") for raw in (one, other)]
    assert [text_part("header:X", text).data for text in texts] == [one, other]
    keys = [effect_key(text, "t", "run", text, [text_part("header:X", text)]) for text in texts]
    assert (keys[0] == keys[1]) is (one == other)


@given(texts)
def test_quick_way_for_plain_text_is_the_canonical_one(text: str) -> None:
    """A tenth of the time, the same bytes."""
    assert json_part(SUBJECT, text) == Part(SUBJECT, "jcs", rfc8785.dumps(text))


_digits = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(_digits, _digits)
def test_numbers_are_one_effect_exactly_if_they_are_equal(one: str, other: str) -> None:
    """However long, however small, beyond a double's range too: to be answered with the result of another amount would
    be worse than a second execution."""
    assume(max(abs(Decimal(digits).adjusted()) for digits in (one, other)) < WHOLE_DIGITS_MAX)
    same = Decimal(one) == Decimal(other)
    for body in ('{"v": %s}', '{"v": [%s, 1152921504606846976]}'):
        assert (key_of((body % one).encode()) == key_of((body % other).encode())) is same


@given(_digits, st.integers(0, 30))
def test_zeros_at_the_end_of_a_fraction_do_not_matter(digits: str, zeros: int) -> None:
    """`1.50` is `1.5`, also where a double would not hold it."""
    head, e, power = digits.partition("e")
    longer = head + ("" if "." in head else ".0") + "0" * zeros + e + power
    assume("E" not in digits)
    assert key_of(b'{"v": %s}' % digits.encode()) == key_of(b'{"v": %s}' % longer.encode())


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
    "body",
    [
        b"",
        b"no JSON",
        b'{"v": 1, "v": 2}',
        b'{"v": NaN}',
        b'{"v": "\xff"}',
        b"[" * 100_000,
        b"1" * 5_000,
        b"1.5e99999999999999999999",
    ],
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
