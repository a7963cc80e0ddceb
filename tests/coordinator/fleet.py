"""Replicas of the coordinator that are killed, frozen and restarted while users talk to them; and what must be true in
the end, seen from outside: by the tools' audit and the API's own word."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from evaluation.address import Address, unused_address
from evaluation.tools.asking import payload_hash
from tests.coordinator.processes import Coordinator, World, get, post
from tests.proxy.processes import until

VISIBILITY_S = 3
PATIENCE_S = 180.0
"""For a run to end once nothing is broken any more: it may have been backed off from, on a machine that does much."""
CALL_KINDS = ("create_ticket", "send_email", "search_kb")
WRITES = {"create_ticket", "send_email"}
Call = tuple[str, dict[str, Any]]
Plan = tuple[tuple[Call, ...], ...]


class Replica:
    """One replica, started again at its address after each death. `proxy` is the sidecar that it asks."""

    def __init__(self, world: World, name: str, proxy: Address, *more: str) -> None:
        self.name = name
        self.address = unused_address()
        self.running: Coordinator
        self._world = world
        self._given = ("--visibility", f"{VISIBILITY_S}s", "--proxy", proxy.url, *more)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.running = self._world.coordinator(self.name, self.address, *self._given)


class Nemesis:
    """Breaks something at instants that a seed chooses, and mends it again. One replica at a time is frozen, so that
    the others have the time to take its runs."""

    def __init__(self, replicas: Sequence[Replica], seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._replicas = replicas
        self._chance = random.Random(seed)

    def rage(self, seconds: float, over: Callable[[], bool]) -> None:
        """Break things for a while, or until all is `over`; each kind at least once."""
        deeds = {"kill": self._kill, "freeze": self._freeze, "restart": self._restart, "kill-all": self._kill_all}
        end = time.monotonic() + seconds
        while len(self.done) < len(deeds) or (time.monotonic() < end and not over()):
            fresh = [name for name in deeds if name not in self.done]
            name = self._chance.choice(fresh or sorted(deeds))
            time.sleep(self._chance.uniform(0.1, 1.2))  # a while in which nothing is broken, and runs go on
            deeds[name]()
            self.done[name] += 1

    def _kill(self) -> None:
        victim = self._chance.choice(self._replicas)
        victim.running.process.kill()
        victim.start()

    def _kill_all(self) -> None:
        for victim in self._replicas:
            victim.running.process.kill()
        for victim in self._replicas:
            victim.start()

    def _restart(self) -> None:
        victim = self._chance.choice(self._replicas)
        assert victim.running.process.stop() == 0
        victim.start()

    def _freeze(self) -> None:
        victim = self._chance.choice(self._replicas)
        victim.running.process.signal(signal.SIGSTOP)
        time.sleep(VISIBILITY_S + 1.5)  # beyond the visibility, which is the point
        victim.running.process.signal(signal.SIGCONT)


class User:
    """Somebody with a conversation of some turns, one after the other, each asked for at any replica until one says
    that its run was made. `runs` has what each turn's run was to do."""

    def __init__(self, number: int, turns: int, world: World, replicas: Sequence[Replica], seed: int) -> None:
        self.runs: dict[str, Plan] = {}
        self.thread_id = ""
        self.surprises: list[str] = []
        self._number, self._turns, self._world, self._replicas = number, turns, world, replicas
        self._chance = random.Random(f"{seed}:{number}")
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def start(self) -> None:
        """Begin to talk."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the last run has ended."""
        self._thread.join(PATIENCE_S * self._turns)
        assert not self._thread.is_alive(), "a conversation does not end"

    @property
    def over(self) -> bool:
        """Whether all has been said."""
        return not self._thread.is_alive()

    def _talk(self) -> None:
        try:
            for number in range(self._turns):
                plan = self._plan(number)
                told = until(lambda n=number, p=plan: self._asked(n, p), "the turn is started", PATIENCE_S)  # type: ignore[misc]
                self.thread_id = told["thread_id"]
                self.runs[told["run_id"]] = plan
                until(lambda run=told["run_id"]: self._ended(run), f"{told} ends", PATIENCE_S)  # type: ignore[misc]
        except AssertionError as error:
            self.surprises.append(str(error))

    def _plan(self, turn: int) -> Plan:
        """Three steps of one to three calls. No two have the same arguments, so that nothing but the ids can tell an
        execution from its repetition."""
        return tuple(
            tuple(
                (self._chance.choice(CALL_KINDS), {"call": f"{self._number}-{turn}-{step}-{call}"})
                for call in range(self._chance.randint(1, 3))
            )
            for step in range(3)
        )

    def _asked(self, turn: int, plan: Plan) -> dict[str, Any] | None:
        steps = [[{"tool": tool, "arguments": arguments} for tool, arguments in step] for step in plan]
        body = {
            "client_turn_id": f"turn-{self._number}-{turn}", "message": json.dumps({"steps": steps}),
            "assistant_id": "asst_1", "thread_id": self.thread_id,
        }  # fmt: skip
        try:
            told: dict[str, Any] = post(f"{self._chance.choice(self._replicas).running.url}/v1/turns", body, within_s=8)
        except urllib.error.HTTPError as refusal:
            with refusal:
                said = json.load(refusal)
            if said.get("retry") != "same-key" or refusal.code == 500:
                self.surprises.append(f"a turn was told {said}")
        except (OSError, http.client.HTTPException):
            pass  # it was killed, is frozen, or is being started: ask another one
        else:
            return told
        time.sleep(0.2)  # a user's own patience between two tries
        return None

    def _ended(self, run_id: str) -> bool:
        return status_of(self._world, self.thread_id, run_id) in {"completed", "expired", "failed", "cancelled"}


