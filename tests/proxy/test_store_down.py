"""What the store does to a sidecar: it goes away, stalls, fills up, is spoiled (faults 34, 35, 44, 46, 47, 51, 52)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.proxy import processes
from tests.proxy.callers import ask, callers
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import Proxy, until
from tests.proxy.relays import Relay, claims, settles
from tests.proxy.tools import Gate, Tool, says, waits
from tests.redis_server import redis_server

REFUSED = (503, "refused", "store-unavailable")
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nticket"

POLICIES = (
    policy("act")
    + policy("daring", "storeDown: forward")
    + policy("search", "effect: read", "match: {path: /tools/search, method: [GET, POST]}")
)


@pytest.fixture
def distant(tmp_path: Path, tool: Tool, relay: Relay, database: RedisDatabase) -> Iterator[House]:
    """A proxy whose Redis is behind a relay."""
    folder = policy_folder(tmp_path / "several", POLICIES)
    with processes.proxy(tmp_path / "proxy", folder, tool.url, database.through(relay.port), hasty=True) as proxy:
        yield House(proxy, tool)


def go_away(relay: Relay) -> None:
    """Make the store unreachable."""
    relay.refusing = True
    relay.hang_up()


def await_recovery(house: House) -> None:
    """Wait until claims are accepted again."""
    until(lambda: house.ask(house.run()).status == 200, "the store is back")


# -- away -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(34)
def test_write_is_refused_while_the_store_is_away_and_free_afterwards(distant: House, relay: Relay) -> None:
    """503 with a time to come back and a safe retry under the same key; nothing was sent, and later it runs, once."""
    data = distant.call("r")
    go_away(relay)
    for _ in range(2):
        refused = ask(distant.port, data)
        assert refused.said == REFUSED
        assert (refused.json()["retry"], refused.get("Retry-After")) == ("same-key", "1")
        assert not refused.get("x-should-retry")
    assert not distant.executions("r")
    assert distant.proxy.metric("holdfast_store_up") == 0
    relay.refusing = False
    answer = until(lambda: (one := ask(distant.port, data)).status != 503 and one)
    assert answer.said == (200, "executed", "")
    assert ask(distant.port, data).outcome == "replayed"
    assert len(distant.executions("r")) == 1
    assert distant.proxy.metric("holdfast_store_up") == 1


@pytest.mark.fault(34)
def test_reads_and_replays_at_hand_are_served_while_the_store_is_away(distant: House, relay: Relay) -> None:
    """An outage of the store takes writes alone: reads pass, the process stays ready, and what it knows it replays."""
    known = distant.call("known")
    first = ask(distant.port, known)
    go_away(relay)
    assert distant.ask("r", tool="search").status == 200
    assert distant.proxy.get("/readyz")[0] == distant.proxy.get("/livez")[0] == 200
    again = ask(distant.port, known)
    assert (again.outcome, again.body) == ("replayed", first.body)
    assert len(distant.executions("known")) == 1


@pytest.mark.fault(34)
def test_policy_may_forward_unprotected_while_the_store_is_away(distant: House, relay: Relay) -> None:
    """`storeDown: forward` is heeded, told in the answer, and counted."""
    go_away(relay)
    assert distant.ask("r", tool="daring").said == (200, "unprotected", "")
    assert distant.proxy.metric("holdfast_unprotected_total", tool="daring", why="store-down") == 1
    assert len(distant.executions("r")) == 1


@pytest.mark.fault(34)
def test_start_without_the_store_serves_reads_and_waits(
    tmp_path: Path, tool: Tool, relay: Relay, database: RedisDatabase
) -> None:
    """A proxy that starts in an outage is not ready, serves reads, refuses writes, and begins when the store comes."""
    relay.refusing = True
    folder = policy_folder(tmp_path / "several", POLICIES)
    with processes.proxy(
        tmp_path / "p", folder, tool.url, database.through(relay.port), started=False, hasty=True
    ) as proxy:
        proxy.await_line("store.unreachable")
        house = House(proxy, tool)
        assert house.ask("r", tool="search").status == 200
        assert house.ask("w").said == REFUSED
        assert [proxy.get(path)[0] for path in ("/startupz", "/readyz", "/livez")] == [503, 503, 200]
        relay.refusing = False
        proxy.await_line("proxy.started")
        assert proxy.get("/readyz")[0] == proxy.get("/startupz")[0] == 200
        await_recovery(house)
    assert not tool.executions("w")


@pytest.mark.fault(35)
def test_reply_known_while_the_store_is_away_is_given_kept_and_written_later(
    distant: House, relay: Relay, database: RedisDatabase, tmp_path: Path, policies: Path
) -> None:
    """Everybody who waits gets the tool's answer, and so does who asks next; once the store is back, anybody does."""
    gate = Gate()
    data = distant.call("r", script=waits(gate, says(REPLY)))
    with distant.caller() as first, distant.caller() as joiner:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        go_away(relay)
        gate.open()
        assert (first.answer().said, joiner.answer().said) == ((200, "executed", ""), (200, "joined", ""))
    assert ask(distant.port, data).said == (200, "replayed", "")
    assert distant.proxy.metric("holdfast_pending_settlement_bytes") > 0
    relay.refusing = False
    until(lambda: distant.proxy.metric("holdfast_pending_settlement_bytes") == 0)
    with processes.proxy(tmp_path / "other", policies, distant.tool.url, database.url, hasty=True) as other:
        elsewhere = ask(other.port, data)
    assert (elsewhere.said, elsewhere.body) == ((200, "replayed", ""), b"ticket")
    assert len(distant.executions("r")) == 1


