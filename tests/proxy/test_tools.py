"""What tools do to a sidecar (faults 19 to 33), as the first caller sees it, a joiner, and whoever asks later."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.proxy.callers import Answer, ask, call
from tests.proxy.house import House
from tests.proxy.processes import until
from tests.proxy.tools import Execution, Gate, Script, Wire, ends_after, says, waits

Said = tuple[int, str, str]

UNKNOWN_FIRST = (502, "unknown", "outcome-unknown")
UNKNOWN_LATER = (409, "unknown", "outcome-unknown")


@dataclass
class Seen:
    """What the three kinds of callers got."""

    first: Answer
    joiner: Answer
    later: Answer

    @property
    def said(self) -> tuple[Said, Said, Said]:
        """Status, outcome and problem of each."""
        return self.first.said, self.joiner.said, self.later.said


def watch(house: House, run: str, script: Script, *, tool: str = "act", method: str = "POST") -> Seen:
    """Call a tool that answers by `script` once both a first caller and a joiner wait, and ask again afterwards."""
    gate = Gate()
    data = house.call(run, tool=tool, method=method, script=waits(gate, script))
    with house.caller() as first, house.caller() as joiner:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        gate.open()
        answers = first.answer(), joiner.answer()
    return Seen(*answers, ask(house.port, data))


def whole(status: bytes, body: bytes = b"{}", *fields: bytes) -> bytes:
    """Return a reply with a Content-Length."""
    head = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body)))
    return head + b"\r\n" + body


# -- provably not sent ----------------------------------------------------------------------------------------------


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    ("tool", "status", "phase"),
    [("refused", 502, "connect"), ("silent", 504, "connect"), ("nameless", 502, "resolve"), ("untrusted", 502, "tls")],
)
def test_tool_that_cannot_be_reached_leaves_the_key_free(house: House, tool: str, status: int, phase: str) -> None:
    """No byte was written: the answer says that it did not run and that a retry is safe, and the next is forwarded."""
    run = house.run()
    for attempt in (1, 2):
        answer = house.ask(run, tool=tool)
        assert answer.said == (status, "not-executed", "not-sent")
        document = answer.json()
        assert (document["state"], document["retry"], document["safe_new_key"]) == ("free", "same-key", True)
        assert phase in document["detail"]
        assert not answer.get("x-should-retry")
        assert house.proxy.await_line("request", run_id=run, attempt=attempt)["problem"] == "not-sent"
    assert not house.executions(run)


@pytest.mark.fault(19)
def test_not_sent_is_retried_as_often_as_the_policy_says(house: House) -> None:
    """`retry.attempts` counts tries in all, each of them dialled anew."""
    tried = house.proxy.metric("holdfast_upstream_attempts_total", tool="refused", result="not-sent")
    house.ask(house.run(), tool="refused")
    assert house.proxy.metric("holdfast_upstream_attempts_total", tool="refused", result="not-sent") == tried + 3


@pytest.mark.fault(19)
def test_read_of_a_tool_that_cannot_be_reached_is_told_so(house: House) -> None:
    """Reads get the same words, and nothing is kept for them."""
    answer = house.ask(house.run(), tool="offline", method="GET", body=b"")
    assert answer.said == (502, "", "not-sent")


# -- it may have run ------------------------------------------------------------------------------------------------

LOST = {
    "closed without a byte": ends_after(b""),
    "reset without a byte": ends_after(b"", reset=True),
    "closed in the status line": ends_after(b"HTTP/1.1 20"),
    "reset in the header": ends_after(b"HTTP/1.1 200 OK\r\nContent-Le", reset=True),
    "closed after the header": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    "reset after the header": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", reset=True),
}

CUT = {
    "length": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour"),
    "length, reset": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", reset=True),
    "in a chunk": ends_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfour"),
    "between chunks": ends_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n"),
    "before the trailers' end": ends_after(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nX: y\r\n"
    ),
}

MALFORMED = {
    "no HTTP": says(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "HTTP/2": says(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "status out of range": says(b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"),
    "double length": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
    "length and chunked": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "unknown coding": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx"),
    "bad chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "header without end": says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000),
    "switching protocols": says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
}


@pytest.mark.parametrize(
    "script",
    [
        *(pytest.param(script, id=name, marks=pytest.mark.fault(20)) for name, script in LOST.items()),
        *(pytest.param(script, id=f"cut: {name}", marks=pytest.mark.fault(23)) for name, script in CUT.items()),
        *(
            pytest.param(script, id=f"malformed: {name}", marks=pytest.mark.fault(25, 29))
            for name, script in MALFORMED.items()
        ),
    ],
)
def test_lost_reply_is_unknown_to_everybody_and_never_run_again(house: House, script: Script) -> None:
    """Once a byte was written it may have run: nobody is told that it failed, nothing is stored as whole, and however
    often it is asked for, it is not sent again."""
    run = house.run()
    seen = watch(house, run, script)
    assert seen.said == (UNKNOWN_FIRST, UNKNOWN_FIRST, UNKNOWN_LATER)
    for answer in (seen.first, seen.joiner, seen.later):
        document = answer.json()
        assert (document["state"], document["retry"], document["safe_new_key"]) == (
            "unknown",
            "after-resolution",
            False,
        )
        assert answer.get("x-should-retry") == "false"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(20)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS"])
@pytest.mark.parametrize("warm", [False, True], ids=["fresh connection", "kept-alive connection"])
def test_request_is_seen_once_by_a_tool_that_hangs_up(house: House, method: str, warm: bool) -> None:
    """No method is re-sent behind anybody's back, as HTTP clients do with those that they hold to be idempotent."""
    run = house.run()
    if warm:
        assert house.ask(run + "-warm").status == 200
    answer = house.ask(run, method=method, script=ends_after(b""))
    assert answer.status == 502
    assert len(house.executions(run)) == 1
    assert house.ask(run, method=method).said == UNKNOWN_LATER
    assert len(house.executions(run)) == 1


