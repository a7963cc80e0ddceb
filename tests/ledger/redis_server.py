"""A redis-server that a test can stop, freeze, kill and start again, on a Unix socket of its own.

A socket in a private folder cannot collide with anything, and keeps its address over a restart. Which binary is
`tests.redis_server`'s business.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import redis

from tests.fork_server import die_with
from tests.redis_server import START_S, STOP_S, held_port


class RedisServer:
    """One server process. It keeps nothing unless `settings` (`--appendonly`, `yes`) say so."""

    def __init__(self, binary: Path, folder: Path, *settings: str) -> None:
        self._command = [str(binary), "--port", "0", "--unixsocket", str(folder / "s"), "--dir", str(folder)]
        self._command += ["--save", "", "--daemonize", "no", "--loglevel", "warning", *settings]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> str:
        """The socket's path."""
        return str(self._folder / "s")

    @property
    def url(self) -> str:
        """What a store is given."""
        return f"unix://{self.path}"

    def start(self) -> None:
        """Start the server and return once it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log,
                preexec_fn=partial(die_with, os.getpid()),  # noqa: PLW1509 -- two system calls, no locks
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(redis.ConnectionError):
                with contextlib.suppress(redis.AuthenticationError):
                    self.ask("PING")
                return
            time.sleep(0.005)  # polling a process of its own; nothing else tells when it listens
        raise AssertionError(f"redis-server did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """End the process as a crash would. Works on a frozen one too."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(STOP_S)

    def freeze(self) -> None:
        """Have the process stand still: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str | bytes | int, password: str | None = None) -> Any:
        """Send one command past the store, and return the reply."""
        with redis.Redis(unix_socket_path=self.path, socket_timeout=30, password=password) as client:
            return client.execute_command(*command)


@contextlib.contextmanager
def running(binary: Path, *settings: str) -> Iterator[RedisServer]:
    """Yield a server that runs, and leave neither process nor files behind."""
    # Not pytest's folder: the path of a Unix socket may be no longer than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="hf-", dir="/tmp"))
    server = RedisServer(binary, folder, *settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@contextlib.contextmanager
def pair(binary: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Yield a primary and its replica, which follows it. (Until its first acknowledgement, up to a second after it has
    the snapshot, nothing is streamed to it, though WAIT counts it already.)"""
    quick = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
    with (
        held_port() as port,
        running(binary, "--port", str(port), *quick) as primary,
        running(binary, "--replicaof", "127.0.0.1", str(port)) as replica,
    ):
        deadline = time.monotonic() + START_S
        with redis.Redis(unix_socket_path=primary.path, single_connection_client=True) as client:
            client.set("written", "now")
            while client.execute_command("WAIT", 1, 100) < 1:
                assert time.monotonic() < deadline
        yield primary, replica
