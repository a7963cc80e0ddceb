"""Header fields: what goes to the tool, what comes back, what is ours, and what is nobody's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fields import (
    ALWAYS_CONTROL,
    CONTROL_BYTES_MAX,
    LAYOUTS_MAX,
    NAMES_BYTES_MAX,
    SPELLINGS_MAX,
    Incoming,
    Sorter,
    from_tool,
    is_json,
    without_respond_async,
)
from proxy.forward import Headers
from proxy.problems import Kind, Refused

NAMED = ALWAYS_CONTROL | {b"authorization", b"x-account"}
HOST = (b"Host", b"tools")


def sorted_of(*fields: tuple[bytes, bytes]) -> Incoming:
    """Return a request's fields, sorted."""
    return Sorter(NAMED).sort(fields)


def refused(*fields: tuple[bytes, bytes]) -> Refused:
    """Return how a request's fields are refused."""
    with pytest.raises(Refused) as caught:
        sorted_of(*fields)
    assert caught.value.kind is Kind.BAD_REQUEST
    return caught.value


def onward(*fields: tuple[bytes, bytes]) -> Headers:
    """Return what of a request goes to the tool, but for Host."""
    return sorted_of(HOST, *fields).for_tool(b"x", replace=False)[1:]


def test_ordinary_fields_pass_in_their_order_and_case() -> None:
    """Byte for byte, doubled ones too."""
    fields = ((b"accept", b"*/*"), (b"X-B", b"\xff odd "), (b"x-b", b""), (b"User-Agent", b"x"))
    assert onward(*fields) == fields


@pytest.mark.parametrize("name", [b"X-Run-Id", b"x-tool-call-id", b"IDEMPOTENCY-KEY", b"Authorization", b"X-Account"])
def test_control_fields_are_taken_and_passed_on(name: bytes) -> None:
    """The tool may want them as well."""
    incoming = sorted_of((name, b"abc"))
    assert incoming.controls.get(name.lower(), incoming.credential) == "abc"
    assert (name, b"abc") in incoming.onward


def test_control_field_that_is_absent_is_empty() -> None:
    """Not an error here: the policy says what is needed."""
    assert b"x-run-id" not in sorted_of().controls


@pytest.mark.fault(10)
@pytest.mark.parametrize("name", [b"X-Run-Id", b"Authorization", b"Idempotency-Key"])
def test_control_field_that_appears_twice_is_refused(name: bytes) -> None:
    """Equal or not: two parties could each take another one."""
    assert "twice" in refused((name, b"a"), (name.lower(), b"a")).detail


@pytest.mark.fault(10)
def test_control_field_that_is_too_long_is_refused() -> None:
    """255 bytes are the limit."""
    assert sorted_of((b"X-Run-Id", b"a" * CONTROL_BYTES_MAX)).controls[b"x-run-id"]
    assert "longer" in refused((b"X-Run-Id", b"a" * (CONTROL_BYTES_MAX + 1))).detail
    assert "longer" in refused((b"X-Run-Id", b"a" * 10_000)).detail


@pytest.mark.fault(10)
@pytest.mark.parametrize("value", [b"a\x00b", b"a\tb", b"a\x7f", b"\xc3\xa9", b"\xff", b"\x1b[0m"])
def test_control_field_with_other_characters_is_refused(value: bytes) -> None:
    """Printable ASCII is what ids are made of; anything else is read differently by somebody."""
    assert "printable ASCII" in refused((b"X-Tool-Call-Id", value)).detail


def test_credential_may_be_long_and_odd() -> None:
    """It is hashed and kept nowhere."""
    assert (sorted_of((b"Authorization", b"Bearer " + b"\xffa" * 5_000)).credential or "").startswith("Bearer ")


@pytest.mark.fault(10)
@pytest.mark.parametrize("name", [b"X_Run_Id", b"x-run_id", b"Idempotency_Key", b"X_ACCOUNT"])
def test_underscores_that_imitate_a_control_field_are_refused(name: bytes) -> None:
    """Servers behind us may take one for the other."""
    assert "hyphens" in refused((name, b"a")).detail


def test_other_underscores_pass() -> None:
    """They imitate nothing of ours."""
    assert onward((b"my_field", b"1")) == ((b"my_field", b"1"),)


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    "name", [b"Holdfast-Operation", b"holdfast-attempt", b"HOLDFAST-ANYTHING", b"Idempotent-Replayed"]
)
def test_fields_of_ours_are_stripped_from_requests_and_replies(name: bytes) -> None:
    """Nobody else says what we say."""
    assert onward((name, b"1"), (b"X-Kept", b"1")) == ((b"X-Kept", b"1"),)
    assert from_tool(((name, b"1"), (b"X-Kept", b"1"))) == ((b"X-Kept", b"1"),)


