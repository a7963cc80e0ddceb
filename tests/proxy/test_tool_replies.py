"""What a tool's reply means for its call, and which replies are kept (faults 24 to 33)."""

from __future__ import annotations

import pytest

from tests.proxy.callers import ask
from tests.proxy.house import House
from tests.proxy.processes import until
from tests.proxy.seen import UNKNOWN_LATER, watch, whole
from tests.proxy.tools import Execution, Gate, Wire, ends_after, says


@pytest.mark.fault(26)
@pytest.mark.parametrize("status", [401, 403, 407, 425, 429])
def test_reply_that_is_not_final_is_passed_on_and_the_key_is_free(house: House, status: int) -> None:
    """First caller and joiner get the tool's own answer; the next attempt is forwarded, with a higher number."""
    run = house.run()
    seen = watch(house, run, says(whole(b"%d Not Now" % status, b"later", b"Retry-After: 7")))
    for answer in (seen.first, seen.joiner):
        assert (answer.status, answer.outcome, answer.body) == (status, "not-executed", b"later")
        assert answer.get("Retry-After") == "7"
    assert seen.later.outcome == "not-executed"
    first, second = house.executions(run)
    assert (first.get(b"Holdfast-Attempt"), second.get(b"Holdfast-Attempt")) == (b"1", b"2")
    assert house.ask(run).said == (200, "executed", "")
    assert house.ask(run).outcome == "replayed"


@pytest.mark.fault(26)
@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_reply_that_settles_nothing_is_passed_on_marked_unknown(house: House, status: int) -> None:
    """First caller and joiner get the tool's own answer and the truth about it; nothing is sent again."""
    run = house.run()
    seen = watch(house, run, says(whole(b"%d Oops" % status, b'{"error":1}')))
    for answer in (seen.first, seen.joiner):
        assert (answer.status, answer.outcome, answer.body) == (status, "unknown", b'{"error":1}')
    assert seen.later.said == UNKNOWN_LATER
    assert len(house.executions(run)) == 1


@pytest.mark.fault(26)
def test_policy_has_the_last_word_on_what_a_status_means(house: House) -> None:
    """`final` and `notFinal` can make a 503 an answer and a 409 none; notFinal is looked at first."""
    run = house.run()
    final = watch(house, run, says(whole(b"503 Closed", b"shut")), tool="judged")
    assert [one.outcome for one in (final.first, final.joiner, final.later)] == ["executed", "joined", "replayed"]
    assert {one.body for one in (final.first, final.joiner, final.later)} == {b"shut"}
    other = house.run()
    free = watch(house, other, says(whole(b"409 Conflict")), tool="judged")
    assert [one.outcome for one in (free.first, free.joiner, free.later)] == ["not-executed"] * 3
    assert (len(house.executions(run)), len(house.executions(other))) == (1, 2)


@pytest.mark.fault(27)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_passed_on_and_replayed_but_never_followed(house: House, status: int) -> None:
    """Where the tool points to is the caller's business."""
    run = house.run()
    location = b"Location: " + house.tool.url.encode() + b"/tools/act?followed"
    seen = watch(house, run, says(whole(b"%d Elsewhere" % status, b"", location)))
    assert [one.outcome for one in (seen.first, seen.joiner, seen.later)] == ["executed", "joined", "replayed"]
    assert {one.get("Location") for one in (seen.first, seen.joiner, seen.later)} == {
        location.decode().partition(": ")[2]
    }
    assert len(house.executions(run)) == 1
    assert not [one for one in house.executions("") if b"followed" in one.line]


@pytest.mark.fault(33)
def test_failure_told_in_the_body_is_completed_and_replayed(house: House) -> None:
    """`200 {"isError": true}` is an answer: everybody gets it, and it is not tried again."""
    run = house.run()
    seen = watch(house, run, says(whole(b"200 OK", b'{"isError": true}')), tool="judged")
    assert [one.outcome for one in (seen.first, seen.joiner, seen.later)] == ["executed", "joined", "replayed"]
    assert len(house.executions(run)) == 1