@pytest.mark.fault(35)
def test_reply_that_never_reaches_the_store_is_unknown_to_everybody_else(
    distant: House, relay: Relay, database: RedisDatabase, tmp_path: Path, policies: Path
) -> None:
    """The only process that knew is gone: unknown, never free."""
    gate = Gate()
    data = distant.call("r", script=waits(gate, says(REPLY)))
    with distant.caller() as first:
        first.send(data)
        gate.await_reached()
        go_away(relay)
        gate.open()
        assert first.answer().status == 200
    distant.proxy.kill()
    with processes.proxy(tmp_path / "other", policies, distant.tool.url, database.url, hasty=True) as other:
        assert ask(other.port, data).problem == "outcome-unknown"
        assert ask(other.port, data).said == (409, "unknown", "outcome-unknown")
    assert len(distant.executions("r")) == 1


# -- slow -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(46)
@pytest.mark.parametrize("reply", [False, True], ids=["command", "reply"])
def test_stalled_store_is_refused_within_the_deadline_and_nothing_piles_up(
    distant: House, relay: Relay, reply: bool
) -> None:
    """A store that stops talking costs each caller its deadline, and leaves nothing behind when it talks again."""
    await_recovery(distant)
    descriptors = distant.proxy.descriptors()
    gate = relay.hold(claims, reply=reply)
    with callers(distant.port, 60) as crowd:
        for number, caller in enumerate(crowd):
            caller.send(distant.call(f"slow-{number}"))
        gate.await_reached()
        answers = [caller.answer() for caller in crowd]
    assert {answer.said for answer in answers} <= {REFUSED, (200, "executed", "")}
    assert answers[0].said == REFUSED or reply
    gate.open()
    await_recovery(distant)
    until(lambda: distant.proxy.metric("holdfast_pending_settlement_bytes") == 0)
    until(lambda: distant.proxy.descriptors() <= descriptors, "descriptors return")
    for number in range(60):
        later = distant.ask(f"slow-{number}")
        assert later.outcome in {"executed", "replayed", "unknown"}
        assert len(distant.executions(f"slow-{number}")) <= 1


@pytest.mark.fault(46)
def test_stalled_settlement_answers_its_caller_all_the_same(distant: House, relay: Relay) -> None:
    """The tool has answered: a store that does not confirm it in time delays the answer by its deadline at most."""
    gate = relay.hold(settles, reply=False)
    answer = distant.ask("r", script=says(REPLY))
    assert (answer.status, answer.body) == (200, b"ticket")
    gate.open()
    until(lambda: distant.proxy.metric("holdfast_pending_settlement_bytes") == 0)
    assert distant.ask("r", script=says(REPLY)).outcome == "replayed"
    assert len(distant.executions("r")) == 1


