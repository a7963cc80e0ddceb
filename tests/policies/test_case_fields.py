"""One document of cases: what requests and replies become, and what is wrong with them."""

from __future__ import annotations

from policies.case_fields import OUTCOMES
from policies.case_files import read_cases
from policies.cases import Case, Reply
from policies.document import read_documents

HEAD = "apiVersion: holdfast.dev/v1\nkind: PolicyTest\n"


def read(text: str) -> tuple[tuple[Case, ...], list[str]]:
    """Read the cases of a document; return them with its faults."""
    (node,), wrong = read_documents(HEAD + text, "f")
    assert not wrong
    cases, faults = read_cases(node)
    return cases, [str(fault) for fault in faults]


def test_request_is_put_over_what_all_have_in_common() -> None:
    """Headers by their name, whatever its case; everything else as a whole."""
    (case,), faults = read("""
request: {tool: act, headers: {X-Run-Id: run_1, X-Tool-Call-Id: call_1}, body: {a: 1}}
cases:
  - name: two
    requests:
      - {}
      - {headers: {x-tool-call-id: call_2}, body: text, at: 5s, patience: 2s, hangUp: 3s}
      - {path: "/else?q=1", method: GET, body: {b: 2}}
""")
    assert not faults
    one, two, three = case.asked
    assert (one.method, one.target, one.body, one.at_ms) == ("POST", "/tools/act", b'{"a":1}', None)
    assert dict(one.headers) == {
        "X-Run-Id": "run_1",
        "X-Tool-Call-Id": "call_1",
        "Content-Type": "application/json",
    }
    assert dict(two.headers) == {"X-Run-Id": "run_1", "x-tool-call-id": "call_2"}
    assert (two.body, two.at_ms, two.patience_ms, two.hang_up_ms) == (b"text", 5_000, 2_000, 3_000)
    assert (three.method, three.target, three.body) == ("GET", "/else?q=1", b'{"b":2}')


def test_reply_is_what_the_tool_sends() -> None:
    """JSON with its type, text, a stream, or nothing at all; the document's unless the case has its own."""
    (one, two), faults = read("""
replies: [{status: 201, body: {id: 1}, after: 2s}]
cases:
  - {name: one, requests: [{tool: a}]}
  - name: two
    requests: [{tool: a}]
    replies: [{fails: lost}, {body: text}, {body: "data: x", streams: true}]
    probes: [{body: []}]
""")
    assert not faults
    assert one.replies == (Reply(201, (("Content-Type", "application/json"),), b'{"id":1}', 2_000),)
    assert one.probes == (Reply(404),)
    lost, text, stream = two.replies
    assert (lost.fails, text.body, stream.streams) == ("lost", b"text", True)
    assert stream.headers == (("Content-Type", "text/event-stream"),)
    assert two.probes[0].body == b"[]"


def test_every_fault_of_a_document_is_told_at_once() -> None:
    """With file, line, column, field and remedy, as for policies."""
    cases, faults = read("""case: []
cases:
  - requests: [{tool: a, expect: {status: 99, outcome: done, states: free}}]
  - {name: two, requests: [], replies: [{fails: lost, status: 200}], expect: {state: gone, calls: -1}}
""")
    assert not cases
    assert [fault.split(". ")[0] for fault in faults] == [
        "f:3:1: case: unknown field",
        "f:5:43: cases[0].requests[0].expect.status: 99 is out of range",
        "f:5:56: cases[0].requests[0].expect.outcome: 'done' is not a choice here",
        "f:5:62: cases[0].requests[0].expect.states: unknown field",
        "f:5:5: cases[0].name: missing",
        "f:6:27: cases[1].requests: a list of 0; it takes 1 to 100",
        "f:6:41: cases[1].replies[0]: a tool that fails says nothing",
        "f:6:86: cases[1].expect.state: 'gone' is not a choice here",
        "f:6:99: cases[1].expect.calls: '-1' where a whole number is expected",
    ]
    assert faults[2].endswith("Write " + " or ".join(OUTCOMES) + ".")


def test_request_must_go_somewhere() -> None:
    """By tool or by path, its own or everybody's."""
    _, faults = read("cases: [{name: a, requests: [{}]}]\n")
    assert faults == ["f:3:30: a request without tool or path. Write one of them, here or in request."]


def test_document_must_say_its_version() -> None:
    """As policies do."""
    (node,), _ = read_documents("kind: PolicyTest\ncases: [{name: a, requests: [{tool: a}]}]\n", "f")
    _, faults = read_cases(node)
    assert [fault.field for fault in faults] == ["apiVersion"]
