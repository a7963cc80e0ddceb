"""`holdfast proxy`: what it takes, what it says where, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.fork_server import run_to_end
from tests.proxy import processes, tools
from tests.proxy.callers import ask
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import Proxy, until
from tests.redis_server import redis_server
from tests.tracked import ROOT


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder with one policy, `act`."""
    return policy_folder(tmp_path / "policies", policy("act"))


def ends(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command where it is expected to end by itself."""
    return run_to_end(["proxy", *arguments], folder, environment)


def given(policies: Path, *more: str) -> list[str]:
    """Return arguments that would start a proxy, and more of them."""
    ports = ["--listen", "127.0.0.1:0", "--health", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    return ["--policies", str(policies), "--upstream", "http://127.0.0.1:9", *ports, "--store", "memory://", *more]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--lease", "2s"), "3 s"),
        (("--lease", "soon"), "soon"),
        (("--listen", "8100"), "HOST:PORT"),
        (("--listen", "127.0.0.1:99999"), "HOST:PORT"),
        (("--health", "127.0.0.1:http"), "HOST:PORT"),
        (("--grace", "-1s"), "-1s"),
        (("--log-level", "chatty"), "chatty"),
        (("--tracing", "jaeger"), "jaeger"),
        (("--log-key-file", "/nowhere/key"), "/nowhere/key"),
        (("--encryption-key-file", "/nowhere/key"), "/nowhere/key"),
        (("--encryption-key-file", __file__), "it holds no key"),
        (("--upstream", "ftp://tools"), "ftp://tools"),
        (("--upstream", "http://tools/with/a/path"), "/with/a/path"),
        (("--upstream", "http://tools:port"), "--upstream"),
        (("--store", "mysql://x"), "mysql"),
        (("--store", "sqlite://relative.db"), "sqlite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_argument_without_sense_is_a_usage_error(
    tmp_path: Path, policies: Path, arguments: tuple[str, ...], word: str
) -> None:
    """What was typed wrong is said on stderr with exit code 2, and nothing was begun."""
    ended = ends(tmp_path, *given(policies, *arguments))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


def test_tracing_without_its_library_is_said_before_anything_is_begun(tmp_path: Path, policies: Path) -> None:
    """With what to install; the other words of the flag are its own."""
    broken = tmp_path / "broken" / "opentelemetry"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('not here', name='opentelemetry')\n")
    command = [sys.executable, "-m", "cli.main", "proxy", *given(policies, "--tracing", "otlp")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(broken.parent), str(ROOT)])}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=variables, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Error: tracing needs OpenTelemetry (opentelemetry): install holdfast[otel]\n"


def test_missing_arguments_are_named(tmp_path: Path) -> None:
    """Without policies or upstream there is nothing to guard."""
    ended = ends(tmp_path)
    assert ended.returncode == 2
    assert "--policies" in ended.stderr


def test_secret_in_a_store_url_is_never_printed(tmp_path: Path, policies: Path) -> None:
    """An error about a URL does not repeat its password."""
    ended = ends(tmp_path, *given(policies, "--store", "redis://me:s3cret@host:notaport/0"))
    assert ended.returncode == 2
    assert "s3cret" not in ended.stderr


@pytest.mark.fault(49)
def test_store_whose_password_is_in_a_file_is_used(tmp_path: Path, policies: Path) -> None:
    """The command line, which everybody on the machine can read, names the file alone. A store without passwords takes
    none."""
    secret = tmp_path / "password"
    secret.write_text("r1ght\n")
    with tools.tool() as tool, redis_server(tmp_path, "--requirepass", "r1ght") as port:
        more, store = ("--store-password-file", str(secret)), f"redis://127.0.0.1:{port}/0"
        with processes.proxy(tmp_path / "p", policies, tool.url, store, *more, fresh=True) as proxy:
            assert House(proxy, tool).ask("r").outcome == "executed"
            assert b"r1ght" not in Path(f"/proc/{proxy.pid}/cmdline").read_bytes()
    ended = ends(tmp_path, *given(policies, *more))
    assert ended.returncode == 2
    assert "--store-password-file" in ended.stderr


@pytest.mark.parametrize("option", ["--listen", "--health", "--admin"])
def test_address_in_use_is_a_conflict(tmp_path: Path, policies: Path, option: str) -> None:
    """Somebody else was there first: exit code 4, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = ends(tmp_path, *given(policies, option, f"127.0.0.1:{port}"))
    assert ended.returncode == 4
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.fault(54)
def test_second_process_on_one_ledger_is_refused(tmp_path: Path, policies: Path) -> None:
    """One process owns a SQLite file; the second says which file, and ends with 4, leaving the first alone."""
    store = processes.sqlite_url(tmp_path)
    with tools.tool() as tool, processes.proxy(tmp_path / "p", policies, tool.url, store) as proxy:
        house = House(proxy, tool)
        assert house.ask("r").outcome == "executed"
        ended = ends(tmp_path, *given(policies, "--store", store))
        assert ended.returncode == 4
        assert "ledger.db" in ended.stderr
        assert house.ask("r").outcome == "replayed"


def test_unfit_store_is_refused(tmp_path: Path, policies: Path) -> None:
    """A Redis that may evict claims is worse than none: exit code 4, with what to change."""
    with redis_server(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as port:
        ended = ends(tmp_path, *given(policies, "--store", f"redis://127.0.0.1:{port}/0"))
    assert ended.returncode == 4
    assert "noeviction" in ended.stderr


def test_people_read_stderr_and_programs_stdout(tmp_path: Path, policies: Path) -> None:
    """Where it is, in words, on stderr; one JSON object a line on stdout, from the first to the last."""
    with (
        tools.tool() as tool,
        processes.proxy(tmp_path / "p", policies, tool.url, processes.sqlite_url(tmp_path)) as proxy,
    ):
        House(proxy, tool).ask("r")
        ports = f"http://127.0.0.1:{proxy.port} guards {tool.url}", f"on http://127.0.0.1:{proxy.health_port}"
        admin = f"admin on http://127.0.0.1:{proxy.admin_port}"
        assert proxy.errors == f"holdfast: {ports[0]}; {admin}; health and metrics {ports[1]}\n"
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        lines = [json.loads(line) for line in (tmp_path / "p" / "stdout").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["proxy.started", "request", "proxy.draining", "proxy.stopped"]
    assert {line["service"] for line in lines} == {"holdfast-proxy"}
    assert all({"ts", "level"} <= set(line) for line in lines)


def test_interrupt_ends_with_0_like_a_termination(tmp_path: Path, policies: Path) -> None:
    """Ctrl-C is a way to stop, not a crash."""
    with processes.proxy(tmp_path / "p", policies, "http://127.0.0.1:9", "memory://") as proxy:
        proxy.signal(signal.SIGINT)
        assert proxy.wait() == 0
        assert "Traceback" not in proxy.errors


def test_environment_stands_in_for_flags(tmp_path: Path, policies: Path) -> None:
    """Every flag has a variable; a flag wins over it."""
    variables = {"HOLDFAST_PROXY_LEASE": "2s", "HOLDFAST_LEASE": "2s"}
    ended = ends(tmp_path, *given(policies), **variables)
    assert ended.returncode == 2
    assert "lease" in ended.stderr


def test_ledger_is_a_file_in_the_working_folder_unless_told(tmp_path: Path, policies: Path) -> None:
    """Without --store the ledger is ./holdfast.db: a sidecar that is tried out keeps what it knows."""
    with tools.tool() as tool:
        arguments = ["--policies", str(policies), "--upstream", tool.url]
        for outcome in ("executed", "replayed"):
            process = Proxy(tmp_path / "p", *arguments)
            try:
                process.await_line("proxy.started", store="sqlite")
                assert House(process, tool).ask("r").outcome == outcome
            finally:
                process.kill()
        assert (tmp_path / "p" / "holdfast.db").exists()
        assert len(tool.executions("r")) == 1


def test_log_level_and_key_are_heeded(tmp_path: Path, policies: Path) -> None:
    """Warnings alone where that is asked for; and hashes in logs differ by the key that they are made with."""
    (tmp_path / "key").write_bytes(b"secret\n")
    hashes = []
    with tools.tool() as tool:
        for number, key in enumerate([[], ["--log-key-file", str(tmp_path / "key")]]):
            with processes.proxy(tmp_path / f"p{number}", policies, tool.url, "memory://", *key) as proxy:
                House(proxy, tool).ask("r")
                hashes.append(proxy.await_line("request")["payload_hash"])
        with processes.proxy(
            tmp_path / "quiet", policies, tool.url, "memory://", "--log-level", "warning", started=False
        ) as proxy:
            until(lambda: proxy.get("/readyz")[0] == 200)
            House(proxy, tool).ask("r")
            assert proxy.lines() == []
    assert hashes[0] != hashes[1]


def test_ipv6_address_is_listened_on(tmp_path: Path, policies: Path) -> None:
    """An address in brackets is one, where the machine has it."""
    with socket.socket(socket.AF_INET6) as probe, contextlib.suppress(OSError):
        probe.bind(("::1", 0))
        process = Proxy(tmp_path / "p", *given(policies)[:4], "--store", "memory://", "--listen", "[::1]:0")
        try:
            listen = process.await_line("proxy.started")["listen"]
            assert listen.startswith("[::1]:")
        finally:
            process.kill()


def test_help_tells_every_option_with_its_default() -> None:
    """`--help` is the reference."""
    shown = ends(ROOT, "--help").stdout
    for word in (
        "--policies",
        "--upstream",
        "127.0.0.1:8100",
        "0.0.0.0:8102",
        "15s",
        "110s",
        "sqlite:///PATH",
        "redis://",
    ):
        assert word in shown


def test_health_port_is_answered_where_it_is_announced(tmp_path: Path, policies: Path) -> None:
    """What stderr says can be asked."""
    with processes.proxy(tmp_path / "p", policies, "http://127.0.0.1:9", "memory://") as proxy:
        answer = ask(proxy.health_port, b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (answer.status, answer.body) == (200, b"ready\n")


@pytest.mark.fault(62)
def test_admin_port_off_loopback_wants_a_token_file_with_a_token(tmp_path: Path, policies: Path) -> None:
    """Everybody in the network could rule otherwise: a usage error, before anything is bound."""
    (tmp_path / "empty").write_text("\n")
    for more, word in ((("--admin", "0.0.0.0:0"), "--admin-token-file"),
                       (("--admin-token-file", str(tmp_path / "empty")), "no secret")):  # fmt: skip
        ended = ends(tmp_path, *given(policies), *more)
        assert ended.returncode == 2
        assert word in ended.stderr


@pytest.mark.fault(62)
def test_admin_port_of_a_process_asks_for_the_token_in_its_file(tmp_path: Path, policies: Path) -> None:
    """Off loopback or not."""
    (tmp_path / "token").write_text("s3cret")
    more = ("--admin-token-file", str(tmp_path / "token"))
    with processes.proxy(
        tmp_path / "p", policies, "http://127.0.0.1:9", processes.sqlite_url(tmp_path), *more
    ) as proxy:
        url = f"http://127.0.0.1:{proxy.admin_port}/v1/operations"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url, timeout=60)
        asked = urllib.request.Request(url, headers={"Authorization": "Bearer s3cret"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert json.load(answer) == {"operations": [], "cursor": ""}
