"""The command lines of a variant's processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.address import Address
from evaluation.variants.commands import Place, coordinator_command, sidecar_command
from evaluation.variants.table import VARIANTS, by_name

PLACE = Place(
    listen=Address("127.0.0.1", 1), assistants="http://127.0.0.1:2/v1", tools="http://127.0.0.1:3",
    proxy=Address("127.0.0.1", 4), admin=Address("127.0.0.1", 5), health=Address("127.0.0.1", 6),
    redis="redis://127.0.0.1:7", policies=Path("policies"), secrets=Path("secret"), region="r1", number=1, of=3,
    peers=(("r2", "http://127.0.0.1:8"),),
)  # fmt: skip


def flag(command: list[str], name: str) -> str | None:
    """Return what a flag of a command is given; None where it is not there."""
    return command[command.index(name) + 1] if name in command else None


@pytest.mark.parametrize(
    ("name", "tools"),
    [("A", PLACE.tools), ("B", PLACE.tools), ("C", "http://127.0.0.1:4"), ("D", "http://127.0.0.1:4")],
)
def test_reference_calls_tools_directly_or_through_its_sidecar(name: str, tools: str) -> None:
    """As its row of the table says; and it knows its region and its share."""
    command = coordinator_command(by_name(name), PLACE)
    assert flag(command, "--tools") == tools
    assert (flag(command, "--region"), flag(command, "--instance"), flag(command, "--of")) == ("r1", "1", "3")
    assert flag(command, "--redis") == (None if name == "A" else "redis://127.0.0.1:7/0")
    assert flag(command, "--webhook-secret-file") == (None if name == "A" else "secret")
    assert flag(command, "--peer") == (None if name == "A" else "r2=http://127.0.0.1:8")


def test_guesses_are_as_far_apart_as_the_replay_is_fast() -> None:
    """Users say the same thing again sooner where a replay's time is short; the guess is about them."""
    assert flag(coordinator_command(by_name("A"), PLACE, pace=4), "--window") == "2.5"


def test_whole_holdfast_is_started_as_its_users_start_it() -> None:
    """Its coordinator reads the sidecar's policies, to know which tools only read."""
    command = coordinator_command(by_name("E"), PLACE)
    assert command[1:4] == ["-m", "cli.main", "coordinator"]
    assert flag(command, "--proxy") == "http://127.0.0.1:4"
    assert flag(command, "--policies") == "policies"
    assert flag(command, "--store") == "redis://127.0.0.1:7/0"


def test_sidecar_keeps_its_ledger_beside_the_coordinators_records() -> None:
    """In the same Redis, in a database of its own; where there is no proxy there is no command."""
    for variant in VARIANTS:
        command = sidecar_command(variant, PLACE)
        assert (command is not None) == variant.proxy
        if command is not None:
            assert flag(command, "--store") == "redis://127.0.0.1:7/1"
            assert flag(command, "--upstream") == PLACE.tools
