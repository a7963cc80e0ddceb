"""How runs live: what callers may do to a run in each of its statuses, and what the model does by itself in time.

| status          | by itself, in time                                   | a caller may                                |
|-----------------|-----------------------------------------------------|---------------------------------------------|
| queued          | in_progress                                          | cancel                                      |
| in_progress     | requires_action if the plan has more; else completed | cancel                                      |
| requires_action |                                                      | submit all the step's outputs once; cancel |
| cancelling      | cancelled                                            |                                             |
| the ended ones  |                                                      |                                             |

Any that has not ended expires at `expires_at`, 600 s after creation; a submission does not move that. A thread with a
run that has not ended takes neither a message nor another run. Values in, values out: the time is an argument, in Unix
seconds; ids come from a counter, so that a scenario repeats itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from evaluation.assistants.things import ENDED, Message, Run, RunStatus, Step, Thread, ToolCall, Wanted

EXPIRES_S = 600
CALLS_MAX = 128
"""Tool calls in one step: what the API takes at most."""


class Refusal(Exception):
    """The API says no: an HTTP status and the members of its error object."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.code = code


class Pace(Struct, frozen=True):
    """How long the model takes, in seconds: until it begins, for each step, and to cancel."""

    queue_s: float = 0.05
    think_s: float = 0.2
    cancel_s: float = 0.05


