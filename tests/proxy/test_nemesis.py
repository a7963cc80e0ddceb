"""Several callers, three proxies, one Redis, and somebody who breaks things: what callers are told stays true."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from tests.effort import LONGER
from tests.proxy import tools
from tests.proxy.history import Attempt, check
from tests.proxy.house import policy, policy_folder
from tests.proxy.namespace import Cable, namespace
from tests.proxy.processes import Proxy, until
from tests.proxy.tools import Execution, Script, Tool, Wire
from tests.redis_server import held_port, redis_server, system_server

SECONDS = min(600.0, 20.0 * LONGER)
CALLERS = 6
KEYS_AT_A_TIME = 4
TOLD_MIN = 300
"""With less, nothing that is found would mean anything."""
LEASE = "3s"
POLICIES = policy(
    "act",
    "timeouts: {connect: 500ms, upstream: 1s, hold: 1s, late: 3s}",
    "retry: {attempts: 1}",
    "result: {notFinal: [429]}",
)
Said = tuple[Literal["answer", "not-executed", "nothing"], str]


@dataclass
class Fleet:
    """The proxies, by name: how each is started, and what is running now."""

    starters: dict[str, Callable[[], Proxy]]
    hosts: dict[str, str]
    running: dict[str, Proxy] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one and wait until it takes calls."""
        self.running[name] = self.starters[name]()
        self.running[name].await_line("proxy.started")

    def stop(self) -> None:
        """Kill them all."""
        for proxy in self.running.values():
            proxy.kill()


class Callers:
    """Threads that ask for a few keys over and over, and write down what they were told."""

    def __init__(self, fleet: Fleet, scripts: list[bytes], seed: int) -> None:
        self.histories: dict[str, list[Attempt]] = defaultdict(list)
        self.surprises: list[str] = []
        self._fleet = fleet
        self._scripts = scripts
        self._seed = seed
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._asked = 0
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CALLERS)]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more, and wait for the answers that are under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller was never answered (I4)"

    def told(self) -> int:
        """Return how often anybody was told anything."""
        with self._lock:
            return sum(map(len, self.histories.values()))

    def _ask(self, number: int) -> None:
        chance = random.Random(f"{self._seed}:{number}")
        while not self._over.is_set():
            with self._lock:
                self._asked += 1
                newest = self._asked // 12
            run = f"run-{max(0, newest - chance.randrange(KEYS_AT_A_TIME))}"
            name = chance.choice(sorted(self._fleet.starters))
            start = time.monotonic()
            told, value = self._once(name, run, chance)
            attempt = Attempt(start, time.monotonic(), told, value)
            with self._lock:
                self.histories[run].append(attempt)

    def _once(self, name: str, run: str, chance: random.Random) -> Said:
        proxy = self._fleet.running[name]
        script = chance.choice(self._scripts)
        fields = {"X-Run-Id": run, "X-Tool-Call-Id": "call-1", "X-Script": script.decode()}
        connection = http.client.HTTPConnection(self._fleet.hosts[name], proxy.port, timeout=chance.choice([0.3, 2, 6]))
        try:
            connection.request("POST", "/tools/act", b'{"a":1}', fields)
            answer = connection.getresponse()
            return self._told(answer.status, answer.getheader("Holdfast-Outcome", ""), answer.read())
        except (OSError, http.client.HTTPException):
            return "nothing", ""
        finally:
            connection.close()

    def _told(self, status: int, outcome: str, body: bytes) -> Said:
        if outcome in {"executed", "joined", "replayed"} and status == 200:
            return "answer", str(json.loads(body)["ticket"])
        if outcome == "not-executed":
            return "not-executed", ""
        if outcome not in {"unknown", "refused"}:
            self.surprises.append(f"{status} {outcome} {body[:80]!r}")
        return "nothing", ""


class Effects:
    """The tool's own ledger of what it did, not of what it was asked: ticket numbers by run."""

    def __init__(self) -> None:
        self.by_run: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()
        self._number = 0

    def act(self, execution: Execution) -> bytes:
        """File a ticket and return the answer's body."""
        with self._lock:
            self._number += 1
            self.by_run[execution.get(b"x-run-id").decode()].append(str(self._number))
            return b'{"ticket": "%d"}' % self._number

    def acts(self, before_s: float = 0.0, then: Callable[[Wire, bytes], None] = Wire.reply) -> Script:
        """Return a script that files a ticket after a while, whoever still listens, and then does something."""

        def script(wire: Wire, execution: Execution) -> None:
            time.sleep(before_s)  # the tool's own pace; nothing waits for it that has no time limit of its own
            then(wire, self.act(execution))

        return script


def scripts_of(tool: Tool, effects: Effects) -> list[bytes]:
    """Return the names of what the tool may do: most act, some answer badly or late, some do nothing."""
    acts = effects.acts
    kinds: list[Script] = [
        acts(), acts(), acts(0.2), acts(1.4), acts(5.0), acts(0.0, lambda wire, _: wire.reset()),
        acts(0.0, lambda wire, body: wire.reply(body, b"500 Oops")), acts(0.3, lambda wire, _: wire.close()),
        lambda wire, _: wire.reply(b"", b"429 Slow Down"), lambda wire, _: wire.reset(),
    ]  # fmt: skip
    return [tool.script(kind) for kind in kinds]


