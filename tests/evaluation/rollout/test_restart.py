"""Two sidecars and two coordinators restarted under load: nothing is lost, nothing is done twice."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.rollout.__main__ import shown
from evaluation.rollout.callers import Answers
from evaluation.rollout.replicas import HERE, Restart
from evaluation.rollout.restart import Ledger, found, roll
from evaluation.tools.audit import Effect
from tests.evaluation.conftest import effect
from tests.redis_server import redis_server
from tests.tracked import ROOT

PREVIOUS = "b7c8380"
"""The version before this one: what records and calls between sidecar and coordinator must agree with."""

INTENT = ("create_ticket", "hash-1")
EFFECT = effect("aud_1", "gw_1")
TAKEN = [{"step_id": "step_1", "taken": True}]
RESTARTS = (Restart("sidecar 1", 0, 1.0),)


def answers(**changed: Any) -> Answers:
    """Return what callers were told of one turn with one ticket."""
    usual = {
        "told": Counter({"201": 1}),
        "intents": [(EFFECT.tool, EFFECT.payload_hash)],
        "statuses": Counter(completed=1),
    }
    return Answers(**{**usual, **changed})


@pytest.mark.parametrize(
    ("told", "effects", "restarts", "submissions", "fails"),
    [
        (answers(), [EFFECT], RESTARTS, TAKEN, ""),
        (answers(), [EFFECT, EFFECT], RESTARTS, TAKEN, "exactly once"),
        (answers(), [], RESTARTS, TAKEN, "exactly once"),
        (answers(intents=[]), [EFFECT], RESTARTS, TAKEN, "exactly once"),
        (answers(statuses=Counter(expired=1)), [EFFECT], RESTARTS, TAKEN, "every run completed"),
        (answers(), [EFFECT], RESTARTS, TAKEN * 2, "outputs once"),
        (answers(), [EFFECT], RESTARTS, [{"step_id": "step_1", "taken": False}], "outputs once"),
        (answers(useless=["500: what"]), [EFFECT], RESTARTS, TAKEN, "could not act on"),
        (answers(), [EFFECT], (Restart("sidecar 1", -9, 1.0),), TAKEN, "of its own accord"),
    ],
    ids=["as it should", "twice", "never", "not meant", "expired", "taken twice", "not taken", "useless", "killed"],
)
def test_restart_that_went_otherwise_is_found_out(
    told: Answers, effects: list[Effect], restarts: tuple[Restart, ...], submissions: list[dict[str, Any]], fails: str
) -> None:
    """Each thing that may go wrong fails the check that is about it, and no other."""
    seen = found(told, Ledger({}, {}), effects, restarts, submissions)
    failed = [check.claim for check in seen.checks if not check.holds]
    assert (len(failed), seen.holds) == ((1, False) if fails else (0, True))
    assert all(fails in claim for claim in failed)
    assert (f"NO   {failed[0]}" if failed else "yes  every run completed") in shown(seen)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """A Redis of the test's own."""
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as port:
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The files of the previous version, as git has them."""
    asked = ["git", "archive", "--format=tar", PREVIOUS]
    archive = subprocess.run(asked, cwd=ROOT, capture_output=True, check=False)
    assert not archive.returncode, f"git does not have {PREVIOUS}: this test needs a whole clone"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path / "previous", filter="data")
    return tmp_path / "previous"


async def restarted(folder: Path, redis: str, rooms: Path) -> None:
    """Restart everything, and see that nothing came of it."""
    stage = folder / "stage"
    stage.mkdir()
    said: list[str] = []
    seen = await roll(stage, redis, said.append, rooms)
    assert seen.holds, shown(seen)
    assert [one.name for one in seen.restarts] == ["sidecar 1", "coordinator 1", "sidecar 2", "coordinator 2"]
    assert len(said) == 4
    assert sum(seen.after.done.values()) > sum(seen.before.done.values())


@pytest.mark.system
@pytest.mark.fault(60)
@pytest.mark.timeout(400)
async def test_rolling_restart_under_load_loses_nothing_and_repeats_nothing(tmp_path: Path, redis: str) -> None:
    """Each replica is told to end and comes back, one after the other: every effect that was asked for took place once,
    every run completed, and no caller was left not knowing what to do."""
    await restarted(tmp_path, redis, HERE)


@pytest.mark.system
@pytest.mark.history
@pytest.mark.fault(60)
@pytest.mark.timeout(400)
async def test_rolling_upgrade_from_the_previous_version_does_neither(
    tmp_path: Path, redis: str, previous: Path
) -> None:
    """The same, from the version before to this one: in between, both work on one ledger and on the same runs, each
    sidecar with either coordinator before it."""
    await restarted(tmp_path, redis, previous)
