"""`holdfast ops` and `holdfast runs` against a real proxy: what the people on call see and do."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.admin_client import _refused
from cli.main import main
from tests.proxy import processes, tools
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.tracked import ROOT

REASON = ("--reason", "OPS-1")


class Shift:
    """Somebody on call, with a proxy and its tool."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.url = f"http://127.0.0.1:{house.proxy.admin_port}"

    def run(self, *arguments: str, given: str | None = None) -> Result:
        """Run a command."""
        return CliRunner(env={"HOLDFAST_ADMIN": self.url, "COLUMNS": "250"}).invoke(main, arguments, input=given)

    def read(self, *arguments: str) -> Any:
        """Run a command for its data."""
        ended = self.run(*arguments, "-o", "json")
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    def unknown(self, run: str, **more: str | bytes) -> str:
        """Make a call whose reply is lost, and return its operation."""
        answer = self.house.ask(run, script=tools.ends_after(b""), **more)
        assert answer.said[:2] == (502, "unknown")
        return answer.get("Holdfast-Operation")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The proxy of this file's tests."""
    folder = tmp_path_factory.mktemp("ops")
    policies = policy_folder(folder / "policies", policy("act") + policy("other"))
    with tools.tool() as tool, processes.proxy(folder / "p", policies, tool.url, processes.sqlite_url(folder)) as proxy:
        yield House(proxy, tool)


@pytest.fixture
def shift(running: House) -> Shift:
    """Somebody on call."""
    return Shift(running)


def test_unknown_is_listed_with_its_age_why_and_what_can_end_it(shift: Shift) -> None:
    """In the table that people read, and in JSON with everything."""
    run = shift.house.run()
    operation = shift.unknown(run)
    table = shift.run("ops", "list", "--state", "unknown", "--run", run).stdout.splitlines()
    assert table[0].split() == ["OPERATION", "STATE", "AGE", "TOOL", "RUN", "ID", "TOOL", "CALL", "ID", "ATTEMPT",
                                "WHY", "CAN", "END"]  # fmt: skip
    assert table[1].split()[:2] == [operation, "unknown"]
    assert table[1].endswith("lost  a ruling") or table[1].split()[-2:] == ["a", "ruling"]
    (told,) = shift.read("ops", "list", "--run", run)
    assert (told["operation"], told["why"], told["can_end"]) == (operation, "lost", ["a ruling"])
    assert shift.read("ops", "list", "--run", run, "--state", "completed") == []
    line = shift.run("ops", "list", "--run", run, "-o", "jsonl").stdout
    assert json.loads(line)["operation"] == operation


def test_operation_is_shown_with_readable_times_and_its_history(shift: Shift) -> None:
    """Attempts, their ends, and in JSON the same."""
    operation = shift.unknown(shift.house.run())
    shown = shift.run("ops", "show", operation)
    assert shown.exit_code == 0
    assert "claimed" in shown.stdout
    assert "lost" in shown.stdout
    (told,) = shift.read("ops", "show", operation)
    assert [line["what"] for line in told["history"]] == ["claimed", "lost"]
    day, time = told["history"][0]["at"].split("T")
    assert f"{day} {time}" in shown.stdout


def test_ruled_executed_with_a_response_is_what_callers_get(shift: Shift, tmp_path: Path) -> None:
    """From a file; who ruled, and why, is in the history."""
    run = shift.house.run()
    operation = shift.unknown(run)
    response = tmp_path / "response.json"
    response.write_text(json.dumps({"status": 201, "headers": {"X-Ticket": "t"}, "body": {"id": "tkt_1"}}))
    ended = shift.run("ops", "resolve", operation, "--executed", "--response", str(response), *REASON, "--actor", "ada")
    assert ended.exit_code == 0, ended.output
    assert "executed, says ada: OPS-1" in ended.stdout
    answer = shift.house.ask(run)
    assert answer.said == (201, "replayed", "")
    assert answer.json() == {"id": "tkt_1"}
    assert answer.get("X-Ticket") == "t"


def test_ruled_not_executed_is_forwarded_to_the_next_caller_and_a_second_ruling_is_a_conflict(shift: Shift) -> None:
    """Exit code 4, and what stands. Who does not say who they are is user@host."""
    run = shift.house.run()
    operation = shift.unknown(run)
    ended = shift.run("ops", "resolve", operation, "--not-executed", *REASON)
    assert ended.exit_code == 0, ended.output
    assert "@" in ended.stdout
    again = shift.run("ops", "resolve", operation, "--executed", *REASON)
    assert again.exit_code == 4
    assert "free" in again.stderr
    assert shift.house.ask(run).said == (200, "executed", "")


