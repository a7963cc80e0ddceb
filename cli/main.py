"""`holdfast`: finds the subcommand's file and imports nothing else.

Start-up time is a promise (a sidecar delays its pod), so `holdfast proxy` must not pay for the demo's imports, and
`holdfast --help` for none at all. Every flag of a subcommand can be set in the environment as `HOLDFAST_` and the
flag's name (`--drain-accept` is `HOLDFAST_DRAIN_ACCEPT`), whatever the subcommand; the flag wins.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata

import click
from msgspec import Struct

ENVIRONMENT_PREFIX = "HOLDFAST"


class Place(Struct, frozen=True):
    """Where a subcommand lives, and the line that `--help` says about it without importing it."""

    module: str
    attribute: str
    summary: str


PLACES = {
    "proxy": Place("cli.proxy", "proxy", "Stand between callers and their tools: the sidecar."),
    "coordinator": Place("cli.coordinator", "coordinator", "Bring runs from requires_action to submitted outputs."),
    "policy": Place("cli.policy", "policy", "Check, test and explain policy files."),
    "ops": Place("cli.ops", "ops", "Operations: list, show, follow and resolve them."),
    "runs": Place("cli.runs", "runs", "Runs: what became of their tool calls."),
    "letters": Place("cli.letters", "letters", "Dead letters: results that could not be used."),
    "doctor": Place("cli.doctor", "doctor", "Examine this machine and a store: is it fit for claims?"),
    "inject": Place("cli.inject", "inject", "Put the sidecar into a Kubernetes manifest."),
    "simulate": Place("cli.simulate", "simulate", "Simulate the world around it: tools, and an Assistants-style API."),
    "triage": Place("cli.triage", "triage", "Say from an incident's logs what ran twice, and how that came about."),
    "evaluate": Place(
        "cli.evaluate", "evaluate", "Replay user turns, with Holdfast and without, while things go wrong."
    ),
    "demo": Place("cli.demo", "demo", "Replay the incident of the two tickets, without Holdfast and with it."),
}


class Subcommands(click.Group):
    """A group whose members are imported when they are run, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the subcommands that this installation has."""
        return [name for name, place in PLACES.items() if importlib.util.find_spec(place.module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; None for an unknown one, which click reports as a usage error."""
        if cmd_name not in self.list_commands(ctx):
            return None
        place = PLACES[cmd_name]
        command: click.Command = getattr(importlib.import_module(place.module), place.attribute)
        command.context_settings.setdefault("auto_envvar_prefix", ENVIRONMENT_PREFIX)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands from the table, so that `--help` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, PLACES[name].summary) for name in self.list_commands(ctx)])


def version() -> str:
    """Return the installed version, or say that this is a checkout that was never installed."""
    try:
        return metadata.version("holdfast")
    except metadata.PackageNotFoundError:
        return "0+checkout"


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"holdfast {version()}")
        ctx.exit()


@click.group(
    cls=Subcommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 findings or a failed check, 2 usage, 3 not found, 4 conflict, 5 unreachable.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def main() -> None:
    """A tool call happens once, however often it is asked for."""


if __name__ == "__main__":
    main()
