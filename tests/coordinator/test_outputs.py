"""What is handed in for a call: one normal form, honest errors, and posted results that are refused by name."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.outputs import (
    DETAIL_MAX,
    OUTPUT_BYTES_MAX,
    POSTED_BYTES_MAX,
    BadOutput,
    Posted,
    error_output,
    output_digest,
    read_posted,
    tool_output,
)

JSON = "application/json; charset=utf-8"
IDS = {"thread_id": "thread_1", "run_id": "run_1", "tool_call_id": "call_1"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def posted(**members: Any) -> bytes:
    """Return a body that names a call, with these members changed or added; None leaves one out."""
    return json.dumps({name: value for name, value in (IDS | members).items() if value is not None}).encode()


def refused(data: bytes) -> BadOutput:
    """Return what is told of a body that is refused."""
    with pytest.raises(BadOutput) as told:
        read_posted(data)
    assert told.value.remedy
    return told.value


# -- a tool's own answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ['{"b": 1.10, "a": 12345678901234567890}', "[]", "null", '"text"', ' {"a":1}\n'])
def test_json_of_a_success_is_handed_in_as_it_was_written(written: str) -> None:
    """No number is rounded and no member moved on its way to the model."""
    for content_type in (JSON, "application/problem+json", ""):
        assert tool_output(200, content_type, written.encode()) == written.strip()


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("text/plain", b"done", "done"),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("text/plain; charset=latin-1", b"caf\xe9", "café"),
        ("a/b; charset=none", b"done", {"content_type": "a/b; charset=none", "base64": "ZG9uZQ=="}),
        ("image/png", b"\x89PNG", {"content_type": "image/png", "base64": "iVBORw=="}),
        (JSON, b"{not json", "{not json"),
        (JSON, b'{"a": NaN}', '{"a": NaN}'),
        (JSON, b"[" * 100_000 + b"]" * 100_000, "[" * 100_000 + "]" * 100_000),
        ("", b"", ""),
    ],
)  # fmt: skip
def test_success_that_is_no_json_is_a_string_or_told_with_its_bytes(content_type: str, body: bytes, value: Any) -> None:
    """An output is always JSON as text; what is no text is not bent into one."""
    assert json.loads(tool_output(200, content_type, body)) == value


@pytest.mark.parametrize("status", [199, 302, 404, 422, 500])
def test_answer_that_is_no_success_is_an_error_with_all_that_the_tool_said(status: int) -> None:
    """The model reads status and body, JSON or not."""
    told = json.loads(tool_output(status, JSON, b'{"reason": "no such user"}'))
    assert told == {"error": {"status": status, "body": {"reason": "no such user"}}}
    assert json.loads(tool_output(status, "text/html", b"<p>")) == {"error": {"status": status, "body": "<p>"}}


@pytest.mark.parametrize(
    "body", [b"x" * (OUTPUT_BYTES_MAX + 1), b"\x01" * (OUTPUT_BYTES_MAX // 4)], ids=["long", "\\u"]
)
def test_answer_that_is_too_large_is_told_by_size_and_digest(body: bytes) -> None:
    """Whatever it grows to when it is written as JSON: never cut, never silently dropped."""
    error = json.loads(tool_output(200, "text/plain", body))["error"]
    assert (error["outcome"], error["status"], error["bytes"], error["whole"]) == ("too-large", 200, len(body), True)
    assert error["sha256"] == hashlib.sha256(body).hexdigest()
    assert error["do_not_repeat"] is True
    kept = b"x" * (OUTPUT_BYTES_MAX - 2)
    assert json.loads(tool_output(200, "text/plain", kept)) == kept.decode()


# -- honest errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", [True, False])
def test_error_says_what_is_known_and_whether_the_call_may_be_made_again(repeat: bool) -> None:
    """Outcome, operation and the warning are members that a program can read."""
    told = json.loads(error_output("unknown", operation="op_1", detail="no answer", do_not_repeat=repeat))
    assert told == {
        "error": {"outcome": "unknown", "operation": "op_1", "do_not_repeat": repeat, "detail": "no answer"}
    }


def test_error_without_an_operation_or_with_a_long_or_broken_detail_is_json_all_the_same() -> None:
    """Details come from elsewhere, and may be anything."""
    told = json.loads(error_output("overdue", operation="", detail="\udcff" + "x" * 5_000, do_not_repeat=True))["error"]
    assert told["operation"] is None
    assert len(told["detail"]) == DETAIL_MAX


# -- posted results ----------------------------------------------------------------------------------------------------


@given(VALUES)
def test_posted_value_is_handed_in_as_the_same_json(value: Any) -> None:
    """Any JSON value is a result, whether it is posted as it is or written as a text."""
    written = json.dumps(value)
    for output in (written, json.dumps(written)):
        if not (output == written and isinstance(value, str)):
            body = f'{{"thread_id": "thread_1", "run_id": "run_1", "output": {output}}}'
            assert json.loads(read_posted(body.encode()).output) == value


@pytest.mark.parametrize("text", ["done", "", "NaN", "{a: 1}", "1 2", '"', "[" * 100_000])
def test_posted_text_that_is_no_json_is_a_string(text: str) -> None:
    """Words are words."""
    assert json.loads(read_posted(posted(output=text)).output) == text


def test_posted_result_may_leave_step_and_call_unnamed_and_correlation_decides() -> None:
    """Whether a call that is not named can be found is not the schema's business."""
    assert read_posted(posted(output="done")) == Posted("thread_1", "run_1", "", "call_1", '"done"')
    assert read_posted(posted(output=1, tool_call_id=None)) == Posted("thread_1", "run_1", "", "", "1")
    assert read_posted(posted(output=1, step_id="step_1")).step_id == "step_1"


