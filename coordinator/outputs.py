"""What is handed in for a tool call: JSON as text, whoever brings it, and never a guess.

Three ways lead here: a tool's own answer that came through the proxy, a result that a gateway posted back, and an
honest error where there is neither. All end in the same normal form, so that a duplicate can be told from a conflict.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ledger.fingerprint import canonical

OUTPUT_BYTES_MAX = 512 * 1024
"""About 128,000 tokens: more than a model reads of one call; and a run's record, which is swapped whole, holds it."""

POSTED_BYTES_MAX = OUTPUT_BYTES_MAX + 16 * 1024
"""Of a request that posts one back: its ids, its members' names and white space beside it."""

DETAIL_MAX = 1_000
"""Characters of an error's explanation; a model is told enough by then."""

Id = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[!-~]+\Z")]
"""As long as the proxy's control fields may be, and fit to be one: visible ASCII."""


# -- errors ------------------------------------------------------------------------------------------------------------


def error_output(outcome: str, *, operation: str, detail: str, do_not_repeat: bool) -> str:
    """Return what is handed in where there is no result. `outcome` says what is known of the call, `operation` is
    Holdfast's id of it, if there is one; `do_not_repeat`: it may have run, and must not be asked for anew."""
    error = {
        "outcome": outcome, "operation": operation or None, "do_not_repeat": do_not_repeat,
        "detail": detail[:DETAIL_MAX],
    }  # fmt: skip
    return _text({"error": error})


# -- a tool's own answer -----------------------------------------------------------------------------------------------


def tool_output(status: int, content_type: str, body: bytes) -> str:
    """Return the output for a tool's own answer: its JSON as it came, other text as a JSON string, and what is no
    success (2xx) as an error that holds both. Bytes that are no text are base64; too many are told by size and digest.
    """
    if len(body) > OUTPUT_BYTES_MAX:
        return too_large(status, len(body), hashlib.sha256(body).hexdigest())
    told = _json_or_none(content_type, body)
    if told is None:
        told = _text(_words(content_type, body))
    if not 200 <= status < 300:
        told = f'{{"error":{{"status":{status},"body":{told}}}}}'
    if len(told) * 4 > OUTPUT_BYTES_MAX and len(told.encode("utf-8", "surrogatepass")) > OUTPUT_BYTES_MAX:
        return too_large(status, len(body), hashlib.sha256(body).hexdigest())
    return told


def too_large(status: int, body_bytes: int, sha256: str, *, whole: bool = True) -> str:
    """Return the output for an answer that is larger than a run's record should hold; `whole` is False where reading
    stopped after `body_bytes`, which the digest is of."""
    detail = f"the tool answered, and its answer is larger than the {OUTPUT_BYTES_MAX} bytes that are passed on"
    error = {
        "outcome": "too-large", "status": status, "bytes": body_bytes, "whole": whole, "sha256": sha256,
        "do_not_repeat": True, "detail": detail,
    }  # fmt: skip
    return _text({"error": error})