# -- full -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(44)
def test_redis_out_of_memory_refuses_writes_and_keeps_known_results(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """A full store takes no claims, so nothing is sent; a reply that it cannot take waits for it."""
    with (
        redis_server(tmp_path) as port,
        processes.proxy(tmp_path / "p", policies, tool.url, f"redis://127.0.0.1:{port}/0", hasty=True) as proxy,
        redis.Redis(port=port) as server,
    ):
        house, gate = House(proxy, tool), Gate()
        data = house.call("known", script=waits(gate, says(REPLY)))
        with house.caller() as caller:
            caller.send(data)
            gate.await_reached()
            server.config_set("maxmemory", 1)
            gate.open()
            assert caller.answer().said == (200, "executed", "")
        assert house.ask("r").said == REFUSED
        assert not tool.executions("r")
        server.config_set("maxmemory", 0)
        assert until(lambda: house.ask("r").status == 200)
        until(lambda: proxy.metric("holdfast_pending_settlement_bytes") == 0)
        assert ask(house.port, data).outcome == "replayed"
        assert len(tool.executions("r")) == len(tool.executions("known")) == 1


@pytest.mark.fault(52)
def test_full_disk_refuses_writes_and_keeps_known_results(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """SQLite cannot write: claims are refused, nothing is sent; a known reply is given, and written when it can be."""
    store = processes.sqlite_url(tmp_path)
    with processes.proxy(tmp_path / "p", policies, tool.url, store, hasty=True) as proxy:
        house, gate = House(proxy, tool), Gate()
        data = house.call("known", script=waits(gate, says(REPLY)))
        with house.caller() as caller:
            caller.send(data)
            gate.await_reached()
            _limit_files(proxy, 4_096)
            gate.open()
            assert caller.answer().said == (200, "executed", "")
        until(lambda: house.ask(house.run()).said == REFUSED)
        assert house.ask("r").said == REFUSED
        assert not tool.executions("r")
        assert proxy.get("/readyz")[0] == 200
        _limit_files(proxy, resource.RLIM_INFINITY)
        assert until(lambda: house.ask("r").status == 200)
        until(lambda: proxy.metric("holdfast_pending_settlement_bytes") == 0)
    with processes.proxy(tmp_path / "p", policies, tool.url, store, hasty=True) as proxy:
        assert ask(proxy.port, data).said == (200, "replayed", "")
    assert len(tool.executions("r")) == len(tool.executions("known")) == 1


def _limit_files(proxy: Proxy, bytes_max: int) -> None:
    """Let the process write no file beyond so many bytes: what a full disk looks like to it."""
    resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))


