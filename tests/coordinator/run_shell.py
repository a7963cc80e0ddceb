"""A process that keeps a run: `coordinator.keeping` and `coordinator.looking` in their own order,
stopped before each thing that they do outside, so that a history can crash it or let another one go first there.
"""

from __future__ import annotations

from collections.abc import Generator

from coordinator import transitions
from coordinator.backend import Accepted, Refused
from coordinator.decisions import outputs_of, wants
from coordinator.records import Given, Run, Step
from tests.coordinator.run_model import MARGIN_MS, POSTED, Api, Proxy, Shelf, facts_of, given_of

Doing = Generator[str, None, bool]
"""Yields the name of what comes next; returns whether the record could be written."""


class Weather:
    """What befalls the processes, until told otherwise."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.back = 0
        self.answers = "answered"
        self.flushes = True


class Shell:
    """One process. `step()` lets it go on to the next thing that it does outside."""

    def __init__(self, api: Api, proxy: Proxy, shelf: Shelf, weather: Weather, name: str) -> None:
        self.api, self.proxy, self.shelf, self.weather = api, proxy, shelf, weather
        self.name = name
        self.tokens = 0
        self.crash()

    def crash(self) -> None:
        """Forget everything but what was written."""
        self.tasks: dict[str, Given] = {}
        self.results: dict[str, Given] = {}
        self.applied: dict[str, Given] = {}
        self._doing = self._keeps()

    def step(self) -> str:
        """Go on; return what comes next."""
        return next(self._doing)

    def whole_pass(self) -> None:
        """Go on until the next look, and let every call be answered."""
        while self.step() != "pass":
            self.answer()

    def answer(self) -> None:
        """Calls that are under way have their results."""
        self.results.update(self.tasks)
        self.tasks.clear()

    # -- as in coordinator.keeping -----------------------------------------------------------------------------------

    def _keeps(self) -> Generator[str, None, None]:
        while True:
            self.version, self.run = self.shelf.read()
            self.stored = self.run
            self.arguments: dict[str, str] = {}
            while (yield from self._passes()):
                pass

    def _passes(self) -> Doing:
        yield "pass"
        weather, run = self.weather, self.run
        if not run.over:
            run = yield from self._judged(run)
        self.applied = dict(self.results)
        for known_as, result in self.applied.items():
            run, _ = transitions.given(run, known_as, result, weather.now_ms)
        for call in wants(run, weather.now_ms, MARGIN_MS).overdue:
            error = given_of(call.tool, call.arguments, "overdue", "error", weather.now_ms)
            run, _ = transitions.given(run, call.known_as, error, weather.now_ms)
        self.run = run
        must = shape(run) != shape(self.stored) or run.over != self.stored.over
        if (must or (weather.flushes and run != self.stored)) and not (yield from self._written(run)):
            return False
        wanted = wants(run, weather.now_ms, MARGIN_MS)
        for call in wanted.execute:
            arguments = self.arguments.get(call.tool_call_id)
            if call.known_as not in self.tasks and call.tool != POSTED and arguments is not None:
                yield "execute"
                assert not self.run.over
                assert not call.stray
                self.tasks[call.known_as] = self.proxy.call(call.known_as, call.tool, arguments, weather.now_ms)
        return wanted.submit is None or (yield from self._submitted(wanted.submit))

    def _submitted(self, step: Step) -> Doing:
        self.tokens += 1
        token = f"{self.name}{self.tokens}"
        before = transitions.submitting(self.run, token, self.weather.now_ms)
        if not (yield from self._written(before)):
            return False
        self.run = before
        yield "submit"
        answers = self.weather.answers
        if self.api.reuses and self.version != self.shelf.version:
            # Who stood still for so long hands nothing in (`own_until`): the ids may mean other calls by now.
            return False
        if answers == "lost before":
            end, detail = "unclear", "reset"
        elif answers == "not sent":
            end, detail = "not-sent", "refused"
        else:
            # Between a look and a submission, ids that are used again may come to mean other calls: no API tells.
            ours = not self.api.reuses or self.pictures == len(self.api.pictures)
            answer: Accepted | Refused = self.api.submit(outputs_of(step), ours=ours)
            yield "submitted"
            end, detail = ("accepted", "") if isinstance(answer, Accepted) else ("refused", answer.why)
            if answers == "lost after":
                end, detail = "unclear", "reset"
        self.run = transitions.submitted(before, token, end, detail, self.weather.now_ms)  # type: ignore[arg-type]
        return True

    def _written(self, run: Run) -> Doing:
        yield "write"
        if not self.shelf.swap(self.version, run):
            return False
        self.version, self.stored, self.run = self.shelf.version, run, run
        for known_as, result in self.applied.items():
            if self.results.get(known_as) is result:
                del self.results[known_as]
        return True

    # -- as in coordinator.looking -----------------------------------------------------------------------------------

    def _judged(self, run: Run) -> Generator[str, None, Run]:
        seen = self.api.look(self.weather.back)
        self.pictures = len(self.api.pictures) if seen == self.api.look(0) else -1
        yield "looked"
        found = None
        asked, facts = sorted({call.tool_call_id for call in seen.calls}), facts_of(seen)
        if transitions.asks_for_step(run, seen, facts):
            found = self.api.step_of(asked)
            yield "steps"
        if transitions.in_doubt(run, seen):
            step = run.step
            assert step is not None
            mine = found
            if sorted(step.ids) != asked or mine is None:
                mine = self.api.step_of(sorted(step.ids))
                yield "steps"
            run = transitions.fate(run, mine, self.weather.now_ms)
        self.arguments = {call.tool_call_id: call.arguments for call in seen.calls}
        return transitions.looked(run, seen, facts, found, self.weather.now_ms)


def shape(run: Run) -> list[object]:
    """What must be written down before anything is done about it."""
    return [(step.step_id, [(call.tool_call_id, call.known_as) for call in step.calls]) for step in run.steps]