@pytest.mark.parametrize("error", ["no such user", {"code": 7, "text": "no"}])
def test_posted_error_is_handed_in_as_an_error(error: Any) -> None:
    """A gateway that failed says so, in a text or an object."""
    assert json.loads(read_posted(posted(error=error)).output) == {"error": error}


def test_numbers_of_a_posted_result_are_not_rounded() -> None:
    """What the gateway wrote is what the model reads."""
    body = posted(output="-").replace(b'"-"', b'{"id": 12345678901234567890, "price": 1.10}')
    assert read_posted(body).output == '{"id": 12345678901234567890, "price": 1.10}'


@pytest.mark.fault(69)
@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        (b"", "", "not JSON"),
        (b"{", "", "not JSON"),
        (b"\xff\xfe{}", "", "not JSON"),
        (posted(output="x").replace(b'"x"', b'"\xff"'), "", "not JSON"),
        (posted(output="x").replace(b'"x"', b"NaN"), "", "not JSON"),
        (posted(output="x").replace(b'"x"', b"[" * 100_000 + b"]" * 100_000), "", "not JSON"),
        (b"[1]", "", "Expected `object`"),
        (posted(output=1, thread_id=None), "thread_id", "missing"),
        (posted(output=1, run_id=None), "run_id", "missing"),
        (posted(output=1, run_id=7), "run_id", "Expected `str`, got `int`"),
        (posted(output=1, run_id=""), "run_id", "length >= 1"),
        (posted(output=1, tool_call_id="x" * 256), "tool_call_id", "length <= 255"),
        (posted(output=1, tool_call_id="call\n1"), "tool_call_id", "regex"),
        (posted(output=1, step_id="a b"), "step_id", "regex"),
        (posted(output=1, status="ok"), "status", "unknown field"),
        (posted(), "output", "neither output nor error"),
        (posted(output=1, error="x"), "output", "both output and error"),
        (posted(error=7), "error", "neither a text nor an object"),
        (posted(output=1)[:-1] + b', "run_id": "run_2"}', "run_id", "comes twice"),
        (posted(output="x" * 2_000)[:-1] + b', "output": 1}', "output", "comes twice"),
        (posted(output=1)[:-1] + b', "output": "' + b"x" * 2_000 + b'"}', "output", "comes twice"),
        (posted(output=1)[:-1] + b', "output": {"' + b"x" * 2_000 + b'": 1}}', "output", "comes twice"),
        (posted(output="x" * OUTPUT_BYTES_MAX), "output", "bytes"),
        (posted(error="x" * OUTPUT_BYTES_MAX), "error", "bytes"),
        (posted(output="x" * POSTED_BYTES_MAX), "", "bytes"),
    ],
)  # fmt: skip
def test_bad_input_is_told_what_is_wrong_where_and_what_to_do(body: bytes, field: str, detail: str) -> None:
    """Each kind has its own words; nothing is guessed."""
    told = refused(body)
    assert (told.field, detail in told.detail) == (field, True), told.detail
    assert len(told.detail) < 500


# -- duplicates and conflicts ------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(), st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans() | st.text(), max_size=5))
def test_same_json_has_the_same_digest_however_it_is_written(value: dict[str, Any]) -> None:
    """Order, white space and escapes make no conflict."""
    turned = dict(reversed(value.items()))
    assert output_digest(json.dumps(value)) == output_digest(json.dumps(turned, indent=3, ensure_ascii=False))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "2"), ("1", '"1"'), ('{"a":1}', '{"a":1,"b":null}'), ('{"a":1,"a":1}', '{"a":1}'),
        ("9007199254740993", "9007199254740992"), ("not json", "not  json"), ("", '""'),
    ],
)  # fmt: skip
def test_outputs_that_say_different_things_have_different_digests(one: str, other: str) -> None:
    """What could be read in two ways is compared byte for byte."""
    assert output_digest(one) != output_digest(other)
