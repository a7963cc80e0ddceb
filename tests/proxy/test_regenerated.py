"""The incident of the two tickets for one step: one run and step, two tool call ids.

The replica that served the model died after its tool call had gone out, and the next one made the same call up anew,
under an id of its own. Real processes, policies from YAML, SQLite and Redis. X1 and X2 are the two ids.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import policies
from tests.proxy import processes, tools
from tests.proxy.callers import Answer, ask
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.tools import Gate, Script, Tool, says, waits

X1, X2, X3 = "call_X1", "call_X2", "call_X3"
FIRST, SECOND = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n" + body
    for body in (b'{"id": "INC-55102"}\n', b'{"id": "INC-55103"}\n')
)
RULES = "effectKey: {fields: [body:/user_id, body:/subject], scope: thread, window: 90s, then: %s}"
TEXT = "".join(policy(then, RULES % then) for then in ("replay", "refuse", "hold", "observe"))


def step(
    house: House, run: str, call: str, script: Script, *, tool: str, subject: str = "printer", thread: str = ""
) -> bytes:
    """Return the tool call of one step, as a replica of the model sends it: its words differ, its meaning does not."""
    body = json.dumps({"user_id": "U19384", "subject": subject, "said": f"as {call}"}).encode()
    fields = (("X-Thread-Id", thread or f"thread of {run}"), ("Content-Type", "application/json"))
    return house.call(run, *fields, script=script, tool=tool, call=call, body=body)


def operation(answer: Answer) -> str:
    """Return which operation an answer is of."""
    return answer.get("Holdfast-Operation")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A proxy on SQLite with a tool for each thing that a policy can say."""
    folder = tmp_path_factory.mktemp("regenerated")
    with tools.tool() as tool, running(folder, tool, processes.sqlite_url(folder)) as house:
        yield house


@contextlib.contextmanager
def running(folder: Path, tool: Tool, store: str, text: str = TEXT) -> Iterator[House]:
    """Run a proxy by policies from YAML."""
    given = policy_folder(folder / "policies", text)
    with processes.proxy(folder, given, tool.url, store) as proxy:
        yield House(proxy, tool)


def test_regenerated_call_is_one_ticket_and_its_caller_gets_it(lasting: House) -> None:
    """The first replica is gone when the ticket is filed; the second waits for it under its own id, and gets it, and so
    does each id that asks again. Both answers name what they belong to."""
    run, gate = lasting.run(), Gate()
    first = step(lasting, run, X1, waits(gate, says(FIRST)), tool="replay")
    second = step(lasting, run, X2, says(SECOND), tool="replay")
    with lasting.caller() as dying, lasting.caller() as restarted:
        dying.send(first)
        gate.await_reached()
        dying.reset()
        restarted.send(second)
        lasting.proxy.await_line("effect.duplicate", action="replay")
        gate.open()
        answer = restarted.answer()
    assert (answer.status, answer.json()) == (201, {"id": "INC-55102"})
    assert answer.outcome in {"joined", "replayed"}  # it came while the first was at work, or a moment later
    again = [ask(lasting.port, data) for data in (first, second)]
    assert [one.outcome for one in again] == ["replayed", "replayed"]
    assert {one.body for one in again} == {answer.body}
    assert operation(answer) == operation(again[1]) != operation(again[0])
    assert answer.get("Holdfast-Effect-Of") == again[1].get("Holdfast-Effect-Of") == operation(again[0])
    assert again[0].get("Holdfast-Effect-Of") == ""
    assert len(lasting.executions(run)) == 1


def test_regenerated_call_is_refused_in_the_firsts_name(lasting: House) -> None:
    """`refuse`: 409, not to be retried, and who asks is told which operation did it; the tool hears of one."""
    run = lasting.run()
    first = ask(lasting.port, step(lasting, run, X1, says(FIRST), tool="refuse"))
    data = step(lasting, run, X2, says(SECOND), tool="refuse")
    for answer in (ask(lasting.port, data), ask(lasting.port, data)):
        assert answer.said == (409, "refused", "effect-duplicate")
        assert answer.json()["first_operation"] == answer.get("Holdfast-Effect-Of") == operation(first)
        assert answer.get("x-should-retry") == "false"
    assert len(lasting.executions(run)) == 1


def test_regenerated_call_is_observed_and_counted(lasting: House) -> None:
    """`observe`: two tickets, as without Holdfast, and a count and a line that say which was the first."""
    run = lasting.run()
    before = lasting.proxy.metric("holdfast_effect_duplicates_total", tool="observe", action="observe")
    answers = [
        ask(lasting.port, step(lasting, run, call, says(reply), tool="observe"))
        for call, reply in ((X1, FIRST), (X2, SECOND))
    ]
    assert [answer.json()["id"] for answer in answers] == ["INC-55102", "INC-55103"]
    assert len(lasting.executions(run)) == 2
    after = lasting.proxy.metric("holdfast_effect_duplicates_total", tool="observe", action="observe")
    assert after == before + 1
    line = lasting.proxy.await_line("effect.duplicate", operation=operation(answers[1]))
    assert (line["first_operation"], line["action"]) == (operation(answers[0]), "observe")


