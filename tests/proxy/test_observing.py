"""Observe mode: every request reaches the tool, and the log says what enforcement would have done."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.forward import Headers, Lost, Outcome, Replied, Truncated
from proxy.observing import Copied, Observed
from tests.proxy import processes
from tests.proxy.callers import Answer, Caller, ask, call, request
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.relays import Relay
from tests.proxy.scripted import Piecemeal
from tests.proxy.seen import whole
from tests.proxy.tools import Execution, Gate, Script, Tool, Wire, ends_after, says, waits
from tests.proxy.virtual import in_virtual_time, settled

ACME = ("X-Tenant-Id", "acme")
MADE = says(whole(b"201 Made"))


def observed(house: House, run: str, *fields: tuple[str, str], script: Script | None = None, **more: Any) -> Answer:
    """Call the observed tool."""
    return house.ask(run, ACME, *fields, script=script, tool="observed", **more)


def would(house: House, run: str, count: int) -> list[str]:
    """Return what the log says would have been done about a run's requests, in the order in which that was known."""
    lines = until(lambda: len(found := house.proxy.lines("request", run_id=run)) >= count and found)
    assert {line["outcome"] for line in lines} == {"observed"}
    return [line["would"] for line in lines]


def test_duplicates_are_forwarded_and_said_to_be_prevented(house: House) -> None:
    """The tool's ledger shows both, each caller gets its own answer, and the second would have been a replay."""
    run = house.run()
    before = house.proxy.metric("holdfast_duplicates_prevented_total")
    first = observed(house, run)
    assert would(house, run, 1) == ["executed"]
    second = observed(house, run)
    assert (first.said, second.said) == ((200, "observed", ""), (200, "observed", ""))
    assert first.body != second.body
    assert would(house, run, 2) == ["executed", "replayed"]
    assert not second.get("Idempotent-Replayed")
    assert first.get("Holdfast-Operation") == second.get("Holdfast-Operation") != ""
    executions = house.executions(run)
    assert len(executions) == 2
    assert not executions[0].get(b"Holdfast-Operation") + executions[0].get(b"Holdfast-Attempt")
    assert house.proxy.metric("holdfast_observed_total", tool="observed", would="replayed") >= 1
    assert house.proxy.metric("holdfast_duplicates_prevented_total") == before


def test_duplicate_at_once_is_forwarded_at_once_and_would_have_joined(house: House) -> None:
    """Nobody is held: the second is answered while the first still waits."""
    run, gate = house.run(), Gate()
    with house.caller() as first:
        first.send(house.call(run, ACME, tool="observed", script=waits(gate)))
        gate.await_reached()
        assert observed(house, run).said == (200, "observed", "")
        gate.open()
        assert first.answer().said == (200, "observed", "")
    assert sorted(would(house, run, 2)) == ["executed", "joined"]
    assert len(house.executions(run)) == 2


@pytest.mark.parametrize(
    ("fields", "body", "word"),
    [
        ((), b'{"subject":"another"}', "key-reused"),
        (("Authorization", "Bearer you"), b'{"subject":"printer"}', "key-reused"),
    ],
)
def test_key_that_is_used_for_another_call_is_forwarded_and_told(
    house: House, fields: tuple[str, ...], body: bytes, word: str
) -> None:
    """Each gets the answer to what it asked for."""
    run = house.run()
    observed(house, run)
    would(house, run, 1)
    more = ((fields[0], fields[1]),) if fields else ()
    assert observed(house, run, *more, body=body).said == (200, "observed", "")
    assert would(house, run, 2) == ["executed", word]
    assert house.executions(run)[1].body == body


def test_call_without_identity_or_tenant_is_forwarded_and_told(house: House) -> None:
    """What enforcement refuses with a 400 shows in the log before it is turned on."""
    before = house.proxy.metric("holdfast_observed_total", tool="observed", would="key-missing")
    run = house.run()
    for fields in ((ACME, ("X-Run-Id", run)), (("X-Run-Id", run), ("X-Tool-Call-Id", "call-1"))):
        answer = ask(house.port, request("/tools/observed", *fields, body=b"{}"))
        assert answer.said == (200, "observed", "")
    assert would(house, run, 2) == ["key-missing"] * 2
    assert len(house.executions(run)) == 2
    assert house.proxy.metric("holdfast_observed_total", tool="observed", would="key-missing") == before + 2


def test_late_answer_is_the_callers_own(house: House) -> None:
    """Where enforcement would have answered 504, the caller waits as if nobody stood between."""
    run, gate = house.run(), Gate()

    def said(word: str) -> bool:
        assert observed(house, run, ("Prefer", "wait=0")).status == 200
        return bool(house.proxy.lines("request", run_id=run, would=word))

    with house.caller() as caller:
        caller.send(house.call(run, ACME, ("Prefer", "wait=60"), tool="observed", script=waits(gate, MADE)))
        gate.await_reached()
        until(lambda: said("unknown"))
        gate.open()
        assert caller.answer().said == (201, "observed", "")
    assert house.proxy.await_line("request", run_id=run, status=201)["would"] == "unknown"
    until(lambda: said("replayed"))


