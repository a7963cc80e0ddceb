"""`holdfast coordinator`: threads and runs."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from urllib.parse import quote, urlsplit

import click
import uvloop

from cli.exits import Conflict, Exit
from cli.parameters import Address, Duration, checked_tracing, tracing
from coordinator import app
from coordinator.assistants import WITHIN_S, Assistants
from coordinator.exchange import AioExchange
from coordinator.executor import Executor
from coordinator.means import Limits
from coordinator.store import RunStore
from coordinator.stores.open import open_run_store
from coordinator.webhooks import Webhooks
from ledger.store import UnfitStore
from ledger.stores.open import DEADLINE_MS, KINDS
from policies.faults import PolicyErrors
from process import floors
from process.tokens import Secrets, is_loopback
from process.tracing import Mode

VISIBILITIES_OF_DEADLINE = 3
"""A run must stay ours for this many store deadlines: a renewal that fails once must not lose it."""

VISIBILITY_SHARE = 0.6
"""Of the visibility, for one call to the API: its answer is to be written down while the run is still ours."""

FILE = click.Path(exists=True, dir_okay=False)


@click.command()
@click.option("--assistants", required=True, metavar="URL", help="Base URL of the API that keeps threads and runs.")
@click.option("--proxy", required=True, metavar="URL", help="The sidecar: tools are called at URL/tools/NAME.")
@click.option("--policies", type=click.Path(), help="The sidecar's folder of policies: which tools only read.")
@click.option("--listen", type=Address(), default="127.0.0.1:8110", show_default=True, help="The API, and probes.")
@click.option("--store", default="", metavar="URL", help=f"{KINDS}.  [default: sqlite, ./coordinator.db]")
@click.option("--store-password-file", type=FILE, help="Password for a Redis store, in a file; read at each login.")
@click.option("--token-file", type=FILE, help="Bearer token that it asks for, in a file; required off loopback.")
@click.option("--webhook-secret-file", type=FILE, help="Secrets that notifications are signed with, one a line.")
@click.option("--assistants-token-file", type=FILE, help="Bearer token for the API.")
@click.option(
    "--assistants-query", metavar="NAME=VALUE", multiple=True, help="Sent along to the API, such as api-version=…"
)
@click.option(
    "--gateway", metavar="TOOL", multiple=True,
    help="A gateway executes this tool (`*`: all) and posts its results to /v1/tool-outputs.",
)  # fmt: skip
@click.option(
    "--complete-ids", is_flag=True, help="A result without tool_call_id belongs to the only call that waits, if one is."
)
@click.option(
    "--visibility", type=Duration(), default="15s", show_default=True, help="How soon a dead replica's runs are taken."
)
@click.option(
    "--expiry-margin", type=Duration(), default="15s", show_default=True,
    help="Before a run expires, calls without a result get an error for one.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@tracing
def coordinator(
    assistants: str, proxy: str, policies: str | None, listen: tuple[str, int], store: str,
    store_password_file: str | None, token_file: str | None,
    webhook_secret_file: str | None, assistants_token_file: str | None, assistants_query: tuple[str, ...],
    gateway: tuple[str, ...], complete_ids: bool, visibility: int, expiry_margin: int, log_level: str, tracing: Mode,
) -> None:  # fmt: skip
    """Bring runs from `requires_action` to submitted outputs: once, in order, never stalled, on any number of replicas.

    Turns come by POST /v1/turns, runs made elsewhere by POST /v1/runs. JSON logs go to stdout. SIGTERM lets go of
    all runs, for another replica to take.
    """
    for shortfall in floors.shortfalls():
        raise click.ClickException(f"{shortfall.message}. {shortfall.remedy}")
    if token_file is None and not is_loopback(listen[0]):
        raise click.UsageError(f"--listen {listen[0]} can be reached from elsewhere: name a --token-file")
    if visibility < VISIBILITIES_OF_DEADLINE * DEADLINE_MS:
        raise click.UsageError("--visibility must be at least 3 s: three times the store's deadline")
    for flag, file in (("--token-file", token_file), ("--assistants-token-file", assistants_token_file)):
        _check_secrets(flag, file)
    settings = app.Settings(
        listen=listen, policies=policies, tokens=token_file, webhook_secrets=webhook_secret_file, elsewhere=gateway,
        complete=complete_ids, limits=Limits(visibility_ms=visibility, margin_ms=expiry_margin),
        log_level=log_level,  # type: ignore[arg-type]  # click.Choice has checked it
        tracing=checked_tracing(tracing),
    )  # fmt: skip
    _check_webhooks(webhook_secret_file)
    opened = _opened(store or f"sqlite://{quote(str(Path('coordinator.db').absolute()))}", store_password_file)
    query = _query(assistants_query)
    for flag, url in (("--assistants", assistants), ("--proxy", proxy)):
        _check_url(flag, url)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, opened, assistants, proxy, assistants_token_file, query))
    except (PolicyErrors, UnfitStore) as error:
        click.echo(f"holdfast: {error}", err=True)
        raise SystemExit(Exit.CONFLICT if isinstance(error, UnfitStore) else Exit.FINDINGS) from None
    except OSError as error:
        raise Conflict(str(error)) from None


async def _serve(
    settings: app.Settings, store: RunStore, assistants: str, proxy: str, token_file: str | None, query: dict[str, str]
) -> None:
    limits = settings.limits
    within_s = min(WITHIN_S, VISIBILITY_SHARE * limits.visibility_ms / 1_000)
    api = AioExchange(limits.looks_max)
    backend = Assistants(assistants, api, token_file=token_file, query=query, within_s=within_s)
    tools = Executor(proxy, AioExchange(limits.calls_max + limits.late_max), random.random)
    running = app.Coordinator(settings, store, backend, tools)
    await running.run(lambda started: click.echo(app.announcement(started, assistants, proxy), err=True))


def _opened(url: str, password_file: str | None) -> RunStore:
    try:
        return open_run_store(url, password_file=password_file)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--store") from None


def _check_secrets(flag: str, path: str | None) -> None:
    """Raise a usage error for a file of secrets that holds none."""
    try:
        if path is not None:
            Secrets(path)
    except (OSError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint=flag) from None


def _check_webhooks(path: str | None) -> None:
    try:
        if path is not None:
            Webhooks(path)
    except (OSError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--webhook-secret-file") from None


def _check_url(flag: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise click.BadParameter(f"{url!r} is no base URL: http://HOST:PORT or https://…", param_hint=flag)


def _query(given: tuple[str, ...]) -> dict[str, str]:
    query = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{one!r} is not NAME=VALUE", param_hint="--assistants-query")
        query[name] = value
    return query