def _json_or_none(content_type: str, body: bytes) -> str | None:
    """Return a body's JSON as it was written, which keeps its numbers exact."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in {"", "application/json"} and not media.endswith("+json"):
        return None
    return _as_json(body)


def _as_json(data: bytes) -> str | None:
    try:
        msgspec.json.decode(data, type=Raw)  # checked, and not built
        return data.decode("utf-8").strip()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _words(content_type: str, body: bytes) -> Any:
    charset = re.search(r'charset="?([\w.:-]+)', content_type, re.IGNORECASE)
    try:
        return body.decode(charset[1] if charset else "utf-8")
    except (UnicodeDecodeError, LookupError):
        return {"content_type": content_type, "base64": base64.b64encode(body).decode()}


def _text(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can write
        return json.dumps(value)


# -- results that are posted back --------------------------------------------------------------------------------------


class BadOutput(Exception):
    """A posted result is unusable. `field` is the member that is wrong, empty where it is the whole; `remedy` says what
    to do about it."""

    def __init__(self, detail: str, *, field: str = "", remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.remedy = remedy


class Posted(Struct, frozen=True):
    """A result that was posted back, in its normal form. `step_id` and `tool_call_id` are empty where they were not
    named."""

    thread_id: str
    run_id: str
    step_id: str
    tool_call_id: str
    output: str


class _Body(Struct, frozen=True, forbid_unknown_fields=True):
    thread_id: Id
    run_id: Id
    step_id: Id | UnsetType = UNSET
    tool_call_id: Id | UnsetType = UNSET
    output: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_decoder = msgspec.json.Decoder(_Body)
_pairs = json.JSONDecoder(object_pairs_hook=list)

LONG_BYTES = 1_024
"""Of a value; an id has a quarter of it."""

EITHER = "send the tool's result as output, or what went wrong as error"
REMEDIES = {
    "thread_id": "send the id of the run's thread",
    "run_id": "send the id of the run that asked for the call",
    "step_id": "send the id of the step that asked for the call, or leave it out",
    "tool_call_id": "send the id of the call, as the run asked for it",
}


def read_posted(data: bytes) -> Posted:
    """Return a posted result: `{thread_id, run_id, step_id?, tool_call_id?, output | error}`, without any other member.

    `output` is any JSON value; text that is itself JSON is taken for that JSON, other text for a string. `error` is a
    text or an object. Raises `BadOutput`, which names the member and the remedy.
    """
    if len(data) > POSTED_BYTES_MAX:
        raise BadOutput(
            f"the body has {len(data)} bytes", remedy=f"send {POSTED_BYTES_MAX} at most: store more elsewhere, and "
            "hand in where it is",
        )  # fmt: skip
    try:
        body = _decoder.decode(data)
        _check_unambiguous(data, body)
    except msgspec.ValidationError as error:
        raise _misshapen(str(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadOutput(f"the body is not JSON: {error}", remedy="send a JSON object in UTF-8") from None
    return Posted(body.thread_id, body.run_id, body.step_id or "", body.tool_call_id or "", _output_of(body))


def _check_unambiguous(data: bytes, body: _Body) -> None:
    """Raise `BadOutput` if a member comes twice: readers disagree on which of them counts. A long value is left out of
    this second reading, which is after names alone: no name and no id is as long, so it can stand in no other's place.
    """
    data.decode("utf-8")
    for value in (body.output, body.error):
        if isinstance(value, Raw) and len(raw := bytes(value)) > LONG_BYTES:
            data = data.replace(raw, b'""', 1)
    names = [name for name, _ in _pairs.decode(data.decode("utf-8"))]
    for name in names:
        if names.count(name) > 1:
            raise BadOutput(f"{name} comes twice", field=name, remedy="send each member once")


def _misshapen(said: str) -> BadOutput:
    """Return what is told of a body that is JSON, but not of the shape: `said` is msgspec's word for it."""
    what, _, where = said.partition(" - at `$.")
    if unknown := re.search(r"unknown field `(.*)`", what):
        return BadOutput(what, field=unknown[1][:255], remedy="leave it out: it has no meaning here")
    missing = re.search(r"missing required field `(.*)`", what)
    field = missing[1] if missing else where.rstrip("`")
    return BadOutput(what, field=field, remedy=REMEDIES.get(field, "send a JSON object, as docs/coordinator.md has it"))


def _output_of(body: _Body) -> str:
    if isinstance(body.output, Raw) == isinstance(body.error, Raw):
        both = isinstance(body.output, Raw)
        raise BadOutput(
            "both output and error are there" if both else "neither output nor error is there", field="output",
            remedy=EITHER,
        )  # fmt: skip
    if isinstance(body.output, Raw):
        output, field = _value(body.output), "output"
    else:
        assert isinstance(body.error, Raw)
        output, field = _error(body.error), "error"
    if (size := len(output.encode("utf-8", "surrogatepass"))) > OUTPUT_BYTES_MAX:
        remedy = f"send {OUTPUT_BYTES_MAX} at most: store more elsewhere, and hand in where it is"
        raise BadOutput(f"{field} has {size} bytes", field=field, remedy=remedy)
    return output


def _value(raw: Raw) -> str:
    """Return a member's JSON as text; of text that is JSON itself, that JSON."""
    data = bytes(raw)
    if data.startswith(b'"') and (inner := _as_json(msgspec.json.decode(data, type=str).encode())) is not None:
        return inner
    return data.decode("utf-8")


def _error(raw: Raw) -> str:
    data = bytes(raw)
    if not data.startswith((b'"', b"{")):
        raise BadOutput("error is neither a text nor an object", field="error", remedy=EITHER)
    return '{"error":' + data.decode("utf-8") + "}"


# -- duplicates and conflicts ------------------------------------------------------------------------------------------


def output_digest(output: str) -> str:
    """Return what two outputs share if they say the same: SHA-256 in hex, of canonical JSON (RFC 8785) where there is
    one, of the text's bytes where not; the input says which, so that neither can pass for the other."""
    data = output.encode("utf-8", "surrogatepass")
    form = canonical(data)
    return hashlib.sha256(b"raw" + data if form is None else b"jcs" + form).hexdigest()
