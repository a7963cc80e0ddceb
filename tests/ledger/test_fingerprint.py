"""The fingerprint: equal for two spellings of one request, different for two requests that a tool could tell apart."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger import fingerprint as under_test
from ledger.fingerprint import JSON_BYTES_MAX, REMEMBERED_BYTES_MAX, canonical, fingerprint, read_plain
from policies.model import Selector

INTEGER_MAX = 2**53 - 1


def marked(
    body: bytes = b"{}", *, method: bytes = b"POST", target: bytes = b"/tools/a", principal: str | None = None,
    json_body: bool = True, ignore: tuple[str, ...] = (),
) -> str:  # fmt: skip
    """Return the fingerprint of a request, usual but for what is given; `ignore` are JSON Pointers."""
    selectors = tuple(Selector("body", pointer) for pointer in ignore)
    return fingerprint(method, target, body, selectors, principal, json_body)


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-INTEGER_MAX, INTEGER_MAX),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
_plain_names = st.text(st.characters(max_codepoint=127), max_size=6)
_names = st.text(st.characters(codec="utf-8"), max_size=6)


def _documents(names: st.SearchStrategy[str], scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
    )


_plain = _documents(_plain_names, _scalars)
_tame_floats = st.decimals(-1_000_000, 1_000_000, places=4).map(float)
_any = _documents(_names, _scalars | _tame_floats)


def shuffled(value: Any, data: st.DataObject) -> Any:
    """Return the same document with the members of its objects in another order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name], data) for name in data.draw(st.permutations(list(value)))}
    return [shuffled(item, data) for item in value] if isinstance(value, list) else value


@given(_plain)
def test_plain_document_in_canonical_form_is_rfc_8785s(document: Any) -> None:
    """The fast way writes what the standard's own encoder writes, byte for byte."""
    assert canonical(json.dumps(document).encode()) == rfc8785.dumps(document)


@given(_any)
def test_any_document_in_canonical_form_is_rfc_8785s(document: Any) -> None:
    """Floats and names beyond ASCII take the full way, with the same end."""
    assert canonical(json.dumps(document, ensure_ascii=False).encode()) == rfc8785.dumps(document)


@given(_any, st.data())
def test_order_white_space_and_escapes_do_not_matter(document: Any, data: st.DataObject) -> None:
    """A retry by another library, or another version of one, is the same call."""
    one = json.dumps(document).encode()
    other = json.dumps(
        shuffled(document, data), ensure_ascii=False, indent=data.draw(st.sampled_from([None, 0, 3])),
        separators=data.draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
    ).encode()  # fmt: skip
    assert marked(one) == marked(other)


@given(_any, _any)
def test_different_documents_are_different(one: Any, other: Any) -> None:
    """What JSON tells apart, the fingerprint does."""
    written = json.dumps(one).encode(), json.dumps(other).encode()
    assume(rfc8785.dumps(one) != rfc8785.dumps(other))
    assert marked(written[0]) != marked(written[1])


_digits = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


def value_of(digits: str) -> tuple[int, int]:
    """Return a number as it is written, exactly: an integer mantissa without trailing zeros, and a power of ten."""
    head, _, exponent = digits.lower().partition("e")
    whole, _, part = head.partition(".")
    mantissa, power = int(whole + part), int(exponent or "0") - len(part)
    while mantissa and mantissa % 10 == 0:
        mantissa, power = mantissa // 10, power + 1
    return (mantissa, power) if mantissa else (0, -1 if digits.startswith("-") else 0)


@given(_digits, _digits)
def test_numbers_of_different_value_are_different(one: str, other: str) -> None:
    """No precision is lost that a tool with better numbers than a double's could see."""
    assume(value_of(one) != value_of(other))
    assert marked(b'{"n": %s}' % one.encode()) != marked(b'{"n": %s}' % other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678", "123456789012345679"),
        ("1e-400", "0"),
        ("1e-400", "0.0"),
        ("4.9e-324", "5e-324"),
        ("1.2e-320", "1.20001e-320"),
        ("-0", "0"),
        ("-0.0", "0.0"),
        ("-0.0", "0"),
        ("-0e0", "0"),
        ("1e400", "2e400"),
        ("0.1234567890123456789", "0.1234567890123456788"),
        ("1" * 400, "1" * 401),
    ],
)
def test_numbers_that_doubles_would_conflate_stay_apart(one: str, other: str) -> None:
    """Integers beyond 2^53, too many digits, underflow and negative zero are compared as they are written."""
    assert marked(b"[%s]" % one.encode()) != marked(b"[%s]" % other.encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"\xc3\xa9": 1, "\\u00e9": 2}',
        b'{ "a": 9007199254740992}',
        b'{ "a": -9007199254740992}',
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b'["\\ud800"]',
        b'{"\\udfff": 1}',
        b"[1,]",
        b"{'a': 1}",
        b"",
        b" ",
        b"\xff\xfe",
        b'\xef\xbb\xbf{"a": 1}',
        b"1 2",
        b"[" * 100_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'"' + b"a" * JSON_BYTES_MAX + b'"',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_body_that_has_no_safe_canonical_form_is_taken_as_it_is(body: bytes) -> None:
    """Whatever is doubtful is compared byte for byte, and never refused for it."""
    assert canonical(body) is None
    assert marked(body) == marked(body)
    assert marked(body) != marked(body + b" ")


def test_large_integer_is_kept_to_the_last_digit() -> None:
    """Key order does not matter beside an integer that a double could not hold, and its last digit does."""
    assert canonical(b'{"b":1,"a":9007199254740993}') == b'{"a":9007199254740993,"b":1}'
    assert marked(b'{"a":9007199254740993}') != marked(b'{"a":9007199254740992}')