def test_many_are_ruled_on_after_a_plan_and_a_question(shift: Shift) -> None:
    """Nothing is done by `--plan-only`, nor after a no; `--yes` does not ask."""
    run = shift.house.run()
    made = [shift.unknown(run, call=f"call_{number}") for number in range(3)]
    bulk = ("ops", "resolve", "--state", "unknown", "--tool", "act", "--run", run, "--since", "1h", "--not-executed")
    for more, given in ((("--plan-only",), None), ((), "n\n")):
        ended = shift.run(*bulk, *REASON, *more, given=given)
        assert all(operation in ended.stdout for operation in made)
        assert "3 operation(s) would be ruled not executed" in ended.stderr
        assert len(shift.read("ops", "list", "--state", "unknown", "--run", run)) == 3
    ended = shift.run(*bulk, *REASON, "--yes", "-o", "json")
    assert ended.exit_code == 0, ended.output
    assert {told["state"] for told in json.loads(ended.stdout)} == {"free"}
    assert shift.read("ops", "list", "--state", "unknown", "--run", run) == []


def test_run_shows_its_calls_in_order(shift: Shift) -> None:
    """And one that nobody knows is not found: exit code 3."""
    run = shift.house.run()
    first = shift.unknown(run, call="call_1")
    second = shift.house.ask(run, call="call_2").get("Holdfast-Operation")
    told = shift.read("runs", "show", run)
    assert [(one["operation"], one["state"]) for one in told] == [(first, "unknown"), (second, "completed")]
    table = shift.run("runs", "show", run).stdout
    assert table.index(first) < table.index(second)
    assert shift.run("runs", "show", "run-that-never-was").exit_code == 3


def test_tail_follows_requests(shift: Shift) -> None:
    """Line by line, narrowed to one run, as they happen."""
    run = shift.house.run()
    told: list[dict[str, Any]] = []
    command = [sys.executable, "-m", "cli.main", "ops", "tail", "--admin", shift.url, "--run", run, "-o", "jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_unbuffered()) as tail:
        try:
            assert tail.stdout is not None
            calls = itertools.count()
            # Nobody is told that the tail listens by now; so calls are made until it has told of one.
            lines = tail.stdout
            read = threading.Thread(target=lambda: told.append(json.loads(lines.readline())))
            read.start()
            until(lambda: shift.house.ask(run, call=f"call_{next(calls)}").status == 200 and told, "a line")
            read.join()
            assert told[0]["run_id"] == run
        finally:
            tail.kill()


def _unbuffered() -> dict[str, str]:
    return {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "op_" + "0" * 40), 3),
        (("show", "op_nonsense"), 3),
        (("resolve", "op_" + "0" * 40, "--executed", *REASON), 3),
        (("resolve", "op_1", *REASON), 2),
        (("resolve", "op_1", "--executed"), 2),
        (("resolve", "--executed", *REASON), 2),
        (("resolve", "op_1", "--state", "unknown", "--executed", *REASON), 2),
        (("resolve", "op_1", "--executed", "--tool", "act", *REASON), 2),
        (("list", "--since", "yesterday"), 2),
        (("list", "--state", "lost"), 2),
        (("list", "--admin", "ftp://127.0.0.1:1"), 2),
        (("list", "--admin", "http://127.0.0.1:1"), 5),
        (("list", "--admin", "127.0.0.1:1"), 5),
    ],
)
def test_what_goes_wrong_has_its_exit_code(shift: Shift, arguments: tuple[str, ...], code: int) -> None:
    """2 usage, 3 not found, 5 unreachable; the reason on stderr, nothing on stdout."""
    ended = shift.run("ops", *arguments)
    assert ended.exit_code == code, ended.output
    assert ended.stderr
    assert not ended.stdout


def test_port_that_is_no_admin_port_is_said_to_be_none(shift: Shift) -> None:
    """The health port, mistaken for it."""
    ended = shift.run("ops", "list", "--admin", f"127.0.0.1:{shift.house.proxy.health_port}")
    assert ended.exit_code == 3
    assert "is no proxy's admin port" in ended.stderr


def test_nothing_to_accept_is_said(shift: Shift) -> None:
    """The store remembers everything."""
    ended = shift.run("ops", "accept-store-loss")
    assert ended.exit_code == 0
    assert "nothing was being refused" in ended.stderr


def test_refusal_cannot_steer_the_terminal() -> None:
    """What a server says of why is shown, whatever is in it."""
    body = b'{"field": "run\\u001b]0;t\\u0007", "detail": "no\\u009b2J", "remedy": "do\\u202e", "faults": ["a\\rb"]}'
    told = _refused(409, body, "stranger").message
    assert told == "run\ufffd]0;t\ufffd: no\ufffd2J. Do\ufffd\na\ufffdb"
