"""`holdfast doctor`: is this machine, and is this store, fit to hold claims? It only looks; it changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import msgspec

from cli.checkup.finding import Finding, ok, worse_than_ok
from cli.checkup.machine import examine_machine
from cli.exits import Exit, Unreachable
from cli.output import Form, emit, output_option
from ledger.stores.open import open_store

COLUMNS = ["severity", "check", "message", "remedy"]


@click.command()
@click.option(
    "--store", metavar="URL",
    help="Store to examine as well: sqlite:///PATH, redis://…, redis+sentinel://…, redis+cluster://…, memory://",
)  # fmt: skip
@click.option(
    "--store-password-file", type=click.Path(exists=True, dir_okay=False), help="Password for a Redis store, in a file."
)
@output_option
def doctor(store: str | None, store_password_file: str | None, form: Form) -> None:
    """Examine this machine, the libraries and, with --store, a store: is it fit for claims?

    Ends with 1 if anything was found, with 5 if the store does not answer.
    """
    findings = examine_machine()
    away: Unreachable | None = None
    if store is not None:
        try:
            findings += examine_store(store, store_password_file)
        except Unreachable as unreachable:  # what was found on this machine may be why: it is shown first
            away = unreachable
    emit(form, COLUMNS, [msgspec.to_builtins(finding) for finding in findings])
    if away is not None:
        raise away
    if worse_than_ok(findings):
        sys.exit(Exit.FINDINGS)


def examine_store(url: str, password_file: str | None = None) -> list[Finding]:
    """Look at the store behind `url`; raises `Unreachable` if it does not answer, and a usage error for a wrong URL."""
    try:
        kind = open_store(
            url, password_file=password_file
        ).name  # which only reads the URL: nothing is connected or made before `start`
    except ValueError as nonsense:
        raise click.BadParameter(str(nonsense), param_hint="--store") from nonsense
    match kind:
        case "redis":
            from cli.checkup.redis_store import examine_redis

            return examine_redis(url, password_file)
        case "sqlite":
            from cli.checkup.sqlite_store import examine_sqlite

            return examine_sqlite(Path(unquote(urlsplit(url).path)))
        case _:
            return [ok("store", f"{kind}: forgets everything at the process's end; for trying out only")]