def test_lost_reply_is_told_as_the_loss_that_it_is_and_duplicates_run(house: House) -> None:
    """Enforcement would have said unknown from then on."""
    run = house.run()
    lost = observed(house, run, script=ends_after(b"HTTP/1.1 200 OK\r\nContent-Le"))
    assert (lost.status, lost.problem, lost.outcome) == (502, "upstream-lost", "observed")
    assert would(house, run, 1) == ["unknown"]
    assert observed(house, run).said == (200, "observed", "")
    assert would(house, run, 2) == ["unknown", "unknown"]


def test_large_body_and_large_reply_go_through(house: House) -> None:
    """Limits are enforcement's; a request over them would have been refused, a reply over them not kept."""
    run = house.run()
    large = b'"' + b"x" * 5_000 + b'"'
    assert observed(house, run, body=large).said == (200, "observed", "")
    assert would(house, run, 1) == ["too-large"]
    assert house.executions(run)[0].body == large
    other = house.run()
    for count, word in ((1, "executed"), (2, "result-unavailable")):
        answer = observed(house, other, script=says(whole(b"200 OK", large)))
        assert (answer.said, answer.body) == ((200, "observed", ""), large)
        assert would(house, other, count)[-1] == word


def test_chunked_body_over_the_limit_goes_through(house: House) -> None:
    """One that does not say beforehand how long it is."""
    run = house.run()
    head = request(
        "/tools/observed", ("X-Run-Id", run), ("X-Tool-Call-Id", "c"), ACME, ("Transfer-Encoding", "chunked")
    )
    with house.caller() as caller:
        caller.send(head + b"".join(b"400\r\n" + b"y" * 0x400 + b"\r\n" for _ in range(4)) + b"0\r\n\r\n")
        assert caller.answer().said == (200, "observed", "")
    assert house.executions(run)[0].body == b"y" * 0x1000
    assert would(house, run, 1) == ["too-large"]


def test_stream_arrives_event_by_event(house: House) -> None:
    """The caller sees each piece as the tool sends it."""
    run, gate = house.run(), Gate()

    def streams(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"9\r\ndata: 1\n\n\r\n")
        gate.pass_through()
        wire.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    with house.caller() as caller:
        caller.send(house.call(run, ACME, tool="observed", script=streams))
        assert caller.answer(head_only=True).status == 200
        assert caller.chunk() == b"data: 1\n\n"
        gate.open()
        assert caller.chunk() == b"data: 2\n\n"
    assert would(house, run, 1) == ["executed"]


@pytest.mark.fault(34)
def test_store_that_is_away_costs_nobody_an_answer(
    tmp_path: Path, tool: Tool, database: RedisDatabase, relay: Relay
) -> None:
    """Everything is forwarded, at once; what would have been done is a refusal."""
    folder = policy_folder(tmp_path / "policies", policy("act", "mode: observe"))
    with processes.proxy(tmp_path / "proxy", folder, tool.url, database.through(relay.port)) as proxy:
        assert ask(proxy.port, call("r")).said == (200, "observed", "")
        relay.refusing = True
        relay.hang_up()
        for _ in range(2):
            assert ask(proxy.port, call("s")).said == (200, "observed", "")
        lines = until(lambda: len(found := proxy.lines("request", run_id="s")) == 2 and found)
        assert {line["would"] for line in lines} <= {"store-unavailable", "in-flight"}
        assert max(line["duration_ms"] for line in lines) < 900
    assert len(tool.executions("s")) == 2


