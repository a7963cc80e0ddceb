"""A replica is killed at the very instants between a tool's result and the API's answer; another one finishes its run.

Where it is killed, two relays say: one before its Redis, one before the API. That a death at any other step is survived
is searched in virtual time (`test_keeping_crash_points.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from evaluation.address import unused_address
from tests.coordinator.api_relay import ApiRelay, api_relay
from tests.coordinator.processes import Coordinator, World, get, world
from tests.proxy.relays import Command, Relay, relay_to
from tests.proxy.tools import Gate
from tests.redis_server import any_server, redis_server

pytestmark = [pytest.mark.fault(64), pytest.mark.timeout(150)]
VISIBLE = ("--visibility", "3s")


class Stage:
    """A coordinator that is to die, behind relays, and one that is to take its run."""

    def __init__(self, now: World, redis_port: int) -> None:
        self.now = now
        self._redis_port = redis_port
        self._turns = 0

    @contextlib.contextmanager
    def first(self) -> Iterator[tuple[Coordinator, Relay, ApiRelay]]:
        """Run the coordinator that is to die."""
        now = self.now
        with relay_to(self._redis_port) as redis, api_relay(now.assistants) as api:
            store = f"redis://127.0.0.1:{redis.port}/0"
            given = ("--assistants", f"{api.url}/v1", "--store", store, *VISIBLE)
            self._turns += 1
            yield now.coordinator(f"first-{self._turns}", None, *given), redis, api

    def turn(self, first: Coordinator) -> str:
        """Start a run of one step with two calls, equal to none before."""
        calls = [(tool, {"user_id": "u", "subject": f"{self._turns}", "to": f"{self._turns}"}) for tool in
                 ("create_ticket", "send_email")]  # fmt: skip
        return first.turn(self._turns, calls)

    def finished_by_another(self, run_id: str) -> list[str]:
        """Have another replica finish a run; return how its attempts to submit ended."""
        second = self.now.coordinator("second", unused_address(), *VISIBLE)
        run = second.ended(run_id)
        assert second.process.stop() == 0
        assert run["status"] == "completed"
        ran = [effect["tool"] for effect in self.now.effects() if effect["run_id"] == run_id]
        assert sorted(ran) == ["create_ticket", "send_email"]
        handed = get(f"{self.now.assistants.url}/_simulator/submissions")
        assert [one["taken"] for one in handed if one["run_id"] == run_id].count(True) == 1
        return [attempt["end"] for step in run["steps"] for attempt in step["submissions"]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The API, tools, a sidecar and a Redis for all tests of this file."""
    folder = tmp_path_factory.mktemp("instants")
    with (
        redis_server(folder, binary=any_server()) as port,
        world(folder / "world", store=f"redis://127.0.0.1:{port}/0", latency_s=0.2) as now,
    ):
        yield Stage(now, port)


def attempts(command: Command) -> bool:
    """Say whether a command writes down that a submission is about to be made: results and all."""
    return any(b"\xa5state\xaasubmitting" in part for part in command)


def killed_at(gate: Gate, first: Coordinator) -> None:
    """End a process once it has come to a gate."""
    gate.await_reached()
    first.process.kill()


def test_killed_between_a_result_and_its_record_asks_again_and_gets_the_same(stage: Stage) -> None:
    """Both tools have answered, and that was never written: the next replica has the answers replayed."""
    with stage.first() as (first, redis, _):
        gate = redis.hold(attempts, reply=False)
        run_id = stage.turn(first)
        killed_at(gate, first)
        assert len(first.process.events("tool.called")) == 2
    assert stage.finished_by_another(run_id) == ["accepted"]


def test_killed_between_the_record_and_the_submission_submits_once(stage: Stage) -> None:
    """That it is about to submit was written, and nothing was sent: the next replica asks, and submits."""
    with stage.first() as (first, redis, _):
        gate = redis.hold(attempts, reply=True)
        run_id = stage.turn(first)
        killed_at(gate, first)
    assert stage.finished_by_another(run_id)[-1] == "accepted"


def test_killed_while_its_submission_is_on_the_way_submits_once(stage: Stage) -> None:
    """The request left, and never arrived: the next replica asks, and submits."""
    with stage.first() as (first, _, api):
        gate = api.hold(b"submit_tool_outputs", answer=False)
        run_id = stage.turn(first)
        killed_at(gate, first)
    assert stage.finished_by_another(run_id)[-1] == "accepted"


def test_killed_between_the_submission_and_its_answer_does_not_submit_again(stage: Stage) -> None:
    """The API took the outputs, and nobody heard of it: the next replica asks, and sends nothing."""
    with stage.first() as (first, _, api):
        gate = api.hold(b"submit_tool_outputs", answer=True)
        run_id = stage.turn(first)
        killed_at(gate, first)
    stage.finished_by_another(run_id)
    handed = get(f"{stage.now.assistants.url}/_simulator/submissions")
    assert len([one for one in handed if one["run_id"] == run_id]) == 1
