"""The servers that a store's URL leads to: one, the primary that Sentinels name, or every primary of a cluster.

Read-only, as the rest of the checkup: `SENTINEL MASTER`, `CLUSTER INFO` and `CLUSTER SLOTS` are asked.
"""

from __future__ import annotations

import contextlib
from typing import Any

import redis
from msgspec import Struct
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.checkup.finding import Finding, error, ok, warning
from ledger.stores.redis_address import read_password
from ledger.stores.redis_slots import SLOTS, SlotMap, understood
from ledger.stores.redis_url import Credentials, Place, StoreUrl

DEADLINE_S = 2.0
"""Twice the proxy's store deadline: slower than this is as good as away."""

SENTINELS_MIN = 3
"""With two, the loss of one leaves no majority, and nobody is promoted."""


class Servers(Struct, frozen=True):
    """What there is to be looked at. `clients` are connected when they are used, and belong to the caller's stack."""

    findings: list[Finding]
    clients: list[tuple[str, Any]]
    """Where each is, without user or password."""


def servers_of(url: StoreUrl, stack: contextlib.ExitStack) -> Servers:
    """Return the servers behind `url`, to be let go of by `stack`. Raises redis-py's errors where nobody says which
    they are, and `StoreUnavailable` where a password file cannot be read."""
    match url.topology:
        case "sentinel":
            return _watched(url, stack)
        case "cluster":
            return _clustered(url, stack)
        case _:
            place = url.path or url.places[0]
            return Servers([], [(str(place), _client(url, place, url.credentials, stack))])


def _client(
    url: StoreUrl, place: Place | str, credentials: Credentials, stack: contextlib.ExitStack, db: int | None = None
) -> Any:
    # Any: redis-py's commands are typed as "a value or an awaitable of one", whichever client they belong to.
    options: dict[str, Any] = {
        "db": url.db if db is None else db, "username": credentials.username,
        "password": read_password(credentials, str(place)), "retry": Retry(NoBackoff(), 0),
        "socket_timeout": DEADLINE_S, "socket_connect_timeout": DEADLINE_S,
    }  # fmt: skip
    if isinstance(place, str):
        return stack.enter_context(contextlib.closing(redis.Redis(unix_socket_path=place, **options)))
    if url.tls is not None:
        options |= {"ssl": True, **url.tls}
    return stack.enter_context(contextlib.closing(redis.Redis(host=place.host, port=place.port, **options)))


# -- Sentinels ---------------------------------------------------------------------------------------------------------


def _watched(url: StoreUrl, stack: contextlib.ExitStack) -> Servers:
    """Ask every Sentinel of the URL; the latest configuration that any of them knows says where the primary is."""
    told: list[dict[str, str]] = []
    away: list[redis.RedisError] = []
    for place in url.places:
        sentinel = _client(url, place, url.sentinel_credentials, stack, db=0)
        try:
            told.append(_facts(sentinel.execute_command("SENTINEL", "MASTER", url.master)))
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
            raise
        except redis.ResponseError as refused:
            raise redis.ResponseError(f"the Sentinel at {place} says of {url.master}: {refused}") from None
        except redis.RedisError as silent:
            away.append(silent)
    if not told:
        raise redis.ConnectionError(f"no Sentinel says where {url.master} is: {away[0]}")
    latest = max(told, key=lambda facts: int(facts.get("config-epoch", "0")))
    primary = Place(latest["ip"], int(latest["port"]))
    finding = _quorate(url.master, primary, len(away), 1 + int(latest.get("num-other-sentinels", "0")))
    return Servers([finding], [(str(primary), _client(url, primary, url.credentials, stack))])


def _quorate(master: str, primary: Place, away: int, sentinels: int) -> Finding:
    if away:
        remedy = "start them, or take them out of the URL"
        return warning("store-sentinels", f"{away} of the Sentinels in the URL do not answer", remedy)
    if sentinels < SENTINELS_MIN:
        message = f"{sentinels} watch {master}: with one of them lost, nobody is promoted when the primary goes"
        return warning("store-sentinels", message, "run three or more, on machines of their own")
    return ok("store-sentinels", f"{sentinels} watch {master}, whose primary is {primary}")


def _facts(reply: Any) -> dict[str, str]:
    """Return a reply of names and values, which redis-py has made a mapping of or not, as texts."""
    told = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    return {_text(name): _text(value) for name, value in told.items()}


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# -- a cluster ---------------------------------------------------------------------------------------------------------


def _clustered(url: StoreUrl, stack: contextlib.ExitStack) -> Servers:
    """Ask the first node of the URL that answers who has which slots."""
    away: redis.RedisError | None = None
    for place in url.places:
        node = _client(url, place, url.credentials, stack)
        try:
            slots = understood(node.execute_command("CLUSTER", "SLOTS"), place)
            info = _text(node.execute_command("CLUSTER", "INFO"))
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError, redis.ResponseError):
            raise
        except redis.RedisError as silent:
            away = silent
            continue
        clients = [(str(primary), _client(url, primary, url.credentials, stack)) for primary in slots.primaries]
        return Servers([_whole(slots, info)], clients)
    raise redis.ConnectionError(f"no node of the cluster says who has which slots: {away}")


def _whole(slots: SlotMap, info: str) -> Finding:
    if slots.covered < SLOTS:
        message = f"{SLOTS - slots.covered} of {SLOTS} slots are nobody's: their tools' calls are refused"
        return error("store-cluster", message, "redis-cli --cluster fix, or add the slots to a primary")
    if "cluster_state:ok" not in info:
        return error("store-cluster", "the node that was asked finds the cluster down", "see CLUSTER INFO there")
    return ok("store-cluster", f"{len(slots.primaries)} primaries have all {SLOTS} slots")
