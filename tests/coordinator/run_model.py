"""A run, its API and its proxy in a few lines each: what the histories of `test_run_histories.py` are held against.

The API is strict (a submission is taken once, whole, and only while it is waited for) and knows what it *means*: its
groups of calls stay the same group however often their ids are minted anew. The proxy executes each key of a write tool
at most once, and answers with a value that tells which call it was made for, so that a mix-up shows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from coordinator.backend import ASKING, ENDED, Accepted, Output, Refused, Seen, StepOutputs, ToolCall
from coordinator.records import Given, Run, decode_run, encode
from coordinator.renewal import Fact

READ, WRITE, POSTED = "read_file", "create_ticket", "ask_person"
"""Tools: one that reads, one that writes, and one that a gateway executes and posts the results of."""
SAME = "same"
"""Arguments that calls of different groups may share."""
PATIENCE_MS, EXPIRES_MS, MARGIN_MS = 120_000, 600_000, 15_000


class Picture(Struct, frozen=True):
    """Calls that were asked for at some time, for a group."""

    group: int
    step_id: str
    calls: tuple[ToolCall, ...]

    def names(self) -> list[tuple[str, str, str]]:
        """Return what a record can know them by."""
        return sorted((call.tool_call_id, call.tool, call.arguments) for call in self.calls)


class ModelStep(Struct):
    """A step as the API keeps it."""

    picture: Picture
    outputs: dict[str, str] | None = None


class Api:
    """One run. `reuses`: ids are numbers within a step, as some providers have it."""

    def __init__(self, *, reuses: bool) -> None:
        self.reuses = reuses
        self.group = self.number = 0
        self.steps: list[ModelStep] = []
        self.pictures: list[Picture] = []
        self.shown = [Seen("queued", (), EXPIRES_MS)]
        self.accepted: dict[int, tuple[Picture, dict[str, str], bool]] = {}

    @property
    def status(self) -> str:
        """The run's status."""
        return self.shown[-1].status

    @property
    def waiting(self) -> ModelStep | None:
        """The step that outputs are waited for."""
        return self.steps[-1] if self.status == ASKING else None

    def ask(self, wanted: Sequence[tuple[str, str]]) -> None:
        """Ask for a new group of calls."""
        self.group += 1
        self._show_step(
            self._id("step"), [(tool, name if name == SAME else f"{name}{self.group}") for tool, name in wanted]
        )

    def regenerate(self, wanted: Sequence[tuple[str, str]], *, same_step: bool, forgets: bool) -> None:
        """Ask for the group once more, with new ids; the step that it was asked with may be forgotten."""
        step = self.steps[-1]
        if same_step or forgets:
            self.steps.pop()
        self._show_step(step.picture.step_id if same_step else self._id("step"), wanted)

    def submit(self, outputs: Sequence[Output], *, ours: bool = True) -> Accepted | Refused:
        """Take all outputs of the step that waits, once."""
        step, texts = self.waiting, {output.tool_call_id: output.output for output in outputs}
        if step is None:
            return Refused(400, f'Runs in status "{self.status}" do not accept tool outputs.')
        if set(texts) != {call.tool_call_id for call in step.picture.calls}:
            return Refused(400, "Expected tool outputs for other call_ids")
        step.outputs = texts
        assert step.picture.group not in self.accepted
        self.accepted[step.picture.group] = step.picture, texts, ours
        self.become("in_progress")
        return Accepted()

    def become(self, status: str) -> None:
        """Have another status, and ask for nothing."""
        self.shown.append(Seen(status, (), None if status in ENDED else EXPIRES_MS))

    def look(self, back: int) -> Seen:
        """Return the run as it is, or as it was a few changes before; an end is seen at once."""
        return self.shown[-1] if self.status in ENDED else self.shown[max(0, len(self.shown) - 1 - back)]

    def step_of(self, calls: Sequence[str]) -> StepOutputs | None:
        """Return the newest step that has all of these calls."""
        for step in reversed(self.steps):
            ids = [call.tool_call_id for call in step.picture.calls]
            if set(calls) <= set(ids):
                outputs = step.outputs or {}
                return StepOutputs(step.picture.step_id, {one: outputs.get(one) for one in ids}, step.picture.calls)
        return None

    def _show_step(self, step_id: str, wanted: Sequence[tuple[str, str]]) -> None:
        calls = tuple(
            ToolCall(f"call_{number}" if self.reuses else self._id("call"), tool, arguments)
            for number, (tool, arguments) in enumerate(wanted)
        )
        self.pictures.append(Picture(self.group, step_id, calls))
        self.steps.append(ModelStep(self.pictures[-1]))
        self.shown.append(Seen(ASKING, calls, EXPIRES_MS))

    def _id(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number}"


class Proxy:
    """Executes a key of a write tool once, whoever asks; `runs` is the tools' own ledger."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, str]] = Counter()
        self.known: dict[tuple[str, str], tuple[str, Given]] = {}
        self.loses = False

    def call(self, known_as: str, tool: str, arguments: str, now_ms: int) -> Given:
        """Return what there is to hand in."""
        if tool == READ:
            return given_of(tool, arguments, f"read for {known_as}", "tool", now_ms)
        before = self.known.get((tool, known_as))
        if before is None:
            self.runs[tool, arguments] += 1
            result = given_of(tool, arguments, known_as, "error" if self.loses else "tool", now_ms)
            before = self.known[tool, known_as] = arguments, result
        if before[0] != arguments:
            return given_of(tool, arguments, f"key-reused by {known_as}", "error", now_ms)
        return before[1]


def given_of(tool: str, arguments: str, key: str, source: str, now_ms: int) -> Given:
    """Return a result that says what it is the result of."""
    output = json.dumps([source, tool, arguments, key])
    return Given(output, output, source, source, now_ms)  # type: ignore[arg-type]


def facts_of(seen: Seen) -> dict[str, Fact]:
    """Return what policies would say: arguments are their own digest."""
    return {call.tool_call_id: Fact(call.arguments, call.tool != READ, PATIENCE_MS) for call in seen.calls}


class Shelf:
    """The store: one record, swapped by version. Each write is held against the one before it."""

    def __init__(self, run: Run, api: Api) -> None:
        self.version, self.data = 0, encode(run)
        self.api = api
        self.first: dict[int, Counter[tuple[str, str]]] = {}

    def read(self) -> tuple[int, Run]:
        """Return what stands."""
        return self.version, decode_run(self.data)

    def swap(self, version: int, run: Run) -> bool:
        """Write `run` in place of `version`, or say that another stands."""
        if version != self.version:
            return False
        before = decode_run(self.data)
        for old, new in zip(before.steps, run.steps, strict=False):
            assert old.state != "submitted" or new.state == "submitted", "an acceptance was lost"
        assert not before.over or (run.status, run.steps) == (before.status, before.steps), "an ended run changed"
        self.version, self.data = version + 1, encode(run)
        assert decode_run(self.data) == run
        for step in run.steps:
            names = sorted((call.tool_call_id, call.tool, call.arguments) for call in step.calls)
            for picture in self.api.pictures:
                if picture.names() == names:
                    asked = Counter((call.tool, call.arguments) for call in step.calls)
                    self.first.setdefault(picture.group, asked)
        return True
