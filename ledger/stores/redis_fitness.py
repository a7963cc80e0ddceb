"""Whether a Redis server may hold claims, and what it can lose.

Asked on every new connection, for a failover, a restart or a new address may put another server there.

An evicted claim is a duplicate side effect, so a server that may evict is refused whatever its memory limit is today.

A later version that lays things out in a way that this one must not touch says so beside them (`Layout`), and this one
refuses the server (decision 0040).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from ledger.store import StoreUnavailable, UnfitStore
from ledger.stores.redis_errors import MISDIRECTED, ErrorReply, raise_if_refused
from ledger.stores.redis_scripts import ALL, CHANNEL, Script
from ledger.stores.redis_url import Topology
from ledger.stores.redis_wire import Line, Reply, pack

OLDEST = (6, 2)
"""The first with ZRANGE … BYSCORE; older ones have been without security fixes since 2022."""


class Layout(Struct, frozen=True):
    """Whose keys are meant, where their schema is written, from 2 on, and the newest that this version knows."""

    what: str
    key: bytes
    known: int


LEDGER = Layout("ledger", b"holdfast:schema", 1)


class Facts(Struct, frozen=True):
    """What a server says of itself: the lines of `INFO`, and of its configuration what it lets us see."""

    info: dict[str, str]
    config: dict[str, str]


class Fitness(Struct, frozen=True):
    """The server's version, and what its operator should know about what it can lose."""

    version: str
    warnings: tuple[str, ...]


def judge(facts: Facts, where: str, topology: Topology = "single") -> Fitness:
    """Return the fitness of the server at `where`, which the store's URL means to be part of such a topology. Raises
    UnfitStore, with the remedy, or StoreUnavailable."""
    info = facts.info
    version = info.get("redis_version", "0")
    policy = info.get("maxmemory_policy") or facts.config.get("maxmemory-policy", "unknown")
    if info.get("loading", "0") != "0":
        raise StoreUnavailable(f"redis at {where} is still loading its data")
    if tuple(int(n) for n in version.split(".")[:2] if n.isdigit()) < OLDEST:
        raise UnfitStore(f"redis at {where} is version {version}: Holdfast needs 6.2 or newer, or Valkey")
    if info.get("redis_mode") == "sentinel":
        raise UnfitStore(f"redis at {where} is a Sentinel: give redis+sentinel://{where}/NAME")
    if (info.get("cluster_enabled", "0") != "0") != (topology == "cluster"):
        raise UnfitStore(
            f"redis at {where} is a node of a cluster: give redis+cluster://{where}"
            if topology != "cluster"
            else f"redis at {where} is not in cluster mode: give redis://{where}"
        )
    if info.get("role", "master") != "master":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        if topology != "single":  # who sent us there will hear, too: asked again, it says another
            raise StoreUnavailable(f"redis at {where} is a replica of {primary} by now, or still")
        raise UnfitStore(f"redis at {where} is a replica: give the address of its primary, {primary}")
    if policy != "noeviction":
        raise UnfitStore(
            f"redis at {where} may evict claims (maxmemory-policy {policy}), and an evicted claim is a"
            " duplicate side effect: set maxmemory-policy noeviction"
        )
    return Fitness(version, tuple(f"redis at {where}: {warning}" for warning in _warnings(facts)))


def _warnings(facts: Facts) -> list[str]:
    """Return what can be lost by this server's persistence, one sentence each."""
    info, config = facts.info, facts.config
    warnings = []
    if info.get("aof_enabled", "0") == "0":
        kept = "back to its last snapshot" if config.get("save", "?") else "and it takes no snapshots either"
        warnings.append(f"appendonly no: a restart loses claims and results, {kept}; set appendonly yes")
    else:
        match config.get("appendfsync"):
            case "everysec":
                warnings.append("appendfsync everysec: a crash of the machine loses up to 1 s of claims and results")
            case "no":
                warnings.append(
                    "appendfsync no: a crash of the machine loses what the kernel had not written, some 30 s"
                )
            case None:
                warnings.append("appendfsync cannot be read (CONFIG is not permitted): what a crash loses is not known")
            case _:
                pass
        if info.get("aof_last_write_status", "ok") != "ok":
            warnings.append("its last write to the append-only file failed: see its log")
    if info.get("maxmemory", "0") == "0":
        warnings.append(
            "maxmemory 0: it grows until the kernel kills it; set maxmemory, so that claims are refused before"
        )
    return warnings


def check_layout(reply: Reply, layout: Layout, where: str) -> None:
    """Raise UnfitStore where a newer version says that this one must leave things alone, StoreUnavailable for a reply
    that says nothing. Of a cluster, only the node that has the key can tell; the others answer who that is."""
    if reply is None or (isinstance(reply, ErrorReply) and reply.code in MISDIRECTED):
        return
    raise_if_refused(reply, where)
    if not (isinstance(reply, bytes) and reply.isdigit()):
        raise UnfitStore(f"redis at {where}: {layout.key.decode()} holds something that Holdfast did not write")
    if int(reply) > layout.known:
        raise UnfitStore(
            f"the {layout.what} in redis at {where} has schema {int(reply)}, this program knows {layout.known}: "
            "start the version of Holdfast that wrote it, or a newer one"
        )


async def examine(
    line: Line, topology: Topology = "single", scripts: Iterable[Script] = ALL, channel: bytes = CHANNEL,
    layout: Layout = LEDGER,
) -> Fitness:  # fmt: skip
    """Ask the server at the other end, and leave our scripts with it. Raises UnfitStore or StoreUnavailable."""
    asked = [b"INFO", b"CONFIG GET maxmemory-policy", b"CONFIG GET appendfsync", b"CONFIG GET save"]
    questions = [line.send(pack(tuple(question.split()))) for question in asked]
    schema = line.send(pack((b"GET", layout.key)))
    needed = [line.send(pack((b"SCRIPT", b"LOAD", script.text))) for script in scripts]
    # A script that may not publish would fail with everything else written. The empty message is nobody's operation.
    needed.append(line.send(pack((b"PUBLISH", channel, b""))))
    line.send(pack((b"CLIENT", b"SETNAME", b"holdfast")))  # for CLIENT LIST; it may be forbidden
    info, *configs = await asyncio.gather(*questions)
    raise_if_refused(info, line.where)
    fitness = judge(_facts(info, configs), line.where, topology)
    check_layout(await schema, layout, line.where)
    for reply in await asyncio.gather(*needed):
        raise_if_refused(reply, line.where)
    return fitness


def _facts(info: bytes, configs: list[Reply]) -> Facts:
    config: dict[str, str] = {}
    for reply in configs:
        if isinstance(reply, list):  # else CONFIG is not permitted, or renamed: INFO has what matters
            config |= {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
    lines = (text.partition(":") for text in info.decode("utf-8", "replace").splitlines())
    return Facts({name: value for name, colon, value in lines if colon}, config)