class Redis:
    """A Redis that writes everything down at once, so that a crash of it forgets nothing."""

    def __init__(self, folder: Path, port: int, *addresses: str) -> None:
        self.port = port
        self._folder = folder
        self._settings = ("--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no",
                          "--bind", "127.0.0.1", *addresses)  # fmt: skip
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        """Start it, with what it wrote down before."""
        server = redis_server(self._folder, *self._settings, binary=system_server(), port=self.port)
        self._stack.enter_context(server)

    def stop(self) -> None:
        """kill -9."""
        self._stack.close()


class Nemesis:
    """Breaks one thing at a time and mends it again."""

    def __init__(self, fleet: Fleet, redis: Redis, cable: Cable, seed: int) -> None:
        self.done: dict[str, int] = defaultdict(int)
        self._fleet, self._redis, self._cable = fleet, redis, cable
        self._chance = random.Random(seed)

    def rage(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Break things for a while; each kind at least once, and until there is `enough` to judge by."""
        deeds = [self._kill, self._pause, self._crash_redis, self._partition]
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(self.done) < len(deeds) or not enough():
            fresh = [deed for deed in deeds if deed.__name__ not in self.done]
            deed = self._chance.choice(fresh or deeds)
            deed()
            self.done[deed.__name__] += 1
            time.sleep(self._chance.uniform(0.3, 1.0))  # a while in which nothing is broken

    def _kill(self) -> None:
        name = self._chance.choice(sorted(self._fleet.running))
        self._fleet.running[name].kill()
        self._fleet.start(name)

    def _pause(self) -> None:
        proxy = self._fleet.running[self._chance.choice(sorted(self._fleet.running))]
        proxy.signal(signal.SIGSTOP)
        time.sleep(4.0)  # longer than the lease, which is the point
        proxy.signal(signal.SIGCONT)

    def _crash_redis(self) -> None:
        self._redis.stop()
        time.sleep(self._chance.uniform(0.1, 1.5))  # the time that it is away
        self._redis.start()

    def _partition(self) -> None:
        self._cable.cut()
        time.sleep(self._chance.uniform(0.5, 5.0))  # the time that it lasts
        self._cable.mend()


@contextlib.contextmanager
def fleet(folder: Path) -> Iterator[tuple[Fleet, Redis, Cable, Tool]]:
    """Run two proxies beside us, one at the other end of two cables, a Redis and a tool."""
    with contextlib.ExitStack() as stack:
        space = stack.enter_context(namespace(cables=2))
        inner, outer = space.cables  # to the ledger, and to callers and the tool
        tool = stack.enter_context(tools.tool(outer.ours))
        redis = Redis(folder, stack.enter_context(held_port()), inner.ours)
        redis.start()
        stack.callback(redis.stop)
        policies = policy_folder(folder / "policies", POLICIES)

        def starter(name: str) -> Callable[[], Proxy]:
            host, within = (outer.theirs, space.within) if name == "far" else ("127.0.0.1", ())
            store = f"redis://{inner.ours if within else '127.0.0.1'}:{redis.port}/0"
            given = ["--policies", str(policies), "--upstream", tool.url, "--lease", LEASE, "--store", store]
            given += ["--listen", f"{host}:0", "--health", f"{host}:0"]
            return lambda: Proxy(folder / name, *given, within=within)

        names = ("near", "next", "far")
        fleet = Fleet({name: starter(name) for name in names},
                      {name: outer.theirs if name == "far" else "127.0.0.1" for name in names})  # fmt: skip
        stack.callback(fleet.stop)
        for name in names:
            fleet.start(name)
        yield fleet, redis, inner, tool


@pytest.mark.system
@pytest.mark.search
@pytest.mark.timeout(SECONDS + 180)
def test_what_callers_are_told_is_true_whatever_breaks(tmp_path: Path) -> None:
    """Kills, pauses beyond the lease, a crashing Redis and a partition: at most one execution of each key, and for each
    key an order of events in which everything that anybody was told is true (I1, I2, I3, I4, I5)."""
    seed = random.randrange(1_000_000)
    effects = Effects()
    with fleet(tmp_path) as (proxies, redis, cable, tool):
        callers = Callers(proxies, scripts_of(tool, effects), seed)
        nemesis = Nemesis(proxies, redis, cable, seed)
        callers.start()
        try:
            nemesis.rage(SECONDS, lambda: callers.told() > TOLD_MIN)
        finally:
            callers.stop()
        until(tool.idle, "the tool has done everything that it was asked")
    assert callers.surprises == [], seed
    for run, history in callers.histories.items():
        try:
            check(history, effects.by_run[run])
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {run}: {error}") from error
    executed = sum(len(numbers) == 1 for numbers in effects.by_run.values())
    assert executed > len(callers.histories) // 4, (executed, len(callers.histories))
