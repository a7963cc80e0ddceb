"""What is kept of a reply for others, and when two replies are the same answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.records import CorruptRecord
from ledger.result import HEAD_BYTES_MAX, Result, connection_tokens, decode, digest, encode, head_of, storable

_headers = st.lists(st.tuples(st.binary(), st.binary()), max_size=5).map(tuple)


@given(st.builds(Result, st.integers(100, 599), st.binary(), _headers, st.binary()))
def test_result_is_read_back_byte_for_byte(result: Result) -> None:
    """A replay is the reply, not an account of it (I2)."""
    assert decode(encode(result)) == result


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "data", [b"", b"\x90", b"junk", encode(Result(200, b"OK", (), b"body"))[:-1], b"\x93" * 100_000]
)
def test_result_that_cannot_be_read_is_corrupt(data: bytes) -> None:
    """Half a reply is not replayed as a whole one."""
    with pytest.raises(CorruptRecord):
        decode(data)


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    "name",
    [
        b"Set-Cookie", b"set-cookie2", b"AUTHORIZATION", b"Authentication-Info", b"Proxy-Authentication-Info",
        b"Proxy-Authenticate", b"Connection", b"Keep-Alive", b"Transfer-Encoding", b"Trailer", b"Upgrade", b"TE",
        b"Content-Length",
    ],
)  # fmt: skip
def test_fields_of_one_caller_or_connection_are_not_kept(name: bytes) -> None:
    """Cookies and credentials that a tool sent one caller never reach another, in any spelling."""
    assert storable(((name, b"x"), (b"X-Kept", b"y"))) == ((b"X-Kept", b"y"),)


def test_other_fields_are_kept_in_order_and_case() -> None:
    """A replay looks as the reply did, doubled fields included."""
    headers = ((b"ETag", b'"1"'), (b"x-A", b"1"), (b"X-a", b"2"), (b"Location", b"/t/1"))
    assert storable(headers) == headers


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"holdfast", False), (b"Holdfast; error=destination_unavailable", False), (b'"holdfast" ;x', False),
        (b"cdn; error=http_response_timeout, holdfast", False), (b"holdfast,cdn", False),
        (b"cdn; error=http_response_timeout", True), (b"holdfast-like", True), (b"cdn; details=holdfast", True),
    ],
)  # fmt: skip
def test_proxy_status_that_names_us_is_not_kept(value: bytes, kept: bool) -> None:
    """It is by this field that callers tell a refusal of ours from what a tool says; those of others stay."""
    field = (b"Proxy-Status", value)
    assert storable((field, (b"X-Kept", b"y"))) == ((field,) if kept else ()) + ((b"X-Kept", b"y"),)


def test_fields_that_connection_names_are_not_kept() -> None:
    """What a sender declared hop-by-hop was for the next hop (RFC 9110, 7.6.1)."""
    headers = ((b"Connection", b"close, X-Hop"), (b"connection", b" x-other "), (b"x-hop", b"1"), (b"X-Other", b"2"))
    assert storable((*headers, (b"X-End", b"3"))) == ((b"X-End", b"3"),)
    assert connection_tokens(headers) == {b"close", b"x-hop", b"x-other"}


_replies = st.tuples(st.integers(100, 599), st.binary(max_size=5), st.binary(max_size=5))


@given(_replies, _replies)
def test_digest_is_of_status_type_and_body(one: tuple[int, bytes, bytes], other: tuple[int, bytes, bytes]) -> None:
    """Two replies are the same answer exactly if those three are."""
    digests = [
        digest(status, ((b"Content-Type", kind), (b"Date", b"any")), body) for status, kind, body in (one, other)
    ]
    assert (digests[0] == digests[1]) == (one == other)


def test_digest_does_not_see_dates_and_ids() -> None:
    """A tool that repeats itself with a new Date has not contradicted itself."""
    assert digest(200, ((b"Date", b"Mon"),), b"x") == digest(200, ((b"Date", b"Tue"), (b"X-Request-Id", b"2")), b"x")


def test_head_of_a_reply_is_what_still_says_something_without_its_body() -> None:
    """What it was, what it made and where: nothing that belongs to one caller, and the body's length."""
    headers = (
        (b"Set-Cookie", b"session=1"), (b"ETag", b'"v1"'), (b"CONTENT-TYPE", b"application/json"), (b"X-Id", b"7"),
        (b"Location", b"/tickets/7"), (b"Content-Length", b"9999"), (b"Location", b"/elsewhere"),
        (b"Last-Modified", b"Wed, 21 Oct 2015 07:28:00 GMT"),
    )  # fmt: skip
    assert head_of(headers, 12) == (
        (b"Content-Length", b"12"), (b"CONTENT-TYPE", b"application/json"), (b"Location", b"/tickets/7"),
        (b"ETag", b'"v1"'), (b"Last-Modified", b"Wed, 21 Oct 2015 07:28:00 GMT"),
    )  # fmt: skip


def test_head_without_a_known_length_has_none() -> None:
    """A stream that was passed on has no length that could be told."""
    assert head_of(((b"Content-Type", b"text/event-stream"),), None) == ((b"Content-Type", b"text/event-stream"),)
    assert head_of((), 0) == ((b"Content-Length", b"0"),)


def test_field_that_is_declared_hop_by_hop_is_not_in_the_head() -> None:
    """It spoke of one connection only."""
    assert head_of(((b"Connection", b"close, ETag"), (b"ETag", b'"v1"')), 0) == ((b"Content-Length", b"0"),)


@given(
    st.lists(st.tuples(st.sampled_from([b"Content-Type", b"Location", b"ETag"]), st.binary(max_size=2_000)), max_size=9)
)
def test_head_is_bounded(headers: list[tuple[bytes, bytes]]) -> None:
    """A record stays small, whatever the tool sends; what is too long is left out, and never cut."""
    head = head_of(tuple(headers), 2**60)
    assert sum(len(name) + len(value) for name, value in head) <= HEAD_BYTES_MAX
    assert set(head[1:]) <= set(headers)


def test_long_field_does_not_keep_the_short_ones_out() -> None:
    """A location of two thousand bytes is left out alone."""
    head = head_of(((b"Location", b"/" + b"x" * 2_000), (b"ETag", b'"v1"')), 1)
    assert head == ((b"Content-Length", b"1"), (b"ETag", b'"v1"'))
