"""Every field of a `kind: PolicyTest` document: what it means and what it takes.

Requests and replies are read in two steps: what is written, then, put over what the document says for all of them, the
whole.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from msgspec import UNSET

from policies import kinds, values
from policies.cases import Asked, Case, Expected, Outcome, Reply, State, encoded
from policies.document import Node, Scalar
from policies.faults import Place
from policies.field import KEPT_MAX_MS, timer
from policies.kinds import Kind
from policies.map_kinds import Contradiction, Entry, json_value, record, text_map
from policies.model import SECOND_MS

POLICY_TEST: Final = "PolicyTest"
CASES_MAX: Final = 1_000
REQUESTS_MAX: Final = 100

OUTCOMES: Final = (
    "executed", "joined", "replayed", "unknown", "not-executed", "refused", "observed", "unprotected",
)  # fmt: skip

_HEADERS = text_map("Write a map of header fields, as in {X-Run-Id: run_1}.")


def _is_target(target: str) -> str:
    if not target.startswith("/") or not target.isascii() or not target.isprintable() or set(target) & set(" #"):
        raise ValueError("a path as it goes over the wire starts with / and is percent-encoded")
    return target


def _said(place: Place, found: dict[str, Any]) -> tuple[Place, dict[str, Any]]:
    return place, found


def _expected(place: Place, found: dict[str, Any]) -> Expected:
    return Expected(
        place, found.get("status"), found.get("outcome"), found.get("problem"), found.get("late"),
        found.get("headers", ()), found.get("body", UNSET),
    )  # fmt: skip


_WORD = kinds.text(str, str, {}, remedy="Write a word.")
_EXPECT = record(
    {
        "status": Entry("The answer's status.", kinds.integer(200, 599)),
        "outcome": Entry("Its Holdfast-Outcome.", kinds.choice(*OUTCOMES)),
        "problem": Entry("Its problem type, such as key-reused; the part after urn:holdfast:problem:.", _WORD),
        "late": Entry("Whether it is marked Holdfast-Late.", kinds.boolean()),
        "headers": Entry("Header fields that it has, among others.", _HEADERS),
        "body": Entry(
            "Its body: text as it is, anything else as JSON. {operation} in it is the operation's id.", json_value()
        ),
    },
    _expected,
    remedy="Write a map, as in {status: 200, outcome: replayed}.",
)
_REQUEST = {
    "tool": Entry("Stands for POST /tools/<tool>.", values.TOOL),
    "method": Entry("Default: POST.", kinds.text(str, str, {}, remedy="Write a method.")),
    "path": Entry(
        "Path and query as they go over the wire.",
        kinds.text(_is_target, str, {"pattern": "^/"}, remedy="Write it like /tools/create_ticket."),
    ),
    "headers": Entry("Header fields, put over those that all requests have.", _HEADERS),
    "body": Entry("Text as it is, anything else as JSON.", json_value()),
}
_ASKED = record(
    _REQUEST | {
        "at": Entry("From the beginning. Default: once the one before was answered.", kinds.duration(0, KEPT_MAX_MS)),
        "patience": Entry("How long the caller says that it waits (Prefer: wait).", timer(SECOND_MS)),
        "hangUp": Entry("When the caller hangs up without a word, from its request.", timer()),
        "expect": Entry("What the caller gets.", _EXPECT),
    },
    _said,
    remedy="Write a map, as in {headers: {X-Tool-Call-Id: call_1}, expect: {status: 200}}.",
)  # fmt: skip


def _reply(place: Place, found: dict[str, Any]) -> Reply:
    if "fails" in found and set(found) - {"fails", "after"}:
        raise Contradiction(place, "a tool that fails says nothing", "Remove fails, or all but fails and after.")
    headers = found.get("headers", ())
    body = found.get("body", UNSET)
    if body is not UNSET and not any(name.lower() == "content-type" for name, _ in headers):
        kind = "text/plain" if isinstance(body, str) else "application/json"
        headers = (("Content-Type", "text/event-stream" if found.get("streams") else kind), *headers)
    return Reply(
        found.get("status", 200), headers, b"" if body is UNSET else encoded(body), found.get("after", 50),
        found.get("fails", ""), found.get("streams", False),
    )  # fmt: skip


_REPLY = record(
    {
        "status": Entry("Default: 200.", kinds.integer(200, 599)),
        "headers": Entry("Header fields of the reply.", _HEADERS),
        "body": Entry(
            "Text as it is, anything else as JSON. {operation} in it is the operation's id, {time} when the tool was "
            "first called.",
            json_value(),
        ),
        "after": Entry("How long the tool takes. Default: 50ms.", kinds.duration(0, KEPT_MAX_MS)),
        "fails": Entry(
            "lost: the connection is cut. hangs: the tool never answers. not-sent: it cannot be reached.",
            kinds.choice("lost", "hangs", "not-sent"),
        ),
        "streams": Entry("Whether the body comes as a stream.", kinds.boolean()),
    },
    _reply,
    remedy="Write a map, as in {status: 201, body: {id: tkt_1}, after: 2s}.",
)
_REPLIES = kinds.list_of(
    _REPLY, at_least=1, at_most=REQUESTS_MAX, remedy="Write a list of replies, as in [{after: 2s}]."
)


def _states() -> Kind:
    one = kinds.choice(*get_args(State))
    several = kinds.list_of(one, at_most=REQUESTS_MAX, remedy="Write one state for each operation, in order.")

    def read(node: Node, report: kinds.Report) -> Any:
        if not isinstance(node, Scalar):
            return several.read(node, report)
        single = one.read(node, report)
        return single if single is kinds.BROKEN else (single,)

    return Kind(read, list, {"anyOf": [one.schema, several.schema]})


def _outcome(place: Place, found: dict[str, Any]) -> Outcome:
    return Outcome(place, found.get("calls"), found.get("probes"), found.get("state"))


_OUTCOME = record(
    {
        "calls": Entry("How often the tool was called, probes left out.", kinds.integer(0, 10_000)),
        "probes": Entry("How often it was probed.", kinds.integer(0, 10_000)),
        "state": Entry("What the ledger has of the operation; a list for several, in the order of their requests.",
                       _states()),
    },
    _outcome,
    remedy="Write a map, as in {calls: 1, state: completed}.",
)  # fmt: skip
_CASE = record(
    {
        "name": Entry("Name the story in a few words.", _WORD, required=True),
        "replies": Entry("What the tool does with each call, in order; the last is repeated.", _REPLIES),
        "probes": Entry("What the tool answers to each probe, in order; the last is repeated.", _REPLIES),
        "requests": Entry("Write one request or more.",
                          kinds.list_of(_ASKED, at_least=1, at_most=REQUESTS_MAX, remedy="Write a list of requests."),
                          required=True),
        "until": Entry("When the end is looked at. Default: once nothing is under way.",
                       kinds.duration(0, KEPT_MAX_MS)),
        "expect": Entry("What is true in the end.", _OUTCOME),
    },
    _said,
    remedy="Write a map with name and requests.",
)  # fmt: skip

TEST_FIELDS: Final[dict[str, Entry]] = {
    "request": Entry(
        "What all requests have unless they say otherwise.", record(_REQUEST, lambda _, found: found, remedy="")
    ),
    "replies": Entry("What the tool does unless a case says otherwise.", _REPLIES),
    "probes": Entry("What it answers to probes unless a case says otherwise.", _REPLIES),
    "cases": Entry(
        "Write one case or more.",
        kinds.list_of(
            _CASE, at_least=1, at_most=CASES_MAX, remedy="Write a list of cases, each with name and requests."
        ),
        required=True,
    ),
}


def cases_of(found: dict[str, Any]) -> tuple[Case, ...]:
    """Put a document's cases together, over what it says for all of them. Raises `Contradiction`."""
    replies, probes = found.get("replies", (Reply(),)), found.get("probes", (Reply(404),))
    common = found.get("request", {})
    return tuple(
        Case(
            place, case["name"], tuple(_asked(common, *asked) for asked in case["requests"]),
            case.get("replies", replies), case.get("probes", probes), case.get("until"),
            case.get("expect", Outcome(place)),
        )
        for place, case in found["cases"]
    )  # fmt: skip


def _asked(common: dict[str, Any], place: Place, own: dict[str, Any]) -> Asked:
    whole = common | own
    if not ("path" in whole or "tool" in whole):
        raise Contradiction(place, "a request without tool or path", "Write one of them, here or in request.")
    by_name = {name.lower(): (name, value) for name, value in (*common.get("headers", ()), *own.get("headers", ()))}
    body = whole.get("body", UNSET)
    if body is not UNSET and not isinstance(body, str) and "content-type" not in by_name:
        by_name["content-type"] = ("Content-Type", "application/json")
    target = whole["path"] if "path" in own or "tool" not in whole else f"/tools/{whole['tool']}"
    return Asked(
        place, whole.get("method", "POST"), target, tuple(by_name.values()),
        b"" if body is UNSET else encoded(body), own.get("at"), own.get("patience"), own.get("hangUp"),
        own.get("expect"),
    )  # fmt: skip
