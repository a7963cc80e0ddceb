"""The command as a whole: what it lists, what it imports, how it is configured and how it ends."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cli.main import PLACES, Place, main


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `holdfast` as a process of its own."""
    return subprocess.run([sys.executable, "-m", "cli.main", *args], capture_output=True, text=True, check=False)


def test_help_lists_every_subcommand_that_exists() -> None:
    """`holdfast --help` names what can be run and tells the exit codes."""
    ended = run("--help")
    assert ended.returncode == 0
    assert "doctor" in ended.stdout
    assert "5 unreachable" in ended.stdout


def test_help_imports_no_subcommand() -> None:
    """The list comes from a table: the help is there before aiohttp, redis or rich have been loaded."""
    program = "import sys; from cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.splitlines()[-1].split())
    assert not loaded & {"aiohttp", "redis", "rich", "uvloop", "cli.doctor", "cli.proxy"}


def test_unknown_subcommand_is_a_usage_error() -> None:
    """A typing error ends with 2 and a hint on stderr; nothing is on stdout."""
    ended = run("proxi")
    assert ended.returncode == 2
    assert "proxi" in ended.stderr
    assert not ended.stdout


def test_version_is_printed_on_stdout() -> None:
    """`--version` prints the name and one version, for bug reports."""
    ended = run("--version")
    assert ended.returncode == 0
    assert ended.stdout.split()[0] == "holdfast"
    assert ended.stdout.split()[1][0].isdigit()


def test_missing_file_of_a_subcommand_takes_it_off_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subcommand whose file is not installed is neither listed nor a traceback."""
    monkeypatch.setitem(PLACES, "ghost", Place("cli.ghost", "ghost", "Not there."))
    assert "ghost" not in CliRunner().invoke(main, ["--help"]).stdout
    assert CliRunner().invoke(main, ["ghost"]).exit_code == 2


def test_flag_is_set_by_the_environment_under_its_own_name_and_the_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """`HOLDFAST_STORE` sets `--store` of any subcommand; what is typed overrides it."""

    @click.command()
    @click.option("--store")
    def probe(store: str) -> None:
        click.echo(store)

    monkeypatch.setitem(PLACES, "probe", Place(__name__, "probe", "Echo."))
    monkeypatch.setattr(sys.modules[__name__], "probe", probe, raising=False)
    monkeypatch.setenv("HOLDFAST_STORE", "memory://")
    assert CliRunner().invoke(main, ["probe"]).stdout == "memory://\n"
    assert CliRunner().invoke(main, ["probe", "--store", "redis://"]).stdout == "redis://\n"


@pytest.mark.parametrize("name", sorted(PLACES))
def test_every_listed_subcommand_can_be_imported_and_has_help(name: str) -> None:
    """The table and the files agree, and each command explains itself."""
    ended = CliRunner().invoke(main, [name, "--help"])
    assert ended.exit_code == 0, ended.output
    assert "Usage:" in ended.stdout
