"""`holdfast doctor` as a user runs it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.doctor import doctor
from tests.redis_server import any_server, held_port, redis_server
from tests.redis_topologies import MASTER, cluster, watched

DURABLE = ("--appendonly", "yes")


def examine(*args: str) -> Result:
    """Run the command in this process, with JSON as its output."""
    return CliRunner().invoke(doctor, ["-o", "json", *args])


def severities(ended: Result) -> dict[str, str]:
    """Return each check's severity."""
    return {row["check"]: row["severity"] for row in json.loads(ended.stdout)}


def test_machine_that_runs_the_tests_is_fit() -> None:
    """Without a store, the machine and the libraries are examined, and nothing is found here."""
    ended = examine()
    assert ended.exit_code == 0, ended.output
    assert severities(ended) == dict.fromkeys(["python", "libraries", "file-descriptors", "clock"], "ok")


def test_durable_server_on_loopback_is_fit(tmp_path: Path) -> None:
    """A single primary with noeviction and an append-only file has nothing to be said against it."""
    with redis_server(tmp_path, *DURABLE) as port:
        ended = examine("--store", f"redis://127.0.0.1:{port}/0")
    assert ended.exit_code == 0, ended.output
    assert severities(ended)["store-latency"] == "ok"


def test_server_that_may_evict_is_an_error_with_its_remedy_and_ends_with_1(tmp_path: Path) -> None:
    """An evicted claim would be a second execution: the finding says what to set."""
    with redis_server(tmp_path, *DURABLE, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as port:
        ended = examine("--store", f"redis://127.0.0.1:{port}/0")
    assert ended.exit_code == 1
    (finding,) = [row for row in json.loads(ended.stdout) if row["severity"] != "ok"]
    assert finding["check"] == "store-eviction"
    assert "allkeys-lru" in finding["message"]
    assert "noeviction" in finding["remedy"]


def test_replica_is_an_error_that_names_its_primary(tmp_path: Path) -> None:
    """Claims on a replica are refused or lost; the finding says whose replica it is."""
    with (
        held_port() as elsewhere,
        redis_server(tmp_path, *DURABLE, "--replicaof", "127.0.0.1", str(elsewhere)) as port,
    ):
        ended = examine("--store", f"redis://127.0.0.1:{port}/0")
    assert ended.exit_code == 1
    assert severities(ended)["store-role"] == "error"
    assert f"127.0.0.1:{elsewhere}" in ended.stdout


def test_server_without_persistence_is_a_warning(tmp_path: Path) -> None:
    """A restart would forget claims: that is said, and ends with 1."""
    with redis_server(tmp_path) as port:
        ended = examine("--store", f"redis://127.0.0.1:{port}/0")
    assert ended.exit_code == 1
    assert severities(ended)["store-persistence"] == "warning"


def test_wrong_password_is_an_error_that_does_not_repeat_it(tmp_path: Path) -> None:
    """A server that refuses us is not away: it is a finding. The password is nowhere in the output."""
    with redis_server(tmp_path, "--requirepass", "right") as port:
        ended = examine("--store", f"redis://:wrong-secret@127.0.0.1:{port}/0")
    assert ended.exit_code == 1
    assert severities(ended)["store"] == "error"
    assert "wrong-secret" not in ended.output


def test_server_that_wants_a_password_is_an_error(tmp_path: Path) -> None:
    """No password where one is needed is told as such."""
    with redis_server(tmp_path, "--requirepass", "right") as port:
        ended = examine("--store", f"redis://127.0.0.1:{port}/0")
    assert (ended.exit_code, severities(ended)["store"]) == (1, "error")


def test_store_that_does_not_answer_ends_with_5_after_the_machine_was_shown() -> None:
    """What was found on this machine may be why, so it is printed before the command gives up."""
    with held_port() as silent:
        ended = examine("--store", f"redis://127.0.0.1:{silent}/0")
    assert ended.exit_code == 5
    assert severities(ended)["libraries"] == "ok"
    assert "cannot be reached" in ended.stderr


def test_server_that_accepts_and_says_nothing_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listening port is not an answer: the deadline ends the wait."""
    monkeypatch.setattr("cli.checkup.redis_servers.DEADLINE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = examine("--store", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    assert ended.exit_code == 5


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "not a url", "", "redis://host:port/0", "redis://127.0.0.1:1/0?no_such_option=1"]
)
def test_unknown_kind_of_store_is_a_usage_error(url: str) -> None:
    """A typing error in the URL is told apart from a store that is away."""
    assert examine("--store", url).exit_code == 2


def test_password_from_a_file_opens_the_server_and_is_shown_nowhere(tmp_path: Path) -> None:
    """What stands on a command line is seen by everybody on the machine; what stands in a file is not."""
    secret = tmp_path / "password"
    secret.write_text("r1ght\n")
    with redis_server(tmp_path, *DURABLE, "--requirepass", "r1ght") as port:
        url = f"redis://127.0.0.1:{port}/0"
        ended = examine("--store", url, "--store-password-file", str(secret))
        assert ended.exit_code == 0, ended.output
        assert "r1ght" not in ended.output
        secret.write_text("")
        ended = examine("--store", f"{url}?password_file={secret}")
    assert ended.exit_code == 1
    assert severities(ended)["store"] == "error"
    assert f"{secret} is empty" in ended.stdout
    assert examine("--store", "memory://", "--store-password-file", str(secret)).exit_code == 2


def test_sentinels_and_the_primary_that_they_name_are_examined(tmp_path: Path) -> None:
    """By the store's own URL; a Sentinel that does not answer is a warning, and a name that they do not know an
    outage."""
    settings = (*DURABLE, "--min-replicas-to-write", "1")
    with watched(any_server(), *settings) as servers:
        ended = examine("--store", servers.url)
        assert ended.exit_code == 0, ended.output
        found = severities(ended)
        assert found["store-sentinels"] == found["store-mode"] == found["store-role"] == "ok"
        assert f"whose primary is 127.0.0.1:{servers.primary().port}" in ended.stdout
        assert examine("--store", servers.url.replace(MASTER, "legder")).exit_code == 5
        servers.sentinels[1].kill()
        ended = examine("--store", servers.url)
        assert (ended.exit_code, severities(ended)["store-sentinels"]) == (1, "warning")
        for sentinel in servers.sentinels:
            sentinel.kill()
        assert examine("--store", servers.url).exit_code == 5


def test_every_primary_of_a_cluster_is_examined_and_each_finding_says_whose_it_is(tmp_path: Path) -> None:
    """What is amiss with one of them is an error; a node that is asked as a single server is told what to give."""
    with cluster(any_server(), *DURABLE) as nodes:
        ended = examine("--store", nodes.url)
        assert ended.exit_code == 0, ended.output
        rows = json.loads(ended.stdout)
        assert [row["severity"] for row in rows if row["check"] == "store-cluster"] == ["ok"]
        for primary in nodes.primaries:
            assert [row for row in rows if row["message"].startswith(f"127.0.0.1:{primary.port}: round trip")]
        last = nodes.primaries[2]
        last.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        ended = examine("--store", nodes.url)
        (finding,) = [row for row in json.loads(ended.stdout) if row["severity"] == "error"]
        assert finding["message"].startswith(f"127.0.0.1:{last.port}: maxmemory-policy is allkeys-lru")
        ended = examine("--store", f"redis://127.0.0.1:{last.port}/0")
        assert severities(ended)["store-mode"] == "error"
        assert "redis+cluster://" in ended.stdout


def test_place_for_a_sqlite_store_is_examined(tmp_path: Path) -> None:
    """`sqlite:///` and a path: what is said about the disk comes after the machine."""
    found = severities(examine("--store", f"sqlite://{tmp_path / 'ledger.db'}"))
    assert found["store-wal"] == "ok"
    assert "store-sync" in found


def test_folder_that_is_missing_ends_with_5(tmp_path: Path) -> None:
    """A store with nowhere to be is as unreachable as a server that is away."""
    assert examine("--store", f"sqlite://{tmp_path / 'missing' / 'ledger.db'}").exit_code == 5


def test_memory_store_needs_no_examination() -> None:
    """It is always there, and always forgets."""
    assert severities(examine("--store", "memory://"))["store"] == "ok"
