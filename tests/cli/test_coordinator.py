"""`holdfast coordinator`, `runs` and `letters`, as their users run them: real processes, real HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from evaluation.address import unused_address
from tests.coordinator.processes import Coordinator, Process, World, answers, post, world
from tests.proxy.processes import until

TICKET = ("create_ticket", {"user_id": "u", "subject": "Printer"})
STARTING = ("coordinator", "--assistants", "http://127.0.0.1:1/v1", "--proxy", "http://127.0.0.1:2")


class Shift:
    """Somebody on call, with a coordinator and all that is around it."""

    def __init__(self, world: World, coordinator: Coordinator) -> None:
        self.world = world
        self.coordinator = coordinator

    def run(self, *arguments: str) -> Result:
        """Run a command."""
        environment = {
            "HOLDFAST_COORDINATOR": self.coordinator.url, "HOLDFAST_ADMIN": self.world.admin.url, "COLUMNS": "250",
        }  # fmt: skip
        return CliRunner(env=environment).invoke(main, arguments)

    def read(self, *arguments: str) -> Any:
        """Run a command for its data."""
        ended = self.run(*arguments, "-o", "json")
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    """The processes of this file's tests: one tool is a gateway's."""
    with world(tmp_path_factory.mktemp("shift")) as opened:
        yield Shift(opened, opened.coordinator("coordinator", None, "--gateway", "update_crm"))


def test_run_is_listed_and_shown_with_its_timeline_and_operations(shift: Shift) -> None:
    """Steps, calls with the sidecar's word, submissions and timeline; and the operations that the sidecar has."""
    run_id = shift.coordinator.turn(1, [TICKET])
    shift.coordinator.ended(run_id)
    listed = shift.read("runs", "list", "--status", "completed")
    assert run_id in {run["run_id"] for run in listed}
    (told,) = shift.read("runs", "show", run_id)
    (call,) = told["steps"][0]["calls"]
    assert (call["tool"], call["result"], call["outcome"]) == ("create_ticket", "tool", "executed")
    assert [one["operation"] for one in told["operations"]] == [call["operation"]]
    table = shift.run("runs", "show", run_id).stdout
    assert "submission-accepted" in table
    assert call["operation"] in table


def test_run_that_nobody_knows_is_not_found(shift: Shift) -> None:
    """Exit code 3; and 5 where nobody answers."""
    assert shift.run("runs", "show", "run_unknown").exit_code == 3
    nowhere = unused_address().url
    ended = CliRunner().invoke(main, ("runs", "show", "run_1", "--coordinator", nowhere, "--admin", nowhere))
    assert ended.exit_code == 5
    assert CliRunner().invoke(main, ("runs", "list", "--coordinator", nowhere)).exit_code == 5


def test_dead_letter_is_listed_requeued_and_dropped(shift: Shift) -> None:
    """Two gateways post different results for one call: the second, accepted before the first was taken in, is a dead
    letter that stays one when it is requeued."""
    run_id = shift.coordinator.turn(2, [("update_crm", {"customer": 1})])
    thread = shift.coordinator.show(run_id)["thread_id"]
    call = waiting_call(shift, run_id)
    for output in ({"ok": True}, {"ok": False}):
        body = {"thread_id": thread, "run_id": run_id, "tool_call_id": call, "output": output}
        with contextlib.suppress(urllib.error.HTTPError):  # 409, where the first was taken in before
            post(f"{shift.coordinator.url}/v1/tool-outputs", body)
    shift.coordinator.ended(run_id)
    letters = shift.read("letters", "list")
    for letter in letters:
        assert letter["reason"] == "conflict"
        assert shift.run("letters", "drop", letter["letter"], "--reason", "a test's").exit_code == 0
    assert shift.read("letters", "list") == []
    assert shift.run("letters", "requeue", "nothing").exit_code == 3
    assert shift.run("letters", "drop", "nothing", "--reason", "none").exit_code == 3


def waiting_call(shift: Shift, run_id: str) -> str:
    """Return the id of the call that a run waits for."""
    from tests.proxy.processes import until

    def asked() -> str:
        steps = shift.coordinator.show(run_id)["steps"]
        return steps[0]["calls"][0]["tool_call_id"] if steps else ""

    return until(asked, "the run asks")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--listen", "0.0.0.0:0"), "--token-file"),
        (("--visibility", "2s"), "--visibility"),
        (("--assistants", "ftp://x"), "--assistants"),
        (("--proxy", "nowhere"), "--proxy"),
        (("--store", "mysql://x"), "--store"),
        (("--assistants-query", "novalue"), "--assistants-query"),
    ],
)
def test_setting_without_sense_is_a_usage_error_that_names_it(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, and nothing is started."""
    ended = CliRunner().invoke(main, (*STARTING, *arguments))
    assert ended.exit_code == 2, ended.output
    assert said in ended.output


@pytest.mark.parametrize("flag", ["--token-file", "--webhook-secret-file", "--assistants-token-file"])
def test_file_of_secrets_without_any_is_a_usage_error(flag: str, tmp_path: Path) -> None:
    """An empty file would let nobody in, or everybody."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    ended = CliRunner().invoke(main, (*STARTING, flag, str(empty)))
    assert ended.exit_code == 2, ended.output
    assert flag in ended.output


def test_store_that_another_process_owns_is_a_conflict(shift: Shift) -> None:
    """Exit code 4: one process owns a file."""
    again = shift.world.run(
        "second", "coordinator", "--assistants", shift.world.assistants.url, "--proxy", shift.world.proxy.url,
        "--listen", str(unused_address()), "--store", shift.world.store,
    )  # fmt: skip
    assert again._process.wait(30) == 4
    assert "belongs to a running process" in again.said()


def test_call_to_a_silent_api_ends_within_the_visibility(tmp_path: Path) -> None:
    """After six tenths of it: what the API says must be written down while the run is still this process's."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = unused_address()
        process = Process(
            tmp_path, "patient",
            ("coordinator", "--assistants", f"http://127.0.0.1:{silent.getsockname()[1]}/v1", "--proxy",
             "http://127.0.0.1:2", "--listen", str(address), "--store", "memory://", "--visibility", "3s"),
        )  # fmt: skip
        try:
            until(lambda: answers(f"{address.url}/readyz"), "it is ready")
            post(f"{address.url}/v1/runs", {"thread_id": "thread_1", "run_id": "run_1"})
            until(lambda: process.events("backend.away"), "it gives up")
            assert process.events("backend.away")[0]["detail"] == "no answer within 1.8 s"
        finally:
            process.end()
