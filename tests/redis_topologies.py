"""Redis with Sentinels, and Redis Cluster, on loopback, for the length of a test: to be killed, frozen and looked into.

Both start in about two seconds, and fail over in about five. Everything ends with the test.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from tests.ledger.redis_server import RedisServer
from tests.redis_server import START_S, held_port

MASTER = "ledger"
"""The name under which the Sentinels know the primary."""
DOWN_AFTER_MS = 2_500
"""How long Sentinels and cluster nodes wait before they think another dead. With less, on a busy machine, they think so
of one that lives."""
SENTINELS = 3
SLOTS = 16_384

_QUICK = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


@contextlib.contextmanager
def _held_ports() -> Iterator[int]:
    """Hold a port and the one 10,000 further on, and yield the first: nodes of a cluster talk to each other there."""
    with contextlib.ExitStack() as stack:
        while True:  # what is held in vain is held all the same, so that it does not come up again
            port = stack.enter_context(held_port())
            with contextlib.suppress(OSError, OverflowError):
                stack.enter_context(held_port(port + 10_000))
                break
        yield port


class TcpServer(RedisServer):
    """A server with a port on loopback beside its socket."""

    def __init__(self, binary: Path, folder: Path, port: int, *settings: str) -> None:
        self.port = port
        folder.mkdir()
        super().__init__(binary, folder, *_QUICK, *settings, "--port", str(self.port))


class Sentinel(RedisServer):
    """A Sentinel, whose configuration is a file: it writes down there what it learns."""

    def __init__(self, binary: Path, folder: Path, port: int, primary: int, *settings: str) -> None:
        folder.mkdir()
        self.port = port
        self._password = next((told.split()[1] for told in settings if told.startswith("requirepass ")), None)
        configuration = folder / "sentinel.conf"
        told = [
            f"port {self.port}", f"sentinel monitor {MASTER} 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {MASTER} 5000", *settings,
        ]  # fmt: skip
        configuration.write_text("\n".join(told) + "\n")
        super().__init__(binary, folder)
        self._command = [str(binary), str(configuration), "--sentinel", "--unixsocket", self.path, "--dir", str(folder)]

    def ask(self, *command: str | bytes | int, password: str | None = None) -> Any:
        """See `RedisServer.ask`."""
        return super().ask(*command, password=password or self._password)


class Watched:
    """A primary and its replicas, and three Sentinels that watch them."""

    def __init__(self, servers: list[TcpServer], sentinels: list[Sentinel]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """What a store is given."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{sentinel.port}' for sentinel in self.sentinels)}/{MASTER}"

    def primary(self) -> TcpServer:
        """Return the server that the Sentinels' majority takes for the primary."""
        named = [self._named(sentinel) for sentinel in self.sentinels]
        port = max(set(named), key=named.count)
        return next(server for server in self.servers if server.port == port)

    def _named(self, sentinel: Sentinel) -> int:
        return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])


class Cluster:
    """Primaries with equal shares of the slots, and a replica each if asked for: `servers` are primaries first."""

    def __init__(self, servers: list[TcpServer], primaries: int) -> None:
        self.servers = servers
        self.primaries = servers[:primaries]
        self.replicas = servers[primaries:]

    @property
    def url(self) -> str:
        """What a store is given."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.primaries)}"

    def scope_at(self, primary: TcpServer) -> str:
        """Return a scope whose slot was given to `primary`."""
        number = self.primaries.index(primary)
        share = SLOTS // len(self.primaries) + 1
        return next(f"acme/tool{i}" for i in range(1_000) if key_slot(b"acme/tool%d" % i) // share == number)


def until(condition: Callable[[], bool], what: str, within_s: float = START_S) -> None:
    """Return as soon as `condition` holds; a server that does not answer yet is none that it holds for."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        time.sleep(0.01)  # servers of our own, which tell nobody
    raise AssertionError(f"not within {within_s} s: {what}")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hf-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def watched(
    binary: Path, *settings: str, replicas: int = 1, sentinel_settings: tuple[str, ...] = ()
) -> Iterator[Watched]:
    """Yield a primary with replicas that follow it, and three Sentinels that know of them and of each other.

    `settings` are every server's, `sentinel_settings` lines of each Sentinel's configuration.
    """
    with _folder() as folder, contextlib.ExitStack() as stack:
        first, *ports = [stack.enter_context(held_port()) for _ in range(1 + replicas + SENTINELS)]
        following, watching = ports[:replicas], ports[replicas:]
        primary = TcpServer(binary, folder / "0", first, *settings)
        settings = (*settings, "--replicaof", "127.0.0.1", str(first))
        servers = [primary, *(TcpServer(binary, folder / str(port), port, *settings) for port in following)]
        sentinels = [Sentinel(binary, folder / str(port), port, first, *sentinel_settings) for port in watching]
        for server in (*servers, *sentinels):
            stack.callback(server.kill)
            server.start()
        until(lambda: _replicated(primary, replicas), "the replicas follow")
        until(lambda: all(_knows_all(sentinel, replicas) for sentinel in sentinels), "the Sentinels know each other")
        yield Watched(servers, sentinels)


