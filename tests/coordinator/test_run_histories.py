"""Random histories of one run, two processes and an API that shows old pictures, mints ids anew and loses answers.

The processes can be stopped or crash before each thing that they do outside; what they may do then is judged by a model
that knows which calls are meant (`run_model.py`). Once everything has come to rest, the run must have got all that it
asked for.
"""

from __future__ import annotations

import json
import os
from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from coordinator import transitions
from coordinator.backend import ENDED, Output
from coordinator.correlation import Meant, correlate
from tests.coordinator.run_model import POSTED, READ, SAME, WRITE, Api, Proxy, Shelf, given_of
from tests.coordinator.run_shell import Shell, Weather

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
CALLS = st.tuples(st.sampled_from([WRITE, WRITE, WRITE, READ, POSTED]), st.sampled_from(["a", "a", "b", SAME]))
PASSES_MAX = 40
"""Passes without faults, 5 s apart, in which a step must be submitted: a call that nobody answers is overdue in 24."""


class Histories(RuleBasedStateMachine):
    """The rules make the history; the invariants judge it."""

    @initialize(reuses=st.booleans())
    def begin(self, reuses: bool) -> None:
        """A run that has just begun, and two processes."""
        self.api, self.proxy, self.weather = Api(reuses=reuses), Proxy(), Weather()
        self.shelf = Shelf(transitions.begun("assistants", "thread_1", "run_1", 0), self.api)
        self.shells = [Shell(self.api, self.proxy, self.shelf, self.weather, name) for name in "AB"]

    # -- rules -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.api.status in {"queued", "in_progress"})
    @rule(wanted=st.lists(CALLS, min_size=1, max_size=3))
    def model_asks(self, wanted: list[tuple[str, str]]) -> None:
        """The model wants calls made."""
        self.api.ask(wanted)

    @precondition(lambda self: self.api.waiting)
    @rule(data=st.data(), same_step=st.booleans(), forgets=st.booleans())
    def model_restarts(self, data: st.DataObject, same_step: bool, forgets: bool) -> None:
        """It asks again under new ids: in another order, without some, or with others."""
        group = self.api.group
        wanted = [(call.tool, call.arguments) for call in self.api.steps[-1].picture.calls]
        wanted = data.draw(st.permutations(wanted))
        if len(wanted) > 1 and data.draw(st.integers(0, 3)) == 0:
            wanted.pop()
        if data.draw(st.integers(0, 2)) == 0:
            wanted[0] = wanted[0][0], f"c{group}"
        if len(wanted) < 4 and data.draw(st.integers(0, 3)) == 0:
            wanted.append((WRITE, f"d{group}"))
        self.api.regenerate(wanted, same_step=same_step, forgets=forgets)

    @precondition(lambda self: self.api.waiting and not self.api.reuses)
    @rule(often=st.integers(0, 2))
    def somebody_else_submits(self, often: int) -> None:
        """Another party hands in what is waited for; not where ids are used again, for then nobody can tell."""
        if often == 0:
            calls = self.api.steps[-1].picture.calls
            self.api.submit([Output(call.tool_call_id, "theirs") for call in calls], ours=False)

    @precondition(lambda self: self.api.status not in ENDED)
    @rule(status=st.sampled_from(["completed", "cancelled", "expired", "failed"]), often=st.integers(0, 5))
    def run_ends(self, status: str, often: int) -> None:
        """The run is cancelled, expires, fails, or has all that it wants."""
        if often == 0 and (status != "completed" or self.api.waiting is None):
            self.api.become(status)

    @rule(
        back=st.sampled_from([0, 0, 0, 1, 2, 4]), loses=st.booleans(), flushes=st.booleans(),
        answers=st.sampled_from(["answered", "answered", "lost before", "lost after", "not sent"]),
    )  # fmt: skip
    def weather_turns(self, back: int, loses: bool, flushes: bool, answers: str) -> None:
        """Looks show how it was a few changes ago; answers to submissions are lost; tools are lost sight of."""
        self.weather.back, self.weather.answers, self.weather.flushes = back, answers, flushes
        self.proxy.loses = loses

    @rule(which=st.integers(0, 1), times=st.integers(1, 12))
    def process_goes_on(self, which: int, times: int) -> None:
        """One of the processes does the next things."""
        for _ in range(times):
            self.shells[which].step()

    @rule(which=st.integers(0, 1), times=st.integers(1, 3))
    def process_makes_passes(self, which: int, times: int) -> None:
        """One of the processes does all there is to do."""
        for _ in range(times):
            self.shells[which].whole_pass()

    @rule(which=st.integers(0, 1))
    def tools_answer(self, which: int) -> None:
        """What was asked of the proxy is answered."""
        self.shells[which].answer()

    @rule(which=st.integers(0, 1))
    def process_crashes(self, which: int) -> None:
        """One of the processes dies, and starts again."""
        self.shells[which].crash()

    @rule(seconds=st.sampled_from([1, 30, 130]))
    def time_passes(self, seconds: int) -> None:
        """Nothing happens."""
        self.weather.now_ms += seconds * 1_000

    @precondition(lambda self: self.api.pictures)
    @rule(data=st.data(), names_step=st.booleans())
    def gateway_posts(self, data: st.DataObject, names_step: bool) -> None:
        """Who executes a tool elsewhere posts its result, now or late; ids that were used again for a step's own calls
        tell nobody which is meant."""
        picture = data.draw(st.sampled_from(self.api.pictures[-3:]))
        if self.api.reuses and sum(other.group == picture.group for other in self.api.pictures) > 1:
            return
        version, run = self.shelf.read()
        step_id = picture.step_id if names_step or self.api.reuses else ""
        for call in picture.calls:
            if call.tool == POSTED:
                meant = correlate(run, "thread_1", step_id, call.tool_call_id, complete=False)
                result = given_of(call.tool, call.arguments, call.tool_call_id, "posted", self.weather.now_ms)
                if isinstance(meant, Meant):
                    after, _ = transitions.given(run, meant.known_as, result, self.weather.now_ms)
                    if after != run:
                        assert self.shelf.swap(version, after)
                        version, run = self.shelf.read()

    # -- what may never happen -----------------------------------------------------------------------------------------

    @invariant()
    def write_runs_no_oftener_than_meant(self) -> None:
        """A write runs at most as often as the first picture of a group that was written down has it."""
        meant = sum(self.shelf.first.values(), Counter())
        for (tool, arguments), times in self.proxy.runs.items():
            assert tool != WRITE or times <= meant[tool, arguments], f"{tool} {arguments} ran {times} times"

    @invariant()
    def output_belongs_to_its_call(self) -> None:
        """What the API took for a call was made for that call, and one execution stands for one call."""
        keys: Counter[str] = Counter()
        for picture, outputs, ours in self.api.accepted.values():
            for call in picture.calls if ours else ():
                source, tool, arguments, key = json.loads(outputs[call.tool_call_id])
                assert (tool, arguments) == (call.tool, call.arguments), f"{call} got {outputs[call.tool_call_id]}"
                keys[key] += source == "tool" and tool == WRITE
        assert self.api.reuses or not keys or max(keys.values()) <= 1, keys

    # -- and what must be, in the end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Without further faults, one process brings the run to its end: nothing that was asked for is left waiting."""
        if not hasattr(self, "api"):
            return
        self.weather.back, self.weather.answers, self.weather.flushes = 0, "answered", True
        shell, more = self.shells[0], [[(WRITE, "y"), (READ, "y")], [(WRITE, "z"), (POSTED, "z")]]
        passes = 0
        while not shell.shelf.read()[1].over:
            assert passes < PASSES_MAX, f"nothing happens: {self.api.waiting} {shell.run.step}"
            shell.whole_pass()
            self.weather.now_ms += 5_000
            passes += 1
            if self.api.status in {"queued", "in_progress"}:
                passes = 0
                self.api.ask(more.pop()) if more else self.api.become("completed")
            self.write_runs_no_oftener_than_meant()
            self.output_belongs_to_its_call()
        if self.api.status == "completed":
            assert self.api.accepted.keys() == set(range(1, self.api.group + 1))
        recorded = {frozenset(step.ids) for step in shell.shelf.read()[1].steps if step.state == "submitted"}
        for picture, _, ours in self.api.accepted.values():
            assert not ours or self.api.reuses or frozenset(call.tool_call_id for call in picture.calls) in recorded


def test_history_of_a_run_keeps_every_promise() -> None:
    """Whatever is shown late, asked again or lost, and whoever dies: a write runs once, outputs belong to their calls,
    acceptances are kept, and nothing is left waiting."""
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=4_000 if NIGHTLY else 80, stateful_step_count=60 if NIGHTLY else 40,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