class Life:
    """All threads and runs. `changed` is told of each new status of a run; `pace` is asked for each new run."""

    def __init__(
        self, changed: Callable[[Run], None] = lambda _: None, pace: Callable[[Run], Pace] = lambda _: Pace(),
        expires_s: Callable[[Run], float] = lambda _: EXPIRES_S,
    ) -> None:  # fmt: skip
        self.threads: dict[str, Thread] = {}
        self.runs: dict[str, Run] = {}
        self._changed = changed
        self._pace = pace
        self._expires_s = expires_s
        self._due: dict[str, float] = {}
        self._number = 0

    # -- what callers do -----------------------------------------------------------------------------------------

    def create_thread(self, now: float, metadata: dict[str, str]) -> Thread:
        """Begin a conversation."""
        thread = Thread(self._id("thread"), int(now), metadata)
        self.threads[thread.id] = thread
        return thread

    def thread(self, thread_id: str) -> Thread:
        """Return a thread. Raises `Refusal` (404)."""
        if thread_id not in self.threads:
            raise Refusal(404, f"No thread found with id '{thread_id}'.")
        return self.threads[thread_id]

    def run(self, thread_id: str, run_id: str) -> Run:
        """Return a run of a thread. Raises `Refusal` (404)."""
        run = self.runs.get(run_id)
        if run is None or run.thread_id != self.thread(thread_id).id:
            raise Refusal(404, f"No run found with id '{run_id}'.")
        return run

    def add_message(self, thread: Thread, role: str, text: str, now: float, metadata: dict[str, str]) -> Message:
        """Say something in a thread. Raises `Refusal` while a run is active there."""
        if (active := thread.active) is not None:
            raise Refusal(400, f"Can't add messages to {thread.id} while a run {active.id} is active.")
        if role not in {"user", "assistant"}:
            raise Refusal(400, f"Invalid value: '{role}'. Supported values are: 'user' and 'assistant'.")
        message = Message(self._id("msg"), thread.id, role, text, int(now), metadata=metadata)  # type: ignore[arg-type]
        thread.messages.append(message)
        return message

    def create_run(self, thread: Thread, assistant_id: str, plan: list[list[Wanted]], now: float, **asked: Any) -> Run:
        """Let the model work on a thread. Raises `Refusal` while a run is active there."""
        if (active := thread.active) is not None:
            raise Refusal(400, f"Thread {thread.id} already has an active run {active.id}.")
        run = Run(self._id("run"), thread.id, assistant_id, int(now), 0, plan, **asked)
        run.expires_at = int(now + self._expires_s(run))
        self.runs[run.id] = run
        thread.runs.append(run)
        self._later(run, now, self._pace(run).queue_s)
        self._changed(run)
        return run

    def submit(self, run: Run, outputs: dict[str, str], now: float) -> None:
        """Hand in all outputs of the step that waits for them. Raises `Refusal`, and changes nothing then."""
        step = run.waiting
        if step is None:
            raise Refusal(400, f'Runs in status "{run.status}" do not accept tool outputs.')
        expected = [call.id for call in step.calls]
        if sorted(outputs) != sorted(expected):
            raise Refusal(400, f"Expected tool outputs for call_ids {_listed(expected)}, got {_listed(list(outputs))}")
        for call in step.calls:
            call.output = outputs[call.id]
        step.status, step.ended_at = "completed", int(now)
        self._become(run, "in_progress")
        self._later(run, now, self._pace(run).think_s)

    def cancel(self, run: Run, now: float) -> None:
        """Ask a run to stop. Raises `Refusal` for one that has ended."""
        if run.status in ENDED or run.status == "cancelling":
            raise Refusal(400, f"Cannot cancel run with status '{run.status}'.")
        self._become(run, "cancelling")
        self._later(run, now, self._pace(run).cancel_s)

    # -- what happens by itself ----------------------------------------------------------------------------------

    def next_at(self, run: Run) -> float | None:
        """Return when something happens to a run by itself; None if nothing will."""
        if run.status in ENDED:
            return None
        due = self._due.get(run.id)
        return run.expires_at if due is None else min(due, run.expires_at)

    def advance(self, run: Run, now: float) -> None:
        """Let everything happen to a run that is due by `now`."""
        while (at := self.next_at(run)) is not None and at <= now:
            due = self._due.pop(run.id, None)
            if due is None or run.expires_at < due:
                self._end(run, "expired", at)
            elif run.status == "queued":
                self._become(run, "in_progress")
                run.started_at = int(at)
                self._later(run, at, self._pace(run).think_s)
            elif run.status == "cancelling":
                self._end(run, "cancelled", at)
            elif run.plan:
                self._ask(run, at)
            else:
                self._conclude(run, at)

    def regenerate(self, run: Run, now: float, *, same_step: bool) -> None:
        """A replica of the model restarts, and asks for the step's calls again under new ids; the old ones are void."""
        step = run.waiting
        if step is None:
            return
        calls = [ToolCall(self._id("call"), call.wanted) for call in step.calls]
        if same_step:
            step.calls = calls
        else:
            run.steps[-1] = step = replace(step, id=self._id("step"), created_at=int(now), calls=calls)
        step.regenerated += 1
        self._changed(run)

    def _ask(self, run: Run, now: float) -> None:
        calls = [ToolCall(self._id("call"), wanted) for wanted in run.plan.pop(0)]
        run.steps.append(Step(self._id("step"), int(now), calls))
        self._become(run, "requires_action")

    def _conclude(self, run: Run, now: float) -> None:
        thread = self.threads[run.thread_id]
        outputs = [call.output or "" for step in run.steps for call in step.calls]
        text = f"Done: {len(outputs)} tool calls." if outputs else "Done."
        message = Message(self._id("msg"), thread.id, "assistant", text, int(now), run.assistant_id, run.id)
        thread.messages.append(message)
        run.steps.append(Step(self._id("step"), int(now), message=message.id, status="completed", ended_at=int(now)))
        self._end(run, "completed", now)

    def _end(self, run: Run, status: RunStatus, now: float) -> None:
        step = run.steps[-1] if run.steps else None
        if step is not None and step.status == "in_progress":
            step.status = "expired" if status == "expired" else "cancelled"
            step.ended_at = int(now)
        run.ended_at = int(now)
        self._become(run, status)

    def _become(self, run: Run, status: RunStatus) -> None:
        run.status = status
        self._changed(run)

    def _later(self, run: Run, now: float, seconds: float) -> None:
        self._due[run.id] = now + seconds

    def _id(self, kind: str) -> str:
        self._number += 1
        return f"{kind}_{self._number:06d}"


def _listed(ids: list[str]) -> str:
    return "[" + ", ".join(f"'{one}'" for one in ids) + "]"
