"""The systems that are compared, each in processes of its own on the server core, all in front of the same tool."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from msgspec import Struct
from msgspec.structs import replace

from evaluation.address import Address, unused_address
from evaluation.child import Child, answers_200, child, rooms_environment
from evaluation.procfs import children
from evaluation.redis_server import redis_command, redis_server, system_path
from evaluation.sidecar import POLICIES, Sidecar, sidecar

READY_S = 20.0
DIRECT, NGINX, BARE, SQLITE, REDIS = "direct", "nginx", "bare", "sqlite", "redis"
NAMES = (DIRECT, NGINX, BARE, SQLITE, REDIS)


class Cores(Struct, frozen=True):
    """Where the server under test runs, and where everything else does; the same core where there is only one."""

    server: int
    other: int


class System(Struct, frozen=True):
    """One row of the comparison.

    `pids` are the processes whose CPU time is counted, none where there is no server but the tool; `store_pids` those
    of a store in processes of its own. `health_url` is where Holdfast tells its metrics.
    """

    name: str
    address: Address
    pids: tuple[int, ...] = ()
    store_pids: tuple[int, ...] = ()
    health_url: str | None = None


class Stand(Struct, frozen=True):
    """Everything that runs: the tool and the systems in front of it, Holdfast by `policies`, and why some are
    missing."""

    cores: Cores
    policies: Path
    tool: Address
    systems: tuple[System, ...]
    missing: dict[str, str]
    redis_url: str | None


def choose_cores() -> Cores:
    """Return the first two cores that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[min(1, len(allowed) - 1)])


@contextlib.asynccontextmanager
async def stand(
    session: aiohttp.ClientSession, directory: Path, cores: Cores, wanted: tuple[str, ...], policies: Path = POLICIES
) -> AsyncIterator[Stand]:
    """Start the tool and the wanted systems; end them all on the way out. Raises `ChildDied`.

    A system whose program this machine lacks is left out and named in `missing`.
    """
    missing: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        tool = await stack.enter_async_context(_tool(session, directory, cores.other))
        systems = [System(DIRECT, tool)]
        if NGINX in wanted and (found := shutil.which("nginx", path=system_path())):
            systems.append(await stack.enter_async_context(_nginx(session, directory, cores.server, found, tool)))
        elif NGINX in wanted:
            missing[NGINX] = "no nginx on this machine"
        if BARE in wanted:
            systems.append(await stack.enter_async_context(_bare(session, directory, cores.server, tool)))
        if SQLITE in wanted:
            store = f"sqlite:///{directory / 'bench.db'}"
            system, _ = await stack.enter_async_context(
                guarded(session, directory, cores.server, tool, policies, store, SQLITE)
            )
            systems.append(system)
        redis_url = None
        if REDIS in wanted and (program := redis_server()):
            server, redis_url = await stack.enter_async_context(redis(directory, cores.other, program))
            system, _ = await stack.enter_async_context(
                guarded(session, directory, cores.server, tool, policies, redis_url, REDIS)
            )
            systems.append(replace(system, store_pids=(server.pid,)))
        elif REDIS in wanted:
            missing[REDIS] = "no redis-server on this machine"
        yield Stand(cores, policies, tool, tuple(systems), missing, redis_url)


@contextlib.asynccontextmanager
async def guarded(
    session: aiohttp.ClientSession, directory: Path, core: int, tool: Address, policies: Path, store: str, name: str
) -> AsyncIterator[tuple[System, Sidecar]]:
    """Start Holdfast by `policies`; its system is called `name`. Raises `ChildDied`."""
    async with sidecar(
        session, directory, tool, store, ready_s=READY_S, name=f"holdfast-{name}", core=core, policies=policies
    ) as proxy:
        yield System(name, proxy.address, (proxy.process.pid,), (), proxy.health.url), proxy


@contextlib.asynccontextmanager
async def _tool(session: aiohttp.ClientSession, directory: Path, core: int) -> AsyncIterator[Address]:
    address = unused_address()
    command = [sys.executable, "-m", "evaluation.bench.fast_tool", "--listen", str(address)]
    with child("fast-tool", command, directory, core=core, environ=rooms_environment()) as tool:
        await tool.until_ready(functools.partial(answers_200, session, f"{address.url}/_bench/executions"), READY_S)
        yield address


@contextlib.asynccontextmanager
async def _bare(session: aiohttp.ClientSession, directory: Path, core: int, tool: Address) -> AsyncIterator[System]:
    address = unused_address()
    command = [sys.executable, "-m", "evaluation.bench.bare_proxy", "--listen", str(address), "--upstream", tool.url]
    with child("bare-proxy", command, directory, core=core, environ=rooms_environment()) as proxy:
        await proxy.until_ready(functools.partial(answers_200, session, f"{address.url}/tools/ready"), READY_S)
        yield System(BARE, address, (proxy.pid,))


NGINX_CONF = """
daemon off;
worker_processes 1;
pid nginx.pid;
{user}
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  keepalive_requests 100000000;  # the default hangs up after 1,000
  upstream tool {{ server {tool}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen {listen};
    location / {{ proxy_pass http://tool; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
"""One worker, as every other system has one, and kept-alive connections on both sides, as they have."""


@contextlib.asynccontextmanager
async def _nginx(
    session: aiohttp.ClientSession, directory: Path, core: int, program: str, tool: Address
) -> AsyncIterator[System]:
    address = unused_address()
    user = "user root;" if os.geteuid() == 0 else ""  # a worker of another user could not reach the directory
    prefix = directory / "nginx"
    prefix.mkdir()
    (prefix / "nginx.conf").write_text(NGINX_CONF.format(tool=tool, listen=address, user=user))
    command = [program, "-e", "stderr", "-p", f"{prefix}/", "-c", "nginx.conf"]
    with child("nginx", command, directory, core=core) as nginx:
        await nginx.until_ready(functools.partial(answers_200, session, f"{address.url}/tools/ready"), READY_S)
        yield System(NGINX, address, (nginx.pid, *children(nginx.pid)))


@contextlib.asynccontextmanager
async def redis(directory: Path, core: int, program: str) -> AsyncIterator[tuple[Child, str]]:
    """A Redis server that keeps what it is told as a ledger should be kept: append-only, synchronised every second; and
    its URL."""
    address = unused_address()
    kept = directory / "redis"
    kept.mkdir()
    with child("redis-server", redis_command(program, address, kept), directory, core=core) as server:
        await server.until_ready(functools.partial(_pongs, address), READY_S)
        yield server, f"redis://{address}"


async def _pongs(address: Address) -> bool:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    client = Redis(host=address.host, port=address.port)
    try:
        return bool(await client.ping())
    except RedisError:
        return False
    finally:
        await client.aclose()


def programs() -> dict[str, str]:
    """Return the paths of the foreign programs that the bench would run."""
    found = {NGINX: shutil.which("nginx", path=system_path()), REDIS: redis_server()}
    return {name: path for name, path in found.items() if path}
