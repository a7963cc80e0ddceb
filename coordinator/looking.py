"""One look at a run: what the API shows, and what else it must be asked before that can be judged."""

from __future__ import annotations

from coordinator import transitions
from coordinator.backend import Away, Gone, Seen, StepOutputs
from coordinator.means import Means
from coordinator.records import Run


async def judged(means: Means, run: Run) -> tuple[Run | Gone | Away, dict[str, str]]:
    """Return the run as the API has it now, and the arguments of the calls that it asks for, by their ids."""
    seen = await means.backend.look(run.thread_id, run.run_id)
    if not isinstance(seen, Seen):
        return seen, {}
    found: StepOutputs | None = None
    asked = frozenset(call.tool_call_id for call in seen.calls)
    facts = means.facts.of(seen.calls, run.tenant)
    if transitions.asks_for_step(run, seen, facts):
        told = await means.backend.steps(run.thread_id, run.run_id, sorted(asked))
        if isinstance(told, Gone | Away):
            return told, {}
        found = told
    if transitions.in_doubt(run, seen):
        step = run.step
        assert step is not None
        mine = found
        if step.ids != asked or mine is None:
            told = await means.backend.steps(run.thread_id, run.run_id, sorted(step.ids))
            if isinstance(told, Gone | Away):
                return told, {}
            mine = told
        run = transitions.fate(run, mine, means.now_ms())
    arguments = {call.tool_call_id: call.arguments for call in seen.calls}
    return transitions.looked(run, seen, facts, found, means.now_ms()), arguments