def _replicated(primary: TcpServer, replicas: int) -> bool:
    with redis.Redis(unix_socket_path=primary.path, single_connection_client=True) as client:
        for number in itertools.count():
            with contextlib.suppress(redis.exceptions.MovedError):  # in a cluster, not every key is this one's
                client.set(f"written:{number}", "now", ex=1)
                break
        return bool(client.execute_command("WAIT", replicas, 200) >= replicas)


def _knows_all(sentinel: Sentinel, replicas: int) -> bool:
    told = sentinel.ask("SENTINEL", "MASTER", MASTER)
    facts = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
    facts = {_text(name): _text(value) for name, value in facts.items()}
    return int(facts["num-slaves"]) == replicas and int(facts["num-other-sentinels"]) == 2


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextlib.contextmanager
def cluster(binary: Path, *settings: str, primaries: int = 3, replicas: bool = False) -> Iterator[Cluster]:
    """Yield a cluster that is in order. Nodes go on with their own slots while others are away."""
    settings = (
        "--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN_AFTER_MS), "--cluster-require-full-coverage",
        "no", "--cluster-replica-validity-factor", "0", "--cluster-config-file", "nodes.conf", *settings,
    )  # fmt: skip
    with _folder() as folder, contextlib.ExitStack() as stack:
        count = primaries * 2 if replicas else primaries
        ports = [stack.enter_context(_held_ports()) for _ in range(count)]
        servers = [TcpServer(binary, folder / str(port), port, *settings) for port in ports]
        for server in servers:
            stack.callback(server.kill)
            server.start()
        made = Cluster(servers, primaries)
        _join(made)
        yield made


def _join(made: Cluster) -> None:
    share = SLOTS // len(made.primaries) + 1
    for number, server in enumerate(made.primaries):
        server.ask("CLUSTER", "ADDSLOTSRANGE" if _has_ranges(server) else "ADDSLOTS", *_slots(server, number, share))
        server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    first = made.servers[0]
    for server in made.servers[1:]:
        server.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
    until(
        lambda: all(_nodes_known(server) == len(made.servers) for server in made.servers), "the nodes know each other"
    )
    for primary, replica in zip(made.primaries, made.replicas, strict=False):
        replica.ask("CLUSTER", "REPLICATE", _text(primary.ask("CLUSTER", "MYID")))
    until(lambda: all(_in_order(server) for server in made.servers), "the cluster is in order")
    if made.replicas:
        until(lambda: all(_replicated(primary, 1) for primary in made.primaries), "the replicas follow")


def _has_ranges(server: TcpServer) -> bool:
    return int(server.ask("INFO", "server")["redis_version"].split(".")[0]) >= 7


def _slots(server: TcpServer, number: int, share: int) -> tuple[int, ...]:
    first, last = number * share, min(SLOTS, (number + 1) * share) - 1
    return (first, last) if _has_ranges(server) else tuple(range(first, last + 1))


def _nodes_known(server: TcpServer) -> int:
    return int(_cluster_info(server)["cluster_known_nodes"])


def _in_order(server: TcpServer) -> bool:
    facts = _cluster_info(server)
    return facts["cluster_state"] == "ok" and int(facts["cluster_slots_ok"]) == SLOTS


def _cluster_info(server: TcpServer) -> dict[str, str]:
    told = server.ask("CLUSTER", "INFO")
    return told if isinstance(told, dict) else dict(line.split(":") for line in _text(told).split())