def status_of(world: World, thread_id: str, run_id: str) -> str:
    """Return what the API says of a run, empty if it says nothing."""
    try:
        return str(api(world, f"threads/{thread_id}/runs/{run_id}")["status"])
    except OSError:
        return ""


def api(world: World, path: str) -> Any:
    """Ask the API itself."""
    request = urllib.request.Request(f"{world.assistants.url}/v1/{path}", headers={"OpenAI-Beta": "assistants=v2"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def check(world: World, replica: Coordinator, users: Sequence[User]) -> None:
    """Hold what users were promised against what the tools and the API say."""
    runs = {run_id: plan for user in users for run_id, plan in user.runs.items()}
    check_effects(world, runs)
    check_submissions(world, runs)
    for user in users:
        listed = api(world, f"threads/{user.thread_id}/runs?limit=100")["data"]
        assert {run["id"]: run["status"] for run in listed} == dict.fromkeys(user.runs, "completed")
        said = api(world, f"threads/{user.thread_id}/messages?limit=100")["data"]
        assert [one["role"] for one in said].count("user") == len(user.runs)
    for run_id in runs:
        assert replica.ended(run_id)["status"] == "completed"
    assert get(f"{replica.url}/v1/dead-letters")["letters"] == []


def check_effects(world: World, runs: dict[str, Plan]) -> None:
    """Each write of each run's plan took place once, and nothing else did."""
    did = Counter((effect["run_id"], effect["tool"], effect["payload_hash"]) for effect in world.effects())
    meant = Counter(
        (run_id, tool, payload_hash(json.dumps(arguments).encode()))
        for run_id, plan in runs.items()
        for step in plan
        for tool, arguments in step
        if tool in WRITES
    )
    assert did == meant, f"too often {did - meant}, missing {meant - did}"


def check_submissions(world: World, runs: dict[str, Plan]) -> None:
    """Each step was taken once, and with what its tools had answered."""
    submissions = get(f"{world.assistants.url}/_simulator/submissions")
    taken = [one for one in submissions if one["taken"]]
    steps = [one["step_id"] for one in taken]
    assert len(set(steps)) == len(steps)
    assert Counter(one["run_id"] for one in taken) == Counter({run_id: len(plan) for run_id, plan in runs.items()})
    for one in taken:
        for output in one["outputs"].values():
            assert {"id", "results"} & json.loads(output).keys(), f"{one['run_id']} was handed {output}"
