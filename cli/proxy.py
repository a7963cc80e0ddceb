"""`holdfast proxy`: the sidecar."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import click
import uvloop

from cli.exits import Conflict, Exit
from cli.parameters import Address, Duration, checked_tracing, tracing
from ledger.sealing import Sealing, read_key
from ledger.store import Store, UnfitStore
from ledger.stores.open import DEADLINE_MS, KINDS, open_store
from policies.faults import PolicyErrors
from process import floors
from process.tokens import Tokens, is_loopback
from process.tracing import Mode
from proxy import app
from proxy.origins import parse_origin

LEASES_OF_DEADLINE = 3
"""A lease must outlast this many store deadlines: a renewal that fails once must not lose it (contract, section 6)."""


@click.command()
@click.option(
    "--policies", required=True, type=click.Path(), help="Folder of policy files; changes are picked up live."
)
@click.option("--upstream", required=True, metavar="URL", help="Where tools are, for policies that do not say.")
@click.option("--listen", type=Address(), default="127.0.0.1:8100", show_default=True, help="The data port.")
@click.option("--health", type=Address(), default="0.0.0.0:8102", show_default=True, help="Probes and metrics.")
@click.option("--admin", type=Address(), default="127.0.0.1:8101", show_default=True, help="For `holdfast ops`.")
@click.option(
    "--admin-token-file", type=click.Path(exists=True, dir_okay=False), help="Bearer token that it asks for, in a file."
)
@click.option("--store", default="", metavar="URL", help=f"{KINDS}.  [default: sqlite, ./holdfast.db]")
@click.option(
    "--store-password-file", type=click.Path(exists=True, dir_okay=False),
    help="Password for a Redis store, in a file; read at each login.",
)  # fmt: skip
@click.option("--lease", type=Duration(), default="15s", show_default=True, help="How soon a dead owner is noticed.")
@click.option("--grace", type=Duration(), default="110s", show_default=True, help="On SIGTERM, for forwards to finish.")
@click.option(
    "--drain-accept", type=Duration(), default="0s", show_default=True, help="On SIGTERM, claims go on so long."
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option(
    "--log-key-file", type=click.Path(exists=True, dir_okay=False), help="Secret that keys the hashes in logs."
)
@click.option(
    "--encryption-key-file", "encryption_key_files", type=click.Path(exists=True, dir_okay=False), multiple=True,
    help="Key that results are encrypted with in the store, in a file: 32 bytes, hexadecimal or base64. "
    "Given again: older keys, which still open.",
)  # fmt: skip
@tracing
def proxy(
    policies: str, upstream: str, listen: tuple[str, int], health: tuple[str, int], admin: tuple[str, int],
    admin_token_file: str | None, store: str, store_password_file: str | None, lease: int, grace: int,
    drain_accept: int, log_level: str, log_key_file: str | None, encryption_key_files: tuple[str, ...],
    tracing: Mode,
) -> None:  # fmt: skip
    """Guard the tools behind UPSTREAM: each call is forwarded once, however often it is asked for.

    Callers send their tool calls here, with X-Run-Id and X-Tool-Call-Id. JSON logs go to stdout. SIGTERM drains.
    """
    for shortfall in floors.shortfalls():
        raise click.ClickException(f"{shortfall.message}. {shortfall.remedy}")
    if lease < LEASES_OF_DEADLINE * DEADLINE_MS:
        raise click.UsageError(f"--lease must be at least {LEASES_OF_DEADLINE} s: three times the store's deadline")
    if admin_token_file is None and not is_loopback(admin[0]):
        raise click.UsageError(f"--admin {admin[0]} can be reached from elsewhere: name an --admin-token-file")
    settings = app.Settings(
        policies=policies, upstream=upstream, listen=listen, health=health, admin=admin,
        admin_token_file=admin_token_file, lease_ms=lease, grace_ms=grace, drain_accept_ms=drain_accept,
        log_level=log_level,  # type: ignore[arg-type]  # click.Choice has checked it
        log_key=Path(log_key_file).read_bytes().strip() if log_key_file else b"",
        encryption_keys=_encryption_keys(encryption_key_files), tracing=checked_tracing(tracing),
    )  # fmt: skip
    if admin_token_file is not None:
        _check_token(admin_token_file)
    opened = _checked(upstream, store or f"sqlite://{quote(str(Path('holdfast.db').absolute()))}", store_password_file)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, opened))
    except (PolicyErrors, UnfitStore) as error:
        click.echo(f"holdfast: {error}", err=True)
        raise SystemExit(Exit.CONFLICT if isinstance(error, UnfitStore) else Exit.FINDINGS) from None
    except OSError as error:
        raise Conflict(str(error)) from None


def _check_token(path: str) -> None:
    """Raise a usage error for a token file that would let nobody in."""
    try:
        Tokens(path)
    except (OSError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--admin-token-file") from None


def _encryption_keys(paths: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the keys of some files, or fail as click does; no key is ever shown."""
    keys = []
    for path in paths:
        try:
            keys.append(read_key(Path(path).read_bytes()))
        except ValueError as error:
            raise click.BadParameter(f"{path}: {error}", param_hint="--encryption-key-file") from None
    try:
        if keys:
            Sealing(keys)  # so that a library that is missing is said now
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    return tuple(keys)


def _checked(upstream: str, store: str, password_file: str | None) -> Store:
    """Return the store, which is not connected to yet; a URL without sense is a usage error like any other."""
    option = "--upstream"
    try:
        parse_origin(upstream)
        option = "--store"
        return open_store(store, password_file=password_file)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


async def _serve(settings: app.Settings, opened: Store) -> None:
    await app.Proxy(settings, opened).run(lambda started: click.echo(app.announcement(started, settings), err=True))
