"""A Redis or Valkey server as a place for claims: what it may evict, what it forgets, whom it obeys, how fast it is.

Read-only: `INFO`, `TIME`, `PING` and, where allowed, `CONFIG GET`. redis-py is told not to retry, so that what is
measured is one round trip. Which servers a URL leads to is `redis_servers`'s business.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import redis
from msgspec.structs import replace

from cli.checkup.finding import Finding, error, ok, warning
from cli.checkup.redis_servers import servers_of
from cli.exits import Unreachable
from ledger.store import StoreUnavailable
from ledger.stores.redis_url import Topology, parse

ROUND_TRIPS = 50
MEDIAN_MAX_MS = 5.0
"""Two round trips make 10 ms: half of a 20 ms tool's time."""

SKEW_MAX_MS = 1_000.0
OLDEST = (6, 2)

Info = Mapping[str, Any]


def examine_redis(url: str, password_file: str | None = None) -> list[Finding]:
    """Look at the servers behind `url`, which makes sense; `password_file` is the one from the command line. Raises
    `Unreachable` if there is none, or one does not answer in time."""
    place = urlsplit(url)
    shown = f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"  # without user, password and options
    parsed = parse(url, password_file)
    try:
        with contextlib.ExitStack() as stack:
            servers = servers_of(parsed, stack)
            findings = [ok("store", f"{shown} answers"), *servers.findings]
            for where, client in servers.clients:
                found = _examine_server(client, parsed.topology)
                if parsed.topology == "cluster":
                    found = [replace(finding, message=f"{where}: {finding.message}") for finding in found]
                findings += found
            return findings
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as refused:
        return [error("store", f"{shown} refuses us: {refused}", "check user, password and ACL (INFO, TIME, EVALSHA)")]
    except StoreUnavailable as unread:
        return [error("store", str(unread), "see that the file is there, and readable by who runs Holdfast")]
    except (redis.RedisError, OSError) as away:
        raise Unreachable(f"{shown} cannot be reached: {away}") from away


def _examine_server(client: Any, topology: Topology) -> list[Finding]:
    info: Info = client.info()
    return [*judge(info, _config(client, "appendfsync"), topology), skew(client), latency(client)]


def judge(info: Info, append_fsync: str | None, topology: Topology = "single") -> list[Finding]:
    """Judge what `INFO` tells. `append_fsync` is None where `CONFIG GET` is not allowed."""
    return [
        version(info), mode(info, topology), role(info), eviction(info), memory(info), persistence(info, append_fsync),
    ]  # fmt: skip


def version(info: Info) -> Finding:
    """6.2 brought what the scripts use; Valkey counts on from there."""
    name, told = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    if tuple(int(part) for part in told.split(".")[:2]) < OLDEST:
        return error("store-version", f"{name} {told} is too old", "use Redis 6.2 or newer, or Valkey")
    return ok("store-version", f"{name} {told}")


def mode(info: Info, topology: Topology = "single") -> Finding:
    """What the URL says that it is: a Sentinel holds no data, and a member of a cluster a part of it."""
    told = info.get("redis_mode", info.get("server_mode", "standalone"))
    if told != ("cluster" if topology == "cluster" else "standalone"):
        remedy = "redis+sentinel:// names Sentinels, redis+cluster:// a cluster, redis:// a single primary"
        return error("store-mode", f"this is a {told} node", f"give the URL that says so: {remedy}")
    return ok("store-mode", "a node of a cluster" if topology == "cluster" else "a single server")


def role(info: Info) -> Finding:
    """Claims go to the primary, and a primary that was cut off must notice."""
    if info["role"] != "master":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        return error("store-role", f"this is a replica of {primary}: it takes no claims", "give the primary's URL")
    replicas = info.get("connected_slaves", 0)
    if replicas and "min_slaves_good_slaves" not in info:
        message = f"primary of {replicas}: cut off from them, it goes on answering, and a failover forgets those claims"
        return warning("store-role", message, "CONFIG SET min-replicas-to-write 1")
    return ok("store-role", f"primary of {replicas} replicas")


def eviction(info: Info) -> Finding:
    """An evicted claim is a second execution."""
    policy = info["maxmemory_policy"]
    if policy != "noeviction":
        return error("store-eviction", f"maxmemory-policy is {policy}: claims may be evicted", "set it to noeviction")
    return ok("store-eviction", "noeviction")


def memory(info: Info) -> Finding:
    """Full, a server that may not evict refuses every claim."""
    used, limit = info["used_memory"], info["maxmemory"]
    if limit and used > 0.8 * limit:
        message = f"{used / limit:.0%} of maxmemory is used: when it is full, every claim is refused"
        return warning("store-memory", message, "raise maxmemory, or shorten retention in the policies")
    bound = f" of {limit / 2**20:.0f}" if limit else ", unbounded"
    return ok("store-memory", f"{used / 2**20:.1f} MiB used{bound}")


def persistence(info: Info, append_fsync: str | None) -> Finding:
    """What a crash of the server loses is what may run a second time."""
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status") != "ok":
            return error("store-persistence", "the append-only file cannot be written", "see the server's log and disk")
        if append_fsync == "no":
            message = "appendfsync is no: a crash of the machine loses what the kernel had not written"
            return warning("store-persistence", message, "CONFIG SET appendfsync everysec, or always")
        return ok("store-persistence", f"append-only file, fsync {append_fsync or 'unknown (CONFIG GET is refused)'}")
    message = "no append-only file: a restart forgets every claim since the last snapshot, if there is one"
    return warning("store-persistence", message, "CONFIG SET appendonly yes, and in redis.conf")


def skew(client: Any) -> Finding:
    """Compare the clocks. Leases go by the store's; ours stamps the logs that are read beside it."""
    before = time.time()
    seconds, micros = client.time()
    offset_ms = 1000 * ((before + time.time()) / 2 - seconds - micros / 1e6)
    if abs(offset_ms) > SKEW_MAX_MS:
        message = f"our clock is {offset_ms:+.0f} ms off the store's: logs and history will not line up"
        return warning("store-clock", message, "synchronise both machines (chrony, systemd-timesyncd)")
    return ok("store-clock", f"{offset_ms:+.0f} ms")


def latency(client: Any) -> Finding:
    """Time round trips, one after the other. A call that runs makes two of them, a replay at most one."""
    trips_ms = []
    for _ in range(ROUND_TRIPS):
        before = time.perf_counter()
        client.ping()
        trips_ms.append(1000 * (time.perf_counter() - before))
    return judge_latency(trips_ms)


def judge_latency(trips_ms: list[float]) -> Finding:
    """Judge measured round trips, in milliseconds."""
    median, p99 = statistics.median(trips_ms), statistics.quantiles(trips_ms, n=100, method="inclusive")[98]
    told = f"round trip p50 {median:.2f} ms, p99 {p99:.2f} ms ({len(trips_ms)} pings)"
    if median > MEDIAN_MAX_MS:
        return warning("store-latency", told, "move the store closer: a call that runs makes two round trips")
    return ok("store-latency", told)


def _config(client: Any, name: str) -> str | None:
    try:
        return str(client.config_get(name)[name])
    except (redis.ResponseError, KeyError):  # managed services rename or forbid CONFIG
        return None
