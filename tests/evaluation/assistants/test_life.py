"""Runs of the simulator live as the Assistants API says."""

from __future__ import annotations

import pytest

from evaluation.assistants.life import EXPIRES_S, Life, Refusal
from evaluation.assistants.things import Run, Thread, Wanted

TICKET = Wanted("create_ticket", '{"subject":"printer"}')
EMAIL = Wanted("send_email", "{}")
NOW = 1_000.0


def status(run: Run) -> str:
    """Return a run's status, of which the type checker remembers nothing."""
    return run.status


def begun(plan: list[list[Wanted]] | None = None) -> tuple[Life, Thread, Run]:
    """Return a life with one run that has just been created."""
    life = Life()
    thread = life.create_thread(NOW, {})
    life.add_message(thread, "user", "hello", NOW, {})
    return life, thread, life.create_run(thread, "asst_1", [[TICKET, EMAIL]] if plan is None else plan, NOW)


def asking(plan: list[list[Wanted]] | None = None) -> tuple[Life, Thread, Run]:
    """Return a life whose run waits for tool outputs."""
    life, thread, run = begun(plan)
    life.advance(run, NOW + 1)
    assert status(run) == "requires_action"
    return life, thread, run


def outputs(run: Run) -> dict[str, str]:
    """Return an output for each call that the run waits for."""
    assert run.waiting is not None
    return {call.id: '"done"' for call in run.waiting.calls}


def test_run_goes_from_queued_to_requires_action_by_itself() -> None:
    """A run is queued, then in progress, then waits for the outputs of its first step."""
    seen: list[str] = []
    life = Life(lambda run: seen.append(run.status))
    run = life.create_run(life.create_thread(NOW, {}), "asst_1", [[TICKET]], NOW)
    life.advance(run, NOW + 1)
    assert seen == ["queued", "in_progress", "requires_action"]
    assert [call.wanted for call in run.steps[0].calls] == [TICKET]


def test_run_whose_outputs_are_in_completes_with_a_message() -> None:
    """The outputs of the last step let the run complete, and the thread has the assistant's message."""
    life, thread, run = asking()
    life.submit(run, outputs(run), NOW + 2)
    assert status(run) == "in_progress"
    life.advance(run, NOW + 3)
    assert status(run) == "completed"
    assert [message.role for message in thread.messages] == ["user", "assistant"]
    assert [bool(step.message) for step in run.steps] == [False, True]


def test_outputs_of_a_step_are_null_until_they_are_submitted() -> None:
    """A step shows its calls' outputs only once they are in."""
    life, _, run = asking([[TICKET]])
    before = run.steps[0].shown(run)["step_details"]["tool_calls"][0]["function"]["output"]
    life.submit(run, outputs(run), NOW + 2)
    after = run.steps[0].shown(run)["step_details"]["tool_calls"][0]["function"]["output"]
    assert (before, after) == (None, '"done"')


def test_partial_outputs_are_refused_and_change_nothing() -> None:
    """All outputs of a step come in one request: fewer are refused by name."""
    life, _, run = asking()
    first, second = outputs(run)
    with pytest.raises(Refusal, match="Expected tool outputs for call_ids") as told:
        life.submit(run, {first: "1"}, NOW + 2)
    assert str(told.value) == f"Expected tool outputs for call_ids ['{first}', '{second}'], got ['{first}']"
    assert status(run) == "requires_action"
    assert all(call.output is None for call in run.steps[0].calls)


def test_second_submission_of_a_step_is_refused() -> None:
    """A step takes its outputs once: afterwards the run's status does not accept any."""
    life, _, run = asking()
    sent = outputs(run)
    life.submit(run, sent, NOW + 2)
    with pytest.raises(Refusal) as told:
        life.submit(run, sent, NOW + 2)
    assert str(told.value) == 'Runs in status "in_progress" do not accept tool outputs.'
    assert told.value.status == 400


def test_run_expires_600_seconds_after_creation_whatever_was_submitted() -> None:
    """A submission does not move the moment at which a run expires."""
    life, _, run = asking([[TICKET], [EMAIL]])
    life.submit(run, outputs(run), NOW + 500)
    life.advance(run, NOW + 501)
    assert status(run) == "requires_action"
    life.advance(run, NOW + EXPIRES_S - 1)
    assert status(run) == "requires_action"
    life.advance(run, NOW + EXPIRES_S)
    assert (status(run), run.steps[-1].status) == ("expired", "expired")
    with pytest.raises(Refusal, match='Runs in status "expired" do not accept tool outputs.'):
        life.submit(run, {}, NOW + EXPIRES_S)


def test_thread_with_an_active_run_takes_neither_message_nor_run() -> None:
    """Until its run has ended, a thread is closed to messages and runs."""
    life, thread, run = begun()
    with pytest.raises(Refusal, match=f"while a run {run.id} is active"):
        life.add_message(thread, "user", "again", NOW, {})
    with pytest.raises(Refusal, match=f"already has an active run {run.id}"):
        life.create_run(thread, "asst_1", [], NOW)


@pytest.mark.parametrize("waiting", [True, False])
def test_cancelled_run_ends_and_accepts_no_outputs(waiting: bool) -> None:
    """Cancelling takes a moment, during and after which outputs are refused; a second cancel is refused as well."""
    life, thread, run = asking() if waiting else begun()
    sent = outputs(run) if waiting else {}
    life.cancel(run, NOW + 2)
    assert status(run) == "cancelling"
    with pytest.raises(Refusal, match='status "cancelling"'):
        life.submit(run, sent, NOW + 2)
    with pytest.raises(Refusal, match="Cannot cancel run with status 'cancelling'"):
        life.cancel(run, NOW + 2)
    life.advance(run, NOW + 3)
    assert status(run) == "cancelled"
    assert thread.active is None


@pytest.mark.parametrize("same_step", [True, False])
def test_regenerated_step_asks_the_same_under_new_ids(same_step: bool) -> None:
    """After a replica's restart the calls are the same and their ids are new; outputs for the old ones are refused."""
    life, _, run = asking()
    old, step = outputs(run), run.steps[0].id
    wanted = [call.wanted for call in run.steps[0].calls]
    life.regenerate(run, NOW + 2, same_step=same_step)
    assert [call.wanted for call in run.steps[-1].calls] == wanted
    assert not set(old) & set(outputs(run))
    assert (run.steps[-1].id == step) is same_step
    with pytest.raises(Refusal, match="Expected tool outputs"):
        life.submit(run, old, NOW + 2)
    life.submit(run, outputs(run), NOW + 2)


def test_nothing_is_regenerated_once_outputs_are_in() -> None:
    """Only a step that waits can be asked for again."""
    life, _, run = asking()
    life.submit(run, outputs(run), NOW + 2)
    ids = [call.id for call in run.steps[0].calls]
    life.regenerate(run, NOW + 2, same_step=True)
    assert [call.id for call in run.steps[0].calls] == ids


def test_run_of_another_thread_is_not_found() -> None:
    """A run is found in its own thread only."""
    life, _, run = begun()
    other = life.create_thread(NOW, {})
    with pytest.raises(Refusal) as told:
        life.run(other.id, run.id)
    assert told.value.status == 404


def test_message_of_no_known_role_is_refused() -> None:
    """Only users and assistants speak."""
    life = Life()
    with pytest.raises(Refusal, match="Invalid value: 'system'"):
        life.add_message(life.create_thread(NOW, {}), "system", "x", NOW, {})
