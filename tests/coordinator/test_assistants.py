"""The adapter for Assistants-style APIs against the simulated one, over HTTP, with its faults."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from coordinator.assistants import PAGE_SIZE, Assistants
from coordinator.backend import Accepted, Away, Created, Gone, Output, Refused, Seen, StepOutputs, Unclear
from coordinator.exchange import AioExchange
from evaluation.assistants.api import Api
from evaluation.assistants.script import Fate, PlannedCall, Rates, Script
from evaluation.scripts import Range

PLAN = [[PlannedCall("create_ticket", {"subject": "a"}), PlannedCall("search_kb", {})]]
NOW = 1_800_000_000.0
MARKER = {"turn": "turn_1"}


class Place:
    """The simulated API and the adapter to it."""

    def __init__(self, api: Api, fate: Fate, backend: Assistants) -> None:
        self.api = api
        self.backend = backend
        self._fate = fate

    def befall(self, **rates: float) -> None:
        """From now on let these faults happen."""
        self._fate.script = Script(0, Range(0, 0), Range(0, 0), slow=5, rates=Rates(**rates), plan=PLAN)

    async def asking(self) -> tuple[str, str, Seen]:
        """Start a run; return thread, run, and the run once it waits for outputs."""
        thread = await self.backend.create_thread({})
        assert isinstance(thread, Created)
        run = await self.backend.create_run(thread.id, "asst_1", MARKER)
        assert isinstance(run, Created)
        return thread.id, run.id, await self.until(thread.id, run.id, "requires_action")

    async def until(self, thread: str, run: str, status: str) -> Seen:
        """Look until a run has this status."""
        while True:
            seen = await self.backend.look(thread, run)
            if isinstance(seen, Seen) and seen.status == status:
                return seen


@contextlib.asynccontextmanager
async def place(**more: Any) -> AsyncIterator[Place]:
    """Serve the API."""
    fate = Fate(Script())
    api = Api(fate)
    async with TestServer(api.application()) as server:
        url = f"http://127.0.0.1:{server.port}{more.pop('root', '/v1')}"
        backend = Assistants(url, AioExchange(8), **more)
        made = Place(api, fate, backend)
        made.befall()
        yield made
        await backend.close()


def outputs(seen: Seen) -> list[Output]:
    """Return an output for each call that is waited for."""
    return [Output(call.tool_call_id, '{"n": 1}') for call in seen.calls]


async def test_run_is_started_seen_answered_and_seen_to_its_end() -> None:
    """All of the port, once through: ids, calls, step, outputs, the end."""
    async with place() as now:
        backend = now.backend
        thread, run, seen = await now.asking()
        assert [(call.tool, call.arguments) for call in seen.calls] == [
            ("create_ticket", '{"subject":"a"}'), ("search_kb", "{}"),
        ]  # fmt: skip
        assert seen.expires_ms == now.api.life.runs[run].expires_at * 1_000
        ids = [call.tool_call_id for call in seen.calls]
        step = await backend.steps(thread, run, ids[:1])
        assert isinstance(step, StepOutputs)
        assert step.outputs == dict.fromkeys(ids)
        assert await backend.steps(thread, run, [*ids, "call_of_nobody"]) is None
        taken = await backend.submit(thread, run, outputs(seen))
        assert isinstance(taken, Accepted)
        assert taken.seen is not None
        assert taken.seen.calls == ()
        assert await now.until(thread, run, "completed") == Seen("completed")
        step = await backend.steps(thread, run, ids)
        assert isinstance(step, StepOutputs)
        assert step.outputs == dict.fromkeys(ids, '{"n": 1}')
        (submission,) = now.api.submissions
        assert submission.outputs == dict.fromkeys(ids, '{"n": 1}')


async def test_adapter_speaks_with_a_query_in_place_of_the_version_in_the_path() -> None:
    """As the second of the public clients does; its value is escaped."""
    async with place(root="", query={"api-version": "2025 05&x=1"}) as now:
        assert (await now.asking())[2].status == "requires_action"


async def test_run_is_cancelled() -> None:
    """And cannot be twice."""
    async with place() as now:
        thread, run, _ = await now.asking()
        seen = await now.backend.cancel(thread, run)
        assert isinstance(seen, Seen)
        assert seen.status == "cancelling"
        await now.until(thread, run, "cancelled")
        again = await now.backend.cancel(thread, run)
        assert isinstance(again, Refused)
        assert "cancelled" in again.why


async def test_refusal_is_told_in_the_apis_own_words() -> None:
    """Too few outputs, outputs twice, a thread that is busy: nothing was changed."""
    async with place() as now:
        thread, run, seen = await now.asking()
        sent = outputs(seen)
        few = await now.backend.submit(thread, run, sent[:1])
        assert isinstance(few, Refused)
        assert few.why.startswith("Expected tool outputs for call_ids")
        for busy in (now.backend.create_run(thread, "a", {}), now.backend.create_message(thread, "hello", {})):
            refused = await busy
            assert isinstance(refused, Refused)
            assert run in refused.why
        assert isinstance(await now.backend.submit(thread, run, sent), Accepted)
        twice = await now.backend.submit(thread, run, sent)
        assert isinstance(twice, Refused)
        assert (twice.status, "do not accept tool outputs" in twice.why) == (400, True)


async def test_what_the_api_does_not_know_is_gone() -> None:
    """A run, a thread; and ids that would be other paths do not lead there."""
    async with place() as now:
        thread, run, seen = await now.asking()
        backend = now.backend
        for ids in ((thread, "run_of_nobody"), ("thread_of_nobody", run), (thread, f"{run}/steps"), ("..", run)):
            assert isinstance(await backend.look(*ids), Gone)
            assert isinstance(await backend.steps(*ids, ["call_1"]), Gone)
            assert isinstance(await backend.submit(*ids, outputs(seen)), Gone)
            assert isinstance(await backend.cancel(*ids), Gone)
        assert isinstance(await backend.find_run("thread_of_nobody", MARKER), Gone)
        assert isinstance(await backend.create_run("thread_of_nobody", "a", {}), Gone)


@pytest.mark.fault(65)
@pytest.mark.parametrize(
    "rate", ["submit_applied_503", "submit_applied_cut", "submit_refused_503", "submit_refused_cut"]
)
async def test_submission_whose_answer_says_nothing_is_unclear_and_sent_once(rate: str) -> None:
    """A 503 or a closed connection: the outputs were taken, or not. The run and its step tell which."""
    async with place() as now:
        thread, run, seen = await now.asking()
        now.befall(**{rate: 1})
        assert isinstance(await now.backend.submit(thread, run, outputs(seen)), Unclear)
        assert [one.taken for one in now.api.submissions] == ["applied" in rate]
        step = await now.backend.steps(thread, run, [seen.calls[0].tool_call_id])
        assert isinstance(step, StepOutputs)
        assert (None not in step.outputs.values()) == ("applied" in rate)


async def test_creation_whose_answer_says_nothing_is_unclear_and_found_by_its_marker() -> None:
    """Thread, message and run are there: who lists finds them, and does not make another."""
    async with place() as now:
        thread = await now.backend.create_thread({})
        assert isinstance(thread, Created)
        find_message = functools.partial(now.backend.find_message, thread.id, MARKER)
        find_run = functools.partial(now.backend.find_run, thread.id, MARKER)
        assert (await find_message(), await find_run()) == (None, None)
        now.befall(create_applied_503=1)
        assert isinstance(await now.backend.create_thread({}), Unclear)
        assert isinstance(await now.backend.create_message(thread.id, "hello", MARKER), Unclear)
        assert isinstance(await now.backend.create_run(thread.id, "asst_1", MARKER), Unclear)
        message, run = await find_message(), await find_run()
        assert isinstance(message, Created)
        assert isinstance(run, Created)
        kept = now.api.life.threads[thread.id]
        assert ([one.id for one in kept.messages], [one.id for one in kept.runs]) == ([message.id], [run.id])
        assert await now.backend.find_run(thread.id, MARKER | {"more": "1"}) is None


async def test_search_goes_through_all_pages_of_a_thread() -> None:
    """The oldest of more messages than a page has is found, and what is not there is looked for to the end."""
    async with place() as now:
        thread = await now.backend.create_thread({})
        assert isinstance(thread, Created)
        oldest = await now.backend.create_message(thread.id, "first", MARKER)
        assert isinstance(oldest, Created)
        kept = now.api.life.thread(thread.id)
        for number in range(2 * PAGE_SIZE):
            now.api.life.add_message(kept, "user", str(number), NOW, {"turn": f"other_{number}"})
        assert await now.backend.find_message(thread.id, MARKER) == Created(oldest.id)
        assert await now.backend.find_message(thread.id, {"turn": "nobody's"}) is None


async def test_failed_or_slow_look_has_learned_nothing() -> None:
    """503, or no answer in time: asking again is safe."""
    async with place(within_s=0.3) as now:
        thread, run, _ = await now.asking()
        now.befall(fail_read=1)
        failed = await now.backend.look(thread, run)
        assert isinstance(failed, Away)
        assert "503" in failed.why
        now.befall(slow_read=1)
        slow = await now.backend.look(thread, run)
        assert isinstance(slow, Away)
        assert "within" in slow.why


async def test_stale_look_is_told_as_it_was_shown() -> None:
    """The adapter does not know better: who decides must."""
    async with place() as now:
        thread, run, _ = await now.asking()
        now.befall(stale_read=1)
        seen = await now.backend.look(thread, run)
        assert isinstance(seen, Seen)
        assert (seen.status, now.api.life.runs[run].status) == ("in_progress", "requires_action")