def test_tools_own_id_stands_in_every_line_of_its_call(house: House) -> None:
    """The first caller's, the joiner's and the replay's alike: an audit line of the tool leads to all of them."""
    run = house.run()
    seen = watch(house, run, says(whole(b"200 OK", b'{"ticket": "T-7"}')), tool="audited")
    assert [one.outcome for one in (seen.first, seen.joiner, seen.later)] == ["executed", "joined", "replayed"]
    lines = until(lambda: len(found := house.proxy.lines("request", run_id=run)) >= 3 and found)
    assert {line["audit_id"] for line in lines} == {"T-7"}


@pytest.mark.fault(30, 31)
@pytest.mark.parametrize(
    ("fields", "body", "digest"),
    [
        (b"Content-Length: 5000\r\n", b"x" * 5_000, False),
        (b"Content-Type: text/event-stream\r\nContent-Length: 9\r\n", b"data: 1\n\n", False),
        (b"", b"all there is", True),
    ],
)
def test_tombstone_tells_what_is_known_of_the_call(house: House, fields: bytes, body: bytes, digest: bool) -> None:
    """Status, the fields that say what and where, and the tool's own id: enough to look it up over there."""
    run = house.run()
    reply = b"HTTP/1.1 201 Created\r\nLocation: /tickets/7\r\nX-Ticket: T-7\r\n" + fields + b"\r\n" + body
    script = says(reply) if fields else ends_after(reply)
    assert house.ask(run, script=script, tool="located").said == (201, "executed", "")
    later = house.ask(run, script=script, tool="located")
    assert later.said == (409, "refused", "result-unavailable")
    known = later.json()["result"]
    assert (known["status"], known["audit_id"], known["digest"] is not None) == (201, "T-7", digest)
    assert ["Location", "/tickets/7"] in known["headers"]
    (line,) = until(lambda: house.proxy.lines("request", run_id=run, problem="result-unavailable"))
    assert line["audit_id"] == "T-7"


@pytest.mark.fault(25)
def test_interim_replies_settle_nothing(house: House) -> None:
    """1xx replies come before the answer and are not it; writes keep them to themselves."""
    run = house.run()
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    )
    seen = watch(house, run, says(interim + whole(b"200 OK", b"done")))
    assert [one.outcome for one in (seen.first, seen.joiner, seen.later)] == ["executed", "joined", "replayed"]
    assert {one.body for one in (seen.first, seen.joiner, seen.later)} == {b"done"}
    assert len(house.executions(run)) == 1


@pytest.mark.fault(24)
def test_reply_that_ends_with_its_connection_is_not_replayable_by_default(house: House) -> None:
    """It ran, and its first caller gets it; but a cut looks just like an end, so nobody else gets it as whole."""
    run = house.run()
    seen = watch(house, run, ends_after(b"HTTP/1.1 200 OK\r\n\r\nall there is"))
    assert (seen.first.said, seen.first.body) == ((200, "executed", ""), b"all there is")
    assert seen.joiner.said == seen.later.said == (409, "refused", "result-unavailable")
    assert len(house.executions(run)) == 1


@pytest.mark.fault(24)
def test_reply_that_ends_with_its_connection_is_replayed_where_the_policy_trusts_it(house: House) -> None:
    """`closeDelimitedIsWhole` says that this tool never cuts; a reset is still no end."""
    run = house.run()
    seen = watch(house, run, ends_after(b"HTTP/1.1 200 OK\r\n\r\nall there is"), tool="closing")
    assert [one.outcome for one in (seen.first, seen.joiner, seen.later)] == ["executed", "joined", "replayed"]
    assert seen.later.body == b"all there is"
    other = house.run()
    cut = watch(house, other, ends_after(b"HTTP/1.1 200 OK\r\n\r\nall there", reset=True), tool="closing")
    assert cut.later.said == UNKNOWN_LATER
    assert len(house.executions(run)) == len(house.executions(other)) == 1


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    "surplus", [b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"\r\n\r\n"], ids=repr
)
@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 204 None\r\n\r\n"], ids=["200", "204"]
)
def test_bytes_after_a_reply_poison_nobody(house: House, surplus: bytes, reply: bytes) -> None:
    """The reply is taken, the connection is dropped, and the next call goes out on another."""
    run = house.run()
    assert house.ask(run, script=says(reply + surplus)).outcome == "executed"
    after = house.ask(run, call="next")
    assert after.outcome == "executed"
    assert b"ticket" in after.body
    first, second = house.executions(run)
    assert first.connection != second.connection


