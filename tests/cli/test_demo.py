"""`holdfast demo`, as its user runs it: real processes, real HTTP, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

import evaluation.demo
from cli.demo import demo
from evaluation.address import unused_address
from evaluation.child import rooms_environment
from evaluation.demo import Replay
from evaluation.demo_report import Hands, commands

DEMO = (sys.executable, "-m", "cli.main", "demo")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files are the test's own, so that what is left of them can be seen."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    return {**rooms_environment(), "TMPDIR": str(scratch), "COLUMNS": "80"}


def first_children(pid: int) -> list[int]:
    """Wait until `pid` has started processes, and return them."""
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        time.sleep(0.01)
    return [int(child) for child in children]


def until_group_has_ended(group: int) -> None:
    """Wait until no process of a group is left."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def test_demo_shows_two_tickets_and_then_one(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tools' audits show two tickets without Holdfast and one with it, and the second attempt got the late one."""
    ended = subprocess.run(
        [*DEMO, "--speed", "10", "-o", "json"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert sorted(effect["request_id"] for effect in found["direct"]["audit"]) == ["gw_8b91", "gw_8b92"]
    (only,) = found["guarded"]["audit"]
    assert only["request_id"] == "gw_8b91"
    assert only["operation"].startswith("op_")
    assert found["guarded"]["second"]["audit_id"] == only["audit_id"]
    assert found["guarded"]["first"] is None
    assert found["guarded"]["arrivals"] == 1
    assert sorted(effect["tool"] for effect in found["agent"]["effects"]) == [
        "create_ticket",
        "refund_payment",
        "send_email",
    ]
    assert found["agent"]["run"]["status"] == "completed"
    assert not list((tmp_path / "tmp").iterdir())
    tables_are_plain_text(msgspec.json.decode(ended.stdout, type=Replay), monkeypatch)


def tables_are_plain_text(found: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal both timelines stand side by side in the width asked for, in the incident's own words."""

    async def replayed(*_: object) -> Replay:
        return found

    monkeypatch.setattr(evaluation.demo, "replay", replayed)
    monkeypatch.setenv("COLUMNS", "80")
    ended = CliRunner().invoke(demo)
    out = ended.stdout
    assert ended.exit_code == 0, out
    assert "\x1b" not in out
    assert "directly" in out
    assert "through holdfast" in out
    assert "run.status thread=thd_9c2a" in out
    assert out.count("create_ticket timeout req=gw_8b91") == 2
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith(("(D=", "curl")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_demo_leaves_nothing_behind(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    """A Ctrl-C, or a SIGTERM, ends the demo, its processes and its files."""
    process = await asyncio.create_subprocess_exec(
        *DEMO, "--speed", "0.5", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    children = await asyncio.to_thread(first_children, process.pid)
    process.send_signal(number)
    await process.communicate()
    assert process.returncode != 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not list((tmp_path / "tmp").iterdir())


async def test_demo_whose_child_dies_says_which_and_why(environment: dict[str, str], tmp_path: Path) -> None:
    """A child that is killed in the middle is an error that names it, with exit code 5, not a traceback."""
    process = await asyncio.create_subprocess_exec(
        *DEMO, "--speed", "0.5", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    children = await asyncio.to_thread(first_children, process.pid)
    os.kill(children[0], signal.SIGKILL)
    _, log = await process.communicate()
    assert process.returncode == 5
    assert b"tool ended with exit code -9" in log
    assert b"Traceback" not in log


@pytest.fixture
async def by_hand(environment: dict[str, str]) -> AsyncIterator[tuple[str, str]]:
    """The demo's own `start` command, running on free ports; yields the two commands that send."""
    hands = Hands(unused_address(), unused_address(), unused_address(), unused_address(), speed=10)
    (_, start), (_, send), (_, again) = commands(hands)
    shell = await asyncio.create_subprocess_shell(
        start,
        env=environment,
        start_new_session=True,
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        asking = f"curl -sf {hands.health.url}/readyz -o /dev/null"
        while await (await asyncio.create_subprocess_shell(asking)).wait():
            assert shell.returncode is None
        yield send, again
    finally:
        os.killpg(shell.pid, signal.SIGINT)
        await shell.wait()
        await asyncio.to_thread(until_group_has_ended, shell.pid)


@pytest.mark.system
async def test_commands_to_try_by_hand_do_what_is_said(by_hand: tuple[str, str]) -> None:
    """The first curl gives up, the second one gets the first one's ticket, and a Ctrl-C ends what was started."""
    send, again = by_hand
    first = await asyncio.create_subprocess_shell(send, stderr=asyncio.subprocess.DEVNULL)
    assert await first.wait() == 28  # curl's own code for a time-out
    second = await asyncio.create_subprocess_shell(
        again, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await second.communicate()
    head, _, body = out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201")
    assert b"Holdfast-Late: true" in head
    assert json.loads(body)["id"] == "tkt_772900"
