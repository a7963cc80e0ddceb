"""The command lines of a variant's processes. Whoever starts them says where each listens."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec import Struct

from evaluation.address import Address
from evaluation.variants.table import Variant

MODULES = {"reference-a": "evaluation.variants.polling", "reference-b": "evaluation.variants.hybrid"}
SEED_GUESS_S = 10.0
"""How far apart A's guesses may be made, at a pace of 1 (the seed names no time): a caller's limit."""


class Place(Struct, frozen=True, kw_only=True):
    """Where one instance is, and what it works with.

    listen              where it takes turns and notifications.
    assistants, tools   URLs: of the API, with its `/v1`, and of the tools themselves.
    proxy, admin, health    where its sidecar listens, if it has one.
    redis               its region's Redis without a database, `redis://HOST:PORT`; None for A.
    policies            its sidecar's, and ours reads there which tools only read.
    secrets             the file with what notifications are signed with.
    region, number, of  its region, which of the region's instances it is (from 0), and how many there are.
    peers               other regions' instances, each with its region and its URL.
    """

    listen: Address
    assistants: str
    tools: str
    proxy: Address | None = None
    admin: Address | None = None
    health: Address | None = None
    redis: str | None = None
    policies: Path | None = None
    secrets: Path | None = None
    region: str = ""
    number: int = 0
    of: int = 1
    peers: tuple[tuple[str, str], ...] = ()


def coordinator_command(variant: Variant, place: Place, *, pace: float = 1.0) -> list[str]:
    """Return the command of one instance of a variant's coordinator."""
    tools = place.tools
    if variant.proxy:
        assert place.proxy is not None, "a variant with a proxy needs its address"
        tools = place.proxy.url
    if variant.coordinator == "holdfast":
        return _holdfast_coordinator(place, tools)
    command = [
        sys.executable, "-m", MODULES[variant.coordinator], "--listen", str(place.listen),
        "--assistants", place.assistants, "--tools", tools, "--region", place.region,
        "--instance", str(place.number), "--of", str(place.of),
    ]  # fmt: skip
    if variant.coordinator == "reference-a":
        return [*command, "--window", f"{SEED_GUESS_S / pace:g}"]
    assert place.redis is not None, "variant B shares a Redis"
    peers = [word for region, url in place.peers for word in ("--peer", f"{region}={url}")]
    return [*command, "--redis", f"{place.redis}/0", *_secrets(place), *peers]


def sidecar_command(variant: Variant, place: Place) -> list[str] | None:
    """Return the command of an instance's sidecar; None for a variant without."""
    if not variant.proxy:
        return None
    told = (place.proxy, place.admin, place.health, place.redis, place.policies)
    assert None not in told, "a sidecar needs its three addresses, a store and its policies"
    return [
        sys.executable, "-m", "cli.main", "proxy", "--policies", str(place.policies), "--upstream", place.tools,
        "--listen", str(place.proxy), "--admin", str(place.admin), "--health", str(place.health),
        "--store", f"{place.redis}/1", "--log-level", "warning",
    ]  # fmt: skip


def _holdfast_coordinator(place: Place, tools: str) -> list[str]:
    assert place.redis is not None, "replicas of the coordinator share a Redis"
    command = [
        sys.executable, "-m", "cli.main", "coordinator", "--assistants", place.assistants, "--proxy", tools,
        "--listen", str(place.listen), "--store", f"{place.redis}/0", "--log-level", "warning", *_secrets(place),
    ]  # fmt: skip
    return command if place.policies is None else [*command, "--policies", str(place.policies)]


def _secrets(place: Place) -> list[str]:
    return [] if place.secrets is None else ["--webhook-secret-file", str(place.secrets)]