def test_regenerated_call_is_held_until_the_first_is_done(lasting: House) -> None:
    """`hold`: the tool gets both, one after the other."""
    run, gate = lasting.run(), Gate()
    first = step(lasting, run, X1, waits(gate, says(FIRST)), tool="hold")
    second = step(lasting, run, X2, says(SECOND), tool="hold")
    with lasting.caller() as one, lasting.caller() as other:
        one.send(first)
        gate.await_reached()
        other.send(second)
        assert ask(lasting.port, step(lasting, run, X3, says(SECOND), tool="hold").replace(
            b"X-Script", b"Prefer: wait=1\r\nX-Script")).said == (409, "refused", "in-flight")  # fmt: skip
        assert len(lasting.executions(run)) == 1
        gate.open()
        assert [one.answer().json()["id"], other.answer().json()["id"]] == ["INC-55102", "INC-55103"]
    assert len(lasting.executions(run)) == 2


@pytest.mark.parametrize("tool", ["replay", "refuse", "hold"])
def test_another_complaint_is_another_ticket(lasting: House, tool: str) -> None:
    """Another subject, or another thread, is nobody's duplicate."""
    run = lasting.run()
    calls = [
        step(lasting, run, X1, says(FIRST), tool=tool),
        step(lasting, run, X2, says(FIRST), tool=tool, subject="scanner"),
        step(lasting, run, X3, says(FIRST), tool=tool, thread=f"another of {run}"),
    ]
    assert [ask(lasting.port, call).outcome for call in calls] == ["executed"] * 3


@pytest.mark.fault(55)
def test_regenerated_call_finds_the_first_after_the_proxys_kill(tmp_path: Path) -> None:
    """The node's end takes the proxy along as well. By the shipped policy, what was filed is found; a call that was
    under way is unknown, and its duplicate is told so and does not run."""
    text = (Path(policies.__file__).parent / "create_ticket.yaml").read_text()
    store, gate = processes.sqlite_url(tmp_path), Gate()
    with tools.tool() as tool:
        with running(tmp_path / "1", tool, store, text) as house, house.caller() as caller:
            filed = ask(house.port, step(house, "run_1", X1, says(FIRST), tool="create_ticket"))
            caller.send(step(house, "run_1", X3, waits(gate), tool="create_ticket", subject="scanner"))
            gate.await_reached()
            house.proxy.kill()
        gate.open()
        with running(tmp_path / "2", tool, store, text) as house:
            again = ask(house.port, step(house, "run_1", X2, says(SECOND), tool="create_ticket"))
            data = step(house, "run_1", "call_X4", says(SECOND), tool="create_ticket", subject="scanner")
            unknown = ask(house.port, data.replace(b"X-Script", b"Prefer: wait=1\r\nX-Script"))
        assert (again.outcome, again.body) == ("replayed", filed.body)
        assert again.get("Holdfast-Effect-Of") == operation(filed)
        assert unknown.said == (409, "unknown", "outcome-unknown")
        assert len([one for one in tool.executions("run_1") if one.line.startswith(b"POST")]) == 2


def test_regenerated_call_at_another_replica_of_the_proxy_is_one_ticket(
    tmp_path: Path, tool: Tool, database: RedisDatabase
) -> None:
    """The two model replicas have a sidecar each, on one Redis: the second's waits for what the first's is doing, hears
    of its end from the store, and gives its result, also to those who come later."""
    with (
        running(tmp_path / "1", tool, database.url) as one,
        running(tmp_path / "2", tool, database.url) as other,
    ):
        gate = Gate()
        first = step(one, "run_1", X1, waits(gate, says(FIRST)), tool="replay")
        second = step(other, "run_1", X2, says(SECOND), tool="replay")
        with one.caller() as dying, other.caller() as restarted:
            dying.send(first)
            gate.await_reached()
            dying.reset()
            restarted.send(second)
            other.proxy.await_line("effect.duplicate", action="replay")
            gate.open()
            joined = restarted.answer()
        assert joined.json() == {"id": "INC-55102"}
        assert joined.outcome in {"joined", "replayed"}  # it came while the first was at work, or a moment later
        later = [ask(house.port, data) for house in (one, other) for data in (first, second)]
        assert {(answer.outcome, answer.body) for answer in later} == {("replayed", joined.body)}
        refused = [
            ask(house.port, step(house, "run_2", call, says(FIRST), tool="refuse"))
            for house, call in ((one, X1), (other, X2))
        ]
        assert refused[1].said == (409, "refused", "effect-duplicate")
        assert refused[1].json()["first_operation"] == operation(refused[0])
    assert len(tool.executions("run_1")) == len(tool.executions("run_2")) == 1
