"""Replicas as real processes on one Redis: whichever is killed, frozen or restarted, and whenever, each call of each
run takes place once, each step is taken once, and every run ends."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from evaluation.address import Address, unused_address
from tests.coordinator.fleet import Nemesis, Replica, User, check
from tests.coordinator.processes import World, get
from tests.proxy.house import policy, policy_folder
from tests.proxy.processes import until
from tests.redis_server import any_server, redis_server, system_server

SECONDS = 300.0 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 20.0
POLICIES = policy("search_kb", "match: {method: POST, path: /tools/search_kb}", "effect: read") + "".join(
    policy(name, f"match: {{method: POST, path: /tools/{name}}}", "timeouts: {upstream: 30s, hold: 10s}")
    for name in ("create_ticket", "send_email")
)
"""No effect keys: nothing but the ids keeps a call from running twice."""
API = {
    "queue": [0.02, 0.3], "think": [0.05, 0.6],
    "rates": {
        "regenerate": 0.2, "regenerateStep": 0.2, "staleRead": 0.1, "failRead": 0.1, "submitApplied503": 0.15,
        "submitAppliedCut": 0.15, "submitRefused503": 0.15, "submitRefusedCut": 0.1, "createApplied503": 0.2,
        "webhookLost": 0.3, "webhookTwice": 0.2, "webhookLate": 0.2,
    },
}  # fmt: skip
TOOLS = {"tools": {"_default": {"latency": [0.05, 1.2], "slow": [2, 4], "rates": {"slow": 0.2}}}}


@contextlib.contextmanager
def town(folder: Path, redis: str, seed: int, size: int, *, ledgers: bool) -> Iterator[tuple[World, list[Replica]]]:
    """Run `size` replicas on one Redis, all that is around them, and one sidecar with a file; or two that share the
    Redis (`ledgers`)."""
    webhook: Address = unused_address()
    with contextlib.ExitStack() as stack:
        now = World(folder, f"{redis}/0", policy_folder(folder / "policies", POLICIES), stack)
        now.start(API | {"seed": seed}, ["--script", now.script("tools", TOOLS | {"seed": seed})], webhook)
        ports = [now.proxy, unused_address()] if ledgers else [now.proxy]
        for number, port in enumerate(ports):
            ledger = f"{redis}/1" if ledgers else f"sqlite:///{folder / 'ledger.db'}"
            now.sidecar(f"proxy-{number}", ledger, port, unused_address())
        replicas = [
            Replica(now, f"replica-{number}", ports[number % len(ports)], "--webhook-secret-file", str(now.secret))
            for number in range(size)
        ]
        replicas[0].address = webhook
        for replica in replicas:
            replica.start()
        yield now, replicas


def users_of(now: World, replicas: Sequence[Replica], seed: int, count: int, turns: int) -> list[User]:
    """Let some users begin to talk."""
    users = [User(number, turns, now, replicas, seed) for number in range(count)]
    for user in users:
        user.start()
    return users


@pytest.mark.system
@pytest.mark.fault(63, 64, 65, 67, 70)
@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize(("size", "ledgers"), [(2, False), (4, True)], ids=["two", "four-and-two-sidecars"])
def test_replicas_that_die_freeze_and_restart_do_everything_once(tmp_path: Path, size: int, ledgers: bool) -> None:
    """Twelve runs of three steps, an API that renews calls, loses answers and notifications and shows old pictures,
    slow tools; and replicas that are killed (one, or all), frozen beyond their visibility and restarted: each effect
    once, each step taken once with what its tools answered, every run completed."""
    seed = random.randrange(1_000_000)
    with (
        redis_server(tmp_path, binary=system_server()) as port,
        town(tmp_path / "town", f"redis://127.0.0.1:{port}", seed, size, ledgers=ledgers) as (now, replicas),
    ):
        users = users_of(now, replicas, seed, count=6, turns=2)
        nemesis = Nemesis(replicas, seed)
        nemesis.rage(SECONDS, lambda: all(user.over for user in users))
        for user in users:
            user.join()
        assert [user.surprises for user in users] == [[]] * len(users), seed
        try:
            check(now, replicas[-1].running, users)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert len(nemesis.done) == 4


@pytest.mark.fault(63, 64)
@pytest.mark.timeout(240)
def test_two_replicas_of_which_one_is_killed_and_one_restarted_do_everything_once(tmp_path: Path) -> None:
    """On the Redis that the environment brings: three conversations go on over a kill -9 and a SIGTERM."""
    with (
        redis_server(tmp_path, binary=any_server()) as port,
        town(tmp_path / "town", f"redis://127.0.0.1:{port}", 1, 2, ledgers=False) as (now, replicas),
    ):
        users = users_of(now, replicas, 1, count=3, turns=1)
        until(lambda: get(f"{now.tools.url}/_tools/audit")["in_flight"] > 1, "calls are with the tools")
        replicas[0].running.process.kill()
        replicas[0].start()
        assert replicas[1].running.process.stop() == 0
        replicas[1].start()
        for user in users:
            user.join()
        assert [user.surprises for user in users] == [[]] * 3
        check(now, replicas[0].running, users)
