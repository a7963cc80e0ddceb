"""A Redis or Valkey server as a place for claims: what it may evict, what it forgets, whom it obeys, how fast it is.

Read-only: `INFO`, `TIME`, `PING` and, where allowed, `CONFIG GET`. redis-py is told not to retry, so that what is
measured is one round trip.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.checkup.finding import Finding, error, ok, warning
from cli.exits import Unreachable

DEADLINE_S = 2.0
"""Twice the proxy's store deadline: slower than this is as good as away."""

ROUND_TRIPS = 50
MEDIAN_MAX_MS = 5.0
"""Two round trips make 10 ms: half of a 20 ms tool's time."""

SKEW_MAX_MS = 1_000.0
OLDEST = (6, 2)

Info = Mapping[str, Any]


def examine_redis(url: str) -> list[Finding]:
    """Look at the server behind `url`; raises `Unreachable` if there is none, or it does not answer in time."""
    place = urlsplit(url)
    shown = f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"  # without user, password and options
    try:
        with contextlib.closing(_client(url)) as client:
            info: Info = client.info()
            findings = [ok("store", f"{shown} answers"), *judge(info, _config(client, "appendfsync"))]
            return [*findings, skew(client), latency(client)]
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as refused:
        return [error("store", f"{shown} refuses us: {refused}", "check user, password and ACL (INFO, TIME, EVALSHA)")]
    except redis.RedisError as away:
        raise Unreachable(f"{shown} cannot be reached: {away}") from away


def _client(url: str) -> Any:
    # Any: redis-py's commands are typed as "a value or an awaitable of one", whichever client they belong to.
    options: dict[str, Any] = {"socket_timeout": DEADLINE_S, "socket_connect_timeout": DEADLINE_S}
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)


def judge(info: Info, append_fsync: str | None) -> list[Finding]:
    """Judge what `INFO` tells. `append_fsync` is None where `CONFIG GET` is not allowed."""
    return [version(info), mode(info), role(info), eviction(info), memory(info), persistence(info, append_fsync)]


def version(info: Info) -> Finding:
    """6.2 brought what the scripts use; Valkey counts on from there."""
    name, told = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    if tuple(int(part) for part in told.split(".")[:2]) < OLDEST:
        return error("store-version", f"{name} {told} is too old", "use Redis 6.2 or newer, or Valkey")
    return ok("store-version", f"{name} {told}")


def mode(info: Info) -> Finding:
    """One server: neither a Sentinel, which holds no data, nor a member of a cluster, which holds a part of it."""
    told = info.get("redis_mode", info.get("server_mode", "standalone"))
    if told == "standalone":
        return ok("store-mode", "a single server")
    return error("store-mode", f"this is a {told} node", "give the URL of a single primary")


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