@pytest.mark.fault(11)
def test_tool_cannot_sign_as_us() -> None:
    """A Proxy-Status that names Holdfast is not the tool's to send; what others have to say there passes."""
    others = (b"Proxy-Status", b"cdn; error=connection_refused")
    assert from_tool(((b"PROXY-Status", b"holdfast; error=destination_unavailable"), others)) == (others,)


HOP_BY_HOP = [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade",
              b"Proxy-Authorization", b"Proxy-Authenticate"]  # fmt: skip


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_fields_of_one_connection_do_not_pass(name: bytes) -> None:
    """In either direction (RFC 9110, 7.6.1)."""
    assert onward((name, b"x"), (b"X-Kept", b"1")) == ((b"X-Kept", b"1"),)
    assert from_tool(((name, b"x"), (b"X-Kept", b"1"))) == ((b"X-Kept", b"1"),)


@pytest.mark.fault(11)
def test_connection_strips_what_it_names_but_no_control_field_and_no_host() -> None:
    """Nobody can make a call anonymous, or send it to another host, by naming fields in Connection."""
    incoming = sorted_of(
        (b"Connection", b"close, X-Hop, X-Run-Id, Authorization"), (b"X-Hop", b"1"), HOST, (b"X-Run-Id", b"run"),
        (b"connection", b"x-tool-call-id,host"), (b"X-Tool-Call-Id", b"call"), (b"Authorization", b"a"),
    )  # fmt: skip
    assert (incoming.controls[b"x-run-id"], incoming.controls[b"x-tool-call-id"]) == ("run", "call")
    assert incoming.for_tool(b"other", replace=False) == (
        HOST, (b"X-Run-Id", b"run"), (b"X-Tool-Call-Id", b"call"), (b"Authorization", b"a"),
    )  # fmt: skip
    assert incoming.for_tool(b"other", replace=True)[0] == (b"Host", b"other")


def test_connection_strips_what_it_names_from_replies() -> None:
    """What the tool declared to be for its next hop only."""
    headers = ((b"X-Hop", b"1"), (b"Connection", b"keep-alive, x-hop"), (b"X-Kept", b"1"))
    assert from_tool(headers) == ((b"X-Kept", b"1"),)


def test_cookies_go_to_the_caller_who_asked() -> None:
    """Only others never get them (`ledger.result`)."""
    assert from_tool(((b"Set-Cookie", b"a=1"),)) == ((b"Set-Cookie", b"a=1"),)


# -- framing, Host and preferences -----------------------------------------------------------------------------------


def test_framing_is_not_passed_on() -> None:
    """The forward frames anew."""
    incoming = sorted_of(HOST, (b"Content-Length", b"12"), (b"Expect", b" 100-Continue"), (b"Content-Type", b"A/B"))
    assert incoming.content_type == b"a/b"
    assert incoming.for_tool(b"x", replace=False) == (HOST, (b"Content-Type", b"A/B"))


def test_host_twice_is_refused_and_a_missing_one_is_filled_in() -> None:
    """RFC 9112, 3.2: one of it; HTTP/1.0 knew none."""
    assert refused(HOST, HOST).close
    assert sorted_of((b"X-A", b"1")).for_tool(b"tools:80", replace=False) == ((b"Host", b"tools:80"), (b"X-A", b"1"))


@pytest.mark.parametrize(
    ("value", "patience_ms", "rest"),
    [
        (b"wait=5", 5_000, None),
        (b"wait = 5", 5_000, None),
        (b'Wait="30"', 30_000, None),
        (b"respond-async, wait=0", 0, b"respond-async"),
        (b"return=minimal", None, b"return=minimal"),
        (b"wait=1,, handling=lenient ,foo", 1_000, b"handling=lenient, foo"),
    ],
)
def test_wait_is_consumed_and_other_preferences_go_on(
    value: bytes, patience_ms: int | None, rest: bytes | None
) -> None:
    """RFC 7240: the caller's patience is ours to keep, the rest is the tool's."""
    incoming = sorted_of(HOST, (b"Prefer", value))
    assert incoming.patience_ms == patience_ms
    assert incoming.for_tool(b"x", replace=False)[1:] == (() if rest is None else ((b"Prefer", rest),))


@pytest.mark.parametrize(
    ("value", "said", "rest"),
    [
        (b"respond-async", True, None),
        (b"wait=1, Respond-Async;x=1, handling=strict", True, b"handling=strict"),
        (b"respond-asynchronously", False, b"respond-asynchronously"),
        (b"handling=respond-async", False, b"handling=respond-async"),
    ],
)
def test_respond_async_is_heard_and_can_be_taken_out(value: bytes, said: bool, rest: bytes | None) -> None:
    """It goes on to whoever heeds it; where Holdfast does, the tool must not as well."""
    incoming = sorted_of(HOST, (b"Prefer", value), (b"X-Other", b"respond-async"))
    assert incoming.answers_async is said
    passed = without_respond_async(incoming.for_tool(b"x", replace=False))[1:]
    assert passed == ((() if rest is None else ((b"Prefer", rest),)) + ((b"X-Other", b"respond-async"),))


