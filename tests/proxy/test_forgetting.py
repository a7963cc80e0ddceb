"""A store that forgets under load: what the tool's own ledger shows, and what callers are told, by policy.

Run with `-s` to see the table that docs/guarantees.md shows.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from tests.proxy import tools
from tests.proxy.house import policy, policy_folder
from tests.proxy.processes import Proxy, proxy, until
from tests.proxy.tools import Execution, Wire
from tests.redis_server import redis_server, system_server
from tests.redis_topologies import Watched, watched

CALLERS = 6
CALLS_MIN = 40
"""Calls that were made before anything is forgotten: without load there is nothing to forget."""
SETTINGS = {
    "default": (),
    "durability: {replicas: 1}": ("durability: {replicas: 1}",),
    "storeDown: forward": ("storeDown: forward",),
}


@dataclass
class Found:
    """What came of it: calls by what their callers were told last, and executions by call."""

    told: Counter[str] = field(default_factory=Counter)
    executions: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    noticed: bool = False

    @property
    def twice(self) -> int:
        """Calls that ran more than once."""
        return sum(count > 1 for count in self.executions.values())

    def row(self, what: str, setting: str) -> str:
        """Return a row of the table."""
        told = [str(self.told[kind]) for kind in ("answer", "unknown", "refused", "other")]
        return f"| {what} | `{setting}` | {' | '.join(told)} | {self.twice} | {'yes' if self.noticed else 'no'} |"


class Load:
    """Callers that make calls of their own, each asked for three times at once, and once more when all is over."""

    def __init__(self, proxies: list[Proxy], found: Found) -> None:
        self._proxies = proxies
        self._found = found
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._runs: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    @property
    def calls(self) -> int:
        """How many calls were begun."""
        return len(self._runs)

    def stop(self) -> None:
        """Make no further calls."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller was never answered (I4)"
        with ThreadPoolExecutor(CALLERS) as askers:
            self._found.told.update(askers.map(lambda run: self._once(self._proxies[1], run), self._runs))

    def _ask(self) -> None:
        while not self._over.is_set():
            with self._lock:
                run = f"run-{next(self._numbers)}"
                self._runs.append(run)
            for name in (0, 1, 1):
                self._once(self._proxies[name], run)
                time.sleep(0.2)  # a caller's own pause before it asks again

    def _once(self, asked: Proxy, run: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=30)
        try:
            connection.request("POST", "/tools/act", b"{}", {"X-Run-Id": run, "X-Tool-Call-Id": "call-1"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return "other"
        finally:
            connection.close()
        outcome = answer.getheader("Holdfast-Outcome", "")
        if outcome in {"executed", "joined", "replayed", "unprotected"}:
            return "answer"
        return outcome if outcome in {"unknown", "refused"} else "other"


def beats(one: Proxy) -> float:
    """Return how many heartbeats a proxy has had answered."""
    return one.metric("holdfast_store_duration_seconds_count", op="beat")


@contextlib.contextmanager
def under_load(folder: Path, url: str, *lines: str) -> Iterator[Found]:
    """Run two proxies and their callers; in the end, what came of it is in what was yielded."""
    found = Found()

    def acts(wire: Wire, execution: Execution) -> None:
        found.executions[execution.get(b"x-run-id").decode()] += 1
        time.sleep(0.05)  # the tool's own pace
        wire.reply(json.dumps({"run": execution.get(b"x-run-id").decode()}).encode())

    with contextlib.ExitStack() as stack:
        tool = stack.enter_context(tools.tool())
        tool.answer_all(acts)
        policies = policy_folder(folder / "policies", policy("act", "timeouts: {hold: 2s}", *lines))
        proxies = [
            stack.enter_context(proxy(folder / name, policies, tool.url, url, hasty=True)) for name in ("one", "two")
        ]
        load = Load(proxies, found)
        try:
            until(lambda: load.calls > CALLS_MIN, "there is something to forget")
            yield found
            # The second beat that was begun after the loss has told everybody of it, if anything does.
            before = [beats(one) for one in proxies]
            until(lambda: all(beats(one) > then + 2 for one, then in zip(proxies, before, strict=True)), "hearts beat")
            then = load.calls
            until(lambda: load.calls > then + CALLERS, "and callers go on")
        finally:
            load.stop()
        found.noticed = any(one.lines("store.memory-lost") for one in proxies)


def fail_over(servers: Watched, behind_s: float) -> None:
    """Let the replica lose touch, kill the primary, and let the Sentinels promote what is left."""
    primary = servers.primary()
    (replica,) = (server for server in servers.servers if server is not primary)
    replica.ask("REPLICAOF", "127.0.0.1", "1")  # nobody is there; what it has, it keeps
    time.sleep(behind_s)  # what is written meanwhile is lost
    primary.kill()


@pytest.mark.system
@pytest.mark.fault(41, 42, 45)
@pytest.mark.timeout(240)
@pytest.mark.parametrize("behind_s", [0.3, 2.0])
@pytest.mark.parametrize("setting", SETTINGS)
def test_failover_that_loses_writes_runs_nothing_twice_where_replicas_are_asked_for(
    tmp_path: Path, setting: str, behind_s: float
) -> None:
    """With `durability: {replicas: 1}` what was claimed is in the promoted replica: nothing runs twice. Without it,
    what the replica had not got may, until the loss is noticed: the ledger that remembered it is gone. From then on
    nobody is answered, but for calls that were under way and have an end by now."""
    with watched(system_server()) as servers, under_load(tmp_path, servers.url, *SETTINGS[setting]) as found:
        fail_over(servers, behind_s)
    sys.stdout.write("\n" + found.row(f"failover, replica {behind_s:g} s behind", setting))
    assert found.told["answer"] + found.told["refused"] > 20
    assert found.told["answer"] <= CALLERS or not found.noticed or setting == "storeDown: forward"
    if "replicas" in setting:
        assert found.twice == 0


@pytest.mark.system
@pytest.mark.fault(45)
@pytest.mark.parametrize("setting", [name for name in SETTINGS if "replicas" not in name])
def test_flushed_store_is_noticed_and_writes_are_refused(tmp_path: Path, setting: str) -> None:
    """FLUSHALL: within a second every proxy knows, and refuses what it cannot rule out to have run."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(redis_server(tmp_path, binary=system_server()))
        found = stack.enter_context(under_load(tmp_path, f"redis://127.0.0.1:{port}/0", *SETTINGS[setting]))
        stack.enter_context(redis.Redis(port=port)).flushall()
    sys.stdout.write("\n" + found.row("FLUSHALL", setting))
    assert found.noticed
    assert (found.told["refused"] > 20) is (setting == "default")  # who forwards without a ledger forwards here too