@pytest.mark.fault(20)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read_is_seen_once_by_a_tool_that_hangs_up(house: House, method: str) -> None:
    """Reads are not re-sent either; their caller is told, and may ask again."""
    run = house.run()
    answer = house.ask(run, tool="search", method=method, body=b"", script=ends_after(b""))
    assert answer.status == 502
    assert len(house.executions(run)) == 1


@pytest.mark.fault(20)
def test_tool_that_resets_before_the_request_is_whole_is_unknown(house: House) -> None:
    """A large body that the tool does not want may still have done something: unknown, and sent once."""
    run = house.run()
    script = house.tool.script(lambda wire, _: wire.reset(), reads_body=False)
    data = call(run, body=b"x" * 900_000, script=script)
    assert ask(house.port, data).said == UNKNOWN_FIRST
    assert ask(house.port, data).said == UNKNOWN_LATER
    assert len(house.executions(run)) == 1


@pytest.mark.fault(21)
def test_kept_alive_connection_that_the_tool_closes_as_we_write_is_unknown(house: House) -> None:
    """The stale keep-alive race cannot be told from a crash in the act: unknown, and never sent again."""
    run = house.run()
    first = house.ask(run, call="one")
    assert first.status == 200
    raced = house.ask(run, call="two", script=ends_after(b"", reset=True))
    one, two = house.executions(run)
    assert one.connection == two.connection
    assert raced.said == UNKNOWN_FIRST


@pytest.mark.fault(21)
def test_connection_that_the_tool_has_closed_while_idle_is_not_written_to(house: House) -> None:
    """What makes the race rare: an end that has come in is seen before anything is written."""

    def answers_and_closes(wire: Wire, execution: Execution) -> None:
        wire.reply(b"{}")
        wire.close()

    for number in range(10):
        run = house.run()
        assert house.ask(run, call=f"{number}", script=answers_and_closes).said == (200, "executed", "")
        assert house.ask(run, call=f"{number} again").said == (200, "executed", "")


@pytest.mark.fault(22)
def test_time_out_is_unknown_and_a_late_answer_completes_it(house: House) -> None:
    """First caller and joiner are told 504 and unknown; whoever asks then is held, and gets the late truth."""
    run, gate = house.run(), Gate()
    data = house.call(run, tool="quick", script=waits(gate))
    late = house.proxy.metric("holdfast_late_results_total", tool="quick")
    with house.caller() as first, house.caller() as joiner, house.caller() as later:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        assert first.answer().said == (504, "unknown", "outcome-unknown")
        assert joiner.answer().said == (504, "unknown", "outcome-unknown")
        later.send(data)
        gate.open()
        assert later.answer().status == 200
    replayed = ask(house.port, data)
    assert (replayed.outcome, replayed.get("Holdfast-Late")) == ("replayed", "true")
    assert len(house.executions(run)) == 1
    assert house.proxy.metric("holdfast_late_results_total", tool="quick") == late + 1


@pytest.mark.fault(22)
def test_tool_that_never_answers_is_unknown_for_good(house: House) -> None:
    """Once `timeouts.late` is over as well, the connection is dropped and later arrivals are told at once."""
    run, hung_up = house.run(), Gate()

    def silent(wire: Wire, execution: Execution) -> None:
        assert wire.hung_up()
        hung_up.pass_through()

    data = house.call(run, tool="deaf", script=silent)
    assert ask(house.port, data).said == (504, "unknown", "outcome-unknown")
    hung_up.await_reached()
    hung_up.open()
    assert until(lambda: ask(house.port, data).said == UNKNOWN_LATER)
    assert len(house.executions(run)) == 1


@pytest.mark.fault(22)
def test_tool_that_falls_silent_in_its_body_is_unknown_and_listened_to(house: House) -> None:
    """Half an answer in time is no answer: 504, and the rest still completes it."""
    run, gate = house.run(), Gate()

    def halting(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        gate.pass_through()
        wire.send(b"lf")

    data = house.call(run, tool="quick", script=halting)
    assert ask(house.port, data).said == (504, "unknown", "outcome-unknown")
    gate.open()
    until(lambda: ask(house.port, data).body == b"half")
    assert len(house.executions(run)) == 1


# -- what a reply means ---------------------------------------------------------------------------------------------


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


# -- replies that are not kept --------------------------------------------------------------------------------------


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