@pytest.mark.parametrize(
    "value", [b"wait", b"wait=", b"wait=-1", b"wait=1.5", b"wait=ten", b"wait=9999999", b"wait=\xb2"]
)
def test_wait_that_is_no_number_is_refused(value: bytes) -> None:
    """A patience that is guessed is none."""
    assert "seconds" in refused((b"Prefer", value)).detail


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        (b"", True),
        (b"application/json", True),
        (b"application/json; charset=utf-8", True),
        (b"application/problem+json", True),
        (b"text/plain", False),
        (b"application/jsonl", False),
        (b"multipart/form-data; boundary=json", False),
    ],
)
def test_json_is_what_says_so_or_says_nothing(content_type: bytes, json: bool) -> None:
    """A request without a type is given the benefit of the doubt; its body is read all the same."""
    assert is_json(content_type) is json


# -- whatever comes --------------------------------------------------------------------------------------------------

_names = st.sampled_from(
    [b"Host", b"X-Run-Id", b"x_run_id", b"Connection", b"Content-Length", b"X-Other", b"x-other", b"Holdfast-X",
    b"Prefer", b"Transfer-Encoding", b"Authorization", b"Expect"]
)  # fmt: skip
_values = st.sampled_from([b"", b"1", b"close", b"x-other", b"host, x-run-id", b"wait=1", b"chunked", b"\xff"])


@given(st.lists(st.tuples(_names, _values), max_size=6))
def test_any_fields_are_sorted_or_refused(fields: list[tuple[bytes, bytes]]) -> None:
    """Nothing else can come of them; what goes on is a selection of what came, in order, with one Host first or where
    it was, and never anything of ours or of the connection."""
    try:
        incoming = Sorter(NAMED).sort(tuple(fields))
    except Refused:
        return
    passed = incoming.for_tool(b"tool", replace=True)
    assert [name.lower() for name, _ in passed].count(b"host") == 1
    assert {name.lower(): value for name, value in passed}[b"host"] == b"tool"
    for name, value in passed:
        lower = name.lower()
        assert lower not in {b"connection", b"content-length", b"transfer-encoding", b"expect"}
        assert not lower.startswith(b"holdfast-")
        assert lower in {b"host", b"prefer"} or (name, value) in fields


Sort = Callable[[tuple[bytes, ...], list[bytes]], Incoming]


def outcome(sort: Sort, names: tuple[bytes, ...], values: list[bytes]) -> tuple[object, ...]:
    """Return everything that was found out, or why nothing was."""
    try:
        incoming = sort(names, values)
    except Refused as refused:
        return refused.detail, refused.close
    return (
        incoming.controls, incoming.onward, incoming.host_at, incoming.credential, incoming.content_type,
        incoming.patience_ms, incoming.answers_async, incoming.trace_id,
    )  # fmt: skip


_spelled = st.one_of(_names, st.sampled_from([b"Content-Type", b"traceparent", b"X-Tool-Call-Id", b"X-Account", b"TE"]))
_written = st.one_of(
    _values, st.sampled_from([b"A/B", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"y" * 200, b"a\tb"])
)


@given(st.lists(st.tuples(_spelled, _written), max_size=7))
def test_glance_sorts_as_each_field_on_its_own(fields: list[tuple[bytes, bytes]]) -> None:
    """What is remembered of lists of names is a shortcut, and nothing else: the second time as the first."""
    sorter = Sorter(NAMED)
    names, values = tuple([name for name, _ in fields]), [value for _, value in fields]
    expected = outcome(sorter.sort_each, names, values)
    for _ in range(2):
        assert outcome(sorter.sort_values, names, values) == expected


def test_flood_of_made_up_names_does_not_fill_memory() -> None:
    """What names mean is remembered for so many and no more, in both directions."""
    sorter = Sorter(NAMED)
    bad = ((b"X-Run-Id", b"a\tb"), *((b"Y-%d" % number, b"") for number in range(SPELLINGS_MAX)))
    with pytest.raises(Refused):
        sorter.sort(bad)
    for number in range(3 * SPELLINGS_MAX):
        name = b"X-%d" % number
        sorter.sort(((name, b"1"),))
        from_tool(((name, b"1"),))
    assert len(sorter._known) <= SPELLINGS_MAX
    assert len(sorter._layouts) <= LAYOUTS_MAX
    long = b"X" * (NAMES_BYTES_MAX + 1)
    assert sorter.sort(((long, b"1"),)).onward == [(long, b"1")]
    assert long not in sorter._known
    assert (long,) not in sorter._layouts
    assert sorter.sort(((b"X-Run-Id", b"1"),)).controls[b"x-run-id"] == "1"