def test_same_effect_under_another_id_is_forwarded_and_told(tmp_path: Path, tool: Tool) -> None:
    """A regenerated id: both calls run, and the log says how many would not have."""
    rules = "effectKey: {fields: [body:/subject], scope: run, then: refuse}"
    folder = policy_folder(tmp_path / "policies", policy("act", "mode: observe", rules))
    with processes.proxy(tmp_path / "proxy", folder, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        for number, word in ((1, "executed"), (2, "effect-refused")):
            assert ask(proxy.port, call("r", call=f"call-{number}")).said == (200, "observed", "")
            assert proxy.await_line("request", tool_call_id=f"call-{number}")["would"] == word
        assert proxy.metric("holdfast_effect_duplicates_total") == 0
    assert len(tool.executions("r")) == 2


def test_observed_call_under_way_when_the_process_ends_is_written_down_as_unknown(tmp_path: Path, tool: Tool) -> None:
    """The next process, which enforces, does not run it again."""
    folder = policy_folder(tmp_path / "policies", policy("act", "mode: observe"))
    store, gate = processes.sqlite_url(tmp_path), Gate()
    data = call("r", script=tool.script(waits(gate)))
    with (
        processes.proxy(tmp_path / "1", folder, tool.url, store, "--grace", "100ms") as proxy,
        Caller(proxy.port) as one,
    ):
        one.send(data)
        gate.await_reached()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
    gate.open()
    policy_folder(tmp_path / "policies", policy("act"))
    with processes.proxy(tmp_path / "2", folder, tool.url, store) as proxy:
        assert ask(proxy.port, data).said == (409, "unknown", "outcome-unknown")
    assert len(tool.executions("r")) == 1


# -- what the shadow sees of a reply ---------------------------------------------------------------------------------


def reply(pieces: tuple[bytes, ...], *headers: tuple[bytes, bytes], first: bytes = b"") -> Replied:
    """Return a streamed reply."""
    return Replied(200, b"OK", headers, first, "chunked", Piecemeal(pieces))


async def end_of(seen: Observed) -> Outcome:
    """Return what the shadow takes for the end of its forward."""
    async with asyncio.timeout(1):
        return await seen(None)  # type: ignore[arg-type]  # it sends nothing


def looked_at(seen: Observed, given: Replied) -> Copied:
    """Return the stream that the caller is answered from."""
    replied = seen.look_at(given)
    assert isinstance(replied, Replied)
    assert isinstance(replied.stream, Copied)
    assert replied.body == b""
    return replied.stream


@in_virtual_time
async def test_stream_that_fits_is_whole_for_the_shadow() -> None:
    """Every piece goes to the caller as it comes, and all of them to the record."""
    seen = Observed(100, 60)
    stream = looked_at(seen, reply((b"b", b"c"), first=b"a"))
    assert [piece async for piece in stream] == [b"a", b"b", b"c"]
    stream.close()
    outcome = await end_of(seen)
    assert isinstance(outcome, Replied)
    assert (outcome.body, outcome.stream) == (b"abc", None)


@pytest.mark.parametrize(
    ("headers", "pieces"),
    [
        ((), (b"x" * 60, b"y" * 60, b"z")),
        (((b"Content-Length", b"500"),), (b"x",)),
        (((b"Content-Type", b"text/event-stream; charset=utf-8"),), (b"x",)),
    ],
)
@in_virtual_time
async def test_stream_that_would_not_be_kept_ends_the_forward_with_its_head(
    headers: Headers, pieces: tuple[bytes, ...]
) -> None:
    """As soon as that is seen, as in enforcement; from there on whoever hangs up hangs up on the tool."""
    seen = Observed(100, 60)
    given = reply(pieces, *headers)
    stream = looked_at(seen, given)
    assert [piece async for piece in stream] == list(pieces)
    outcome = await end_of(seen)
    assert isinstance(outcome, Replied)
    assert outcome.stream is not None
    stream.close()
    assert isinstance(given.stream, Piecemeal)
    assert given.stream.closed


@in_virtual_time
async def test_stream_whose_caller_goes_is_read_to_its_end_for_the_record() -> None:
    """Enforcement would have: a retry would find the result."""
    seen = Observed(100, 60)
    stream = looked_at(seen, reply((b"a", b"b", b"c")))
    assert await anext(stream) == b"a"
    stream.close()
    await settled()
    outcome = await end_of(seen)
    assert isinstance(outcome, Replied)
    assert outcome.body == b"abc"


@in_virtual_time
async def test_stream_that_is_cut_or_silent_is_lost_to_the_shadow() -> None:
    """Half of a reply is nobody's result, and a reply that never ends is not read for ever."""

    class Stopping(Piecemeal):
        def __init__(self, *, cut: bool) -> None:
            super().__init__(())
            self.cut = cut

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"a"
            if self.cut:
                raise Truncated("cut")
            await asyncio.Event().wait()

    for cut in (True, False):
        seen = Observed(100, 0.5)
        stream = looked_at(seen, Replied(200, b"OK", (), b"", "chunked", Stopping(cut=cut)))
        assert await anext(stream) == b"a"
        stream.close()
        assert isinstance(await end_of(seen), Lost)


@in_virtual_time
async def test_shadow_that_is_cancelled_hangs_up_on_nobody() -> None:
    """Its execution is given up; the caller's forward goes on."""
    seen = Observed(100, 60)
    sent: list[bool] = []
    task = asyncio.get_running_loop().create_task(seen(None, on_sent=lambda: sent.append(True)))  # type: ignore[arg-type]
    seen.sent()
    await settled()
    assert sent == [True]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    seen.end(Lost("reset"))
    assert await end_of(seen) == Lost("reset")