def test_body_just_small_enough_is_canonical() -> None:
    """64 KiB are still read."""
    body = b'"' + b"a" * (JSON_BYTES_MAX - 2) + b'"'
    assert canonical(body) == body


@given(st.binary(max_size=50))
def test_no_body_raises(body: bytes) -> None:
    """A body is the caller's: nothing in it can stop the guard."""
    assert marked(body) == marked(body)


def test_body_that_is_not_declared_as_json_is_taken_as_it_is() -> None:
    """A form or a file that happens to look like JSON is not read as such."""
    assert marked(b'{"a":1,"b":2}', json_body=False) != marked(b'{"b":2,"a":1}', json_body=False)
    assert marked(b"{}", json_body=False) != marked(b"{}", json_body=True)


_parts = st.tuples(
    st.sampled_from([b"POST", b"PUT", b"P"]),
    st.binary(max_size=4),
    st.none() | st.text(st.characters(max_codepoint=255), max_size=3),
    st.binary(max_size=4),
)


@pytest.mark.fault(7, 50)
@given(_parts, _parts)
def test_requests_differ_in_any_part_that_counts(
    one: tuple[bytes, bytes, str | None, bytes], other: tuple[bytes, bytes, str | None, bytes]
) -> None:
    """Method, target, principal and body each count, and nothing in one passes for the border to the next."""
    marks = [
        marked(body, method=method, target=target, principal=principal, json_body=False)
        for method, target, principal, body in (one, other)
    ]
    assert (marks[0] == marks[1]) == (one == other)


@pytest.mark.fault(50)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"target": b"/a", "body": b"bc"}, {"target": b"/ab", "body": b"c"}),
        ({"method": b"POST", "target": b"X/a"}, {"method": b"POSTX", "target": b"/a"}),
        ({"principal": None, "body": b"raw"}, {"principal": "", "body": b"raw"}),
        ({"principal": "+"}, {"principal": "-"}),
        ({"principal": "a", "body": b"raw"}, {"principal": "araw", "body": b""}),
    ],
)
def test_parts_that_concatenate_alike_stay_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Each part is hashed with its length."""
    assert marked(**one, json_body=False) != marked(**other, json_body=False)


@pytest.mark.fault(8)
def test_another_principal_is_another_request() -> None:
    """With the same ids and the same body, somebody else's credential is a 422 and never a replay."""
    assert len({marked(principal=who) for who in (None, "", "Bearer a", "Bearer b")}) == 4


@pytest.mark.parametrize(
    ("pointer", "one", "other"),
    [
        ("/at", '{"a": 1, "at": 5}', '{"at": 6, "a": 1}'),
        ("/at", '{"a": 1, "at": 5}', '{"a": 1}'),
        ("/meta/sent_at", '{"meta": {"sent_at": 1.5, "x": 0}}', '{"meta": {"x": 0}}'),
        ("/list/1/at", '{"list": [0, {"at": 1}]}', '{"list": [0, {"at": "other"}]}'),
        ("/a~1b/~0", '{"a/b": {"~": 1}}', '{"a/b": {"~": 2}}'),
    ],
)
def test_ignored_place_may_differ(pointer: str, one: str, other: str) -> None:
    """A timestamp that each attempt sets anew does not make another call of it."""
    assert marked(one.encode(), ignore=(pointer,)) == marked(other.encode(), ignore=(pointer,))
    assert marked(one.encode()) != marked(other.encode())


@pytest.mark.parametrize("pointer", ["/missing", "/a/b/c", "/list/9/at", "/list/0", "/a", ""])
def test_ignoring_what_is_not_there_ignores_nothing_else(pointer: str) -> None:
    """A place that a body does not have, or that is no member of an object, is no fault."""
    bodies = [b'{"x": 1, "list": [1]}', b'{"x": 2, "list": [1]}', b'{"x": 1, "list": [2]}']
    ignore = (pointer,) if pointer else ()
    assert len({marked(body, ignore=ignore) for body in bodies}) == 3


def test_everything_finite_that_a_double_can_hold_is_read() -> None:
    """Being careful about numbers does not mean giving up on ordinary ones."""
    for digits in ("0", "0.0", "1.5", "-3.25", "1e21", "1E-7", "0.000001", "123456789.012345", str(math.pi)[:16]):
        assert canonical(b"[%s]" % digits.encode()) is not None, digits


def test_body_that_comes_again_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks again sends the same bytes: their canonical form is remembered, for each list of ignored places apart;
    that of a long body is not."""
    at = Selector("body", "/at")
    short, long = b'{"v": "again", "at": 1}', b'{"v": "%b"}' % (b"x" * REMEMBERED_BYTES_MAX)
    forms = [canonical(short), canonical(short, (at,)), canonical(long)]
    read: list[bytes] = []

    def reading(body: bytes) -> Any:
        read.append(body)
        return read_plain(body)

    monkeypatch.setattr(under_test, "read_plain", reading)
    assert [canonical(short), canonical(short, (at,)), canonical(long)] == forms
    assert forms[:2] == [b'{"at":1,"v":"again"}', b'{"v":"again"}']
    assert read == [long]


@pytest.mark.parametrize("body", [b'{"b": 1, "a": [true]}', b'{"b": 1.0, "a": 2}', b"null", b"{"])
def test_body_that_was_read_for_its_effect_has_the_same_form(body: bytes) -> None:
    """It makes no difference whether what `read_plain` makes of a body is handed in or found out."""
    assert canonical(body, (), read_plain(body)) == canonical(body)