def chunked(*pieces: bytes) -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


LARGE = b"y" * 5_000


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 5000", LARGE), (b"Transfer-Encoding: chunked", chunked(LARGE[:900], LARGE[900:]))],
    ids=["length", "chunked"],
)
def test_reply_over_the_limit_goes_to_its_first_caller_and_leaves_a_tombstone(
    house: House, framing: bytes, body: bytes
) -> None:
    """It ran, and is said to have run; but only the first caller has the bytes."""
    run = house.run()
    seen = watch(house, run, says(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + body), tool="small")
    assert (seen.first.said, seen.first.body) == ((200, "executed", ""), LARGE)
    assert seen.joiner.said == seen.later.said == (409, "refused", "result-unavailable")
    document = seen.later.json()
    assert (document["state"], document["retry"], document["safe_new_key"]) == ("completed", "never", False)
    assert len(house.executions(run)) == 1


@pytest.mark.fault(30)
def test_reply_of_exactly_the_limit_is_kept(house: House) -> None:
    """The limit is inclusive."""
    run = house.run()
    seen = watch(house, run, says(whole(b"200 OK", b"z" * 1_024)), tool="small")
    assert seen.later.said == (200, "replayed", "")


@pytest.mark.fault(31)
def test_event_stream_of_a_write_arrives_event_by_event_and_leaves_a_tombstone(house: House) -> None:
    """Each event reaches the first caller before the next one is sent; a stream is never replayed."""
    run, gates = house.run(), [Gate(), Gate()]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def stream(wire: Wire, execution: Execution) -> None:
        wire.send(head + b"9\r\ndata: 1\n\n\r\n")
        gates[0].pass_through()
        wire.send(b"9\r\ndata: 2\n\n\r\n")
        gates[1].pass_through()
        wire.send(b"0\r\n\r\n")

    data = house.call(run, script=stream)
    with house.caller() as first:
        assert first.send(data).answer(head_only=True).outcome == "executed"
        assert first.chunk() == b"data: 1\n\n"
        assert ask(house.port, data).said == (409, "refused", "result-unavailable")
        gates[0].open()
        assert first.chunk() == b"data: 2\n\n"
        gates[1].open()
        assert first.chunk() == b""
    assert len(house.executions(run)) == 1


@pytest.mark.fault(31)
@pytest.mark.parametrize("reset", [False, True])
def test_cut_event_stream_ends_its_callers_connection_and_is_never_replayed(house: House, reset: bool) -> None:
    """Nobody takes what came for the whole: the caller's chunks do not end, and later arrivals get no bytes."""
    run = house.run()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = house.call(run, script=ends_after(head + b"9\r\ndata: 1\n\n\r\n", reset=reset))
    with house.caller() as first:
        first.send(data)
        assert not first.rest().endswith(b"0\r\n\r\n")
    assert ask(house.port, data).problem == "result-unavailable"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(30)
def test_large_reply_whose_tool_falls_silent_is_cut_in_time(house: House) -> None:
    """I4: a first caller is not held for ever by a tool that stops in the middle of a reply that is not kept."""
    run, hung_up = house.run(), Gate()

    def halting(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1_500_000)
        assert wire.hung_up()
        hung_up.pass_through()

    with house.caller() as first:
        first.send(house.call(run, tool="quick", script=halting))
        assert first.answer(head_only=True).outcome == "executed"
        assert len(first.rest()) <= 1_500_000
    hung_up.await_reached()
    hung_up.open()


@pytest.mark.fault(30)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_hang_up_on_a_reply_that_is_not_kept_reaches_the_tool(house: House, how: str) -> None:
    """Once a reply streams, its first caller's end is the tool's as well; the record says completed all the same."""
    run, hung_up = house.run(), Gate()

    def quiet_stream(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert wire.hung_up()
        hung_up.pass_through()

    data = house.call(run, script=quiet_stream)
    with house.caller() as first:
        first.send(data).answer(head_only=True)
        first.chunk()
        getattr(first, how)()
    hung_up.await_reached()
    hung_up.open()
    assert ask(house.port, data).problem == "result-unavailable"
    assert len(house.executions(run)) == 1