@pytest.mark.fault(51)
def test_ledger_that_another_program_has_locked_is_waited_for(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """While somebody else holds the file, writes are refused and nothing is sent; then the proxy takes it up."""
    store = processes.sqlite_url(tmp_path)
    with processes.proxy(tmp_path / "p", policies, tool.url, store, hasty=True) as proxy:
        assert House(proxy, tool).ask("r").status == 200
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with processes.proxy(tmp_path / "busy", policies, tool.url, store, started=False, hasty=True) as proxy:
            house = House(proxy, tool)
            proxy.await_line("store.unreachable")
            assert house.ask("r").said == house.ask("new").said == REFUSED
            assert proxy.get("/readyz")[0] == 503
            other.rollback()
            other.close()
            proxy.await_line("proxy.started")
            assert until(lambda: (one := house.ask("r")).status != 503 and one).outcome == "replayed"
    assert len(tool.executions("r")) == 1
    assert not tool.executions("new")


# -- spoiled --------------------------------------------------------------------------------------------------------


def _spoil(database: RedisDatabase, operation: str) -> None:
    with redis.Redis(port=database.server_port, db=database.number) as server:
        (place,) = server.keys(f"*record:{operation}")
        server.hset(place, "record", b"\x93\x01\x02\x03")


@pytest.mark.fault(47)
def test_record_that_cannot_be_read_is_never_taken_for_absent(
    distant: House, database: RedisDatabase, tmp_path: Path
) -> None:
    """Whatever stands there, something does: 409 and unknown, loudly, and the call is not forwarded."""
    data = distant.call("r")
    operation = ask(distant.port, data).get("Holdfast-Operation")
    _spoil(database, operation)
    folder = policy_folder(tmp_path / "several", POLICIES)
    with processes.proxy(tmp_path / "other", folder, distant.tool.url, database.url, hasty=True) as other:
        answer = ask(other.port, data)
        assert answer.said == (409, "unknown", "outcome-unknown")
        assert answer.json()["state"] == "unreadable"
        other.await_line("record.corrupt", operation=operation)
        assert House(other, distant.tool).ask("healthy").status == 200
    assert len(distant.executions("r")) == 1


@pytest.mark.fault(47)
def test_record_spoiled_under_a_forward_costs_nobody_else_their_lease(distant: House, database: RedisDatabase) -> None:
    """Its own caller still gets the tool's answer; other calls in flight keep their leases and their results."""
    gates = {"spoilt": Gate(), "other": Gate()}
    with distant.caller() as first, distant.caller() as second:
        for caller, (run, gate) in zip((first, second), gates.items(), strict=True):
            caller.send(distant.call(run, script=waits(gate, says(REPLY))))
            gate.await_reached()
        with redis.Redis(port=database.server_port, db=database.number) as server:
            for place in server.keys("*record:*"):
                if b"spoilt" in (server.hget(place, "record") or b""):
                    server.hset(place, "record", b"\x93\x01")
                    server.hset(place, "version", "foreign")
        renewed = distant.proxy.metric("holdfast_store_duration_seconds_count", op="renew")
        # Six renewals of the two: more than a lease has gone by.
        until(lambda: distant.proxy.metric("holdfast_store_duration_seconds_count", op="renew") >= renewed + 8)
        for gate in gates.values():
            gate.open()
        assert (first.answer().body, second.answer().body) == (b"ticket", b"ticket")
    assert distant.ask("other", script=says(REPLY)).outcome == "replayed"
    assert not distant.proxy.lines("lease.lapsed")
    assert not distant.proxy.lines("task.failed")
    assert len(distant.executions("spoilt")) == len(distant.executions("other")) == 1


@pytest.mark.fault(45)
def test_store_that_forgot_a_claim_is_noticed_when_its_forward_settles(distant: House, database: RedisDatabase) -> None:
    """A flush under a forward is an alarm, and the result is written all the same."""
    gate = Gate()
    data = distant.call("r", script=waits(gate, says(REPLY)))
    with distant.caller() as caller:
        caller.send(data)
        gate.await_reached()
        with redis.Redis(port=database.server_port, db=database.number) as server:
            server.flushdb()
        gate.open()
        assert caller.answer().status == 200
    distant.proxy.await_line("claim.lost")
    assert distant.proxy.metric("holdfast_claims_lost_total", tool="act") == 1
    assert ask(distant.port, data).outcome == "replayed"
    assert len(distant.executions("r")) == 1


def test_frozen_redis_is_survived(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """A server that is stopped for longer than every deadline and goes on is met again without a restart."""
    with (
        redis_server(tmp_path) as port,
        processes.proxy(tmp_path / "p", policies, tool.url, f"redis://127.0.0.1:{port}/0", hasty=True) as proxy,
        redis.Redis(port=port) as server,
    ):
        house = House(proxy, tool)
        assert house.ask("before").status == 200
        pid = int(server.info("server")["process_id"])
        os.kill(pid, signal.SIGSTOP)
        try:
            assert house.ask("during").said == REFUSED
        finally:
            os.kill(pid, signal.SIGCONT)
        answer = until(lambda: (one := house.ask("during")).status != 503 and one)
        assert answer.outcome in {"executed", "unknown"}
        assert len(tool.executions("during")) <= 1
        assert house.ask("before").outcome == "replayed"
