"""`holdfast inject`: the sidecar into a manifest, for those without a chart."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import sys
from pathlib import Path

import click

from cli.exits import Exit, NotFound
from cli.injection import manifest
from cli.injection.contradictions import Workload, contradictions
from cli.injection.sidecar import DATA_PORT, USER, Secret, Sidecar
from cli.injection.workloads import inject as put
from cli.injection.workloads import pod_of, things_of, workload_of
from cli.main import version
from cli.parameters import Duration
from ledger.stores.redis_url import parse
from policies.faults import PolicyErrors
from policies.loader import load_folder
from proxy.origins import parse_origin

MS = 1_000
FORM = click.Choice(["yaml", "diff"])
MANIFEST = click.Path(exists=True, dir_okay=False, allow_dash=True)


class SecretKey(click.ParamType[Secret]):
    """`NAME/KEY` of a Kubernetes Secret; without the key, the one that the chart's values name."""

    name = "name[/key]"

    def __init__(self, key: str) -> None:
        self._key = key

    def convert(self, value: str | Secret, param: click.Parameter | None, ctx: click.Context | None) -> Secret:
        """Read it, or fail as click does."""
        if isinstance(value, Secret):
            return value
        name, slash, key = value.partition("/")
        if not name or (slash and not key):
            self.fail(f"{value!r} is not NAME or NAME/KEY", param, ctx)
        return Secret(name, key or self._key)


@click.command()
@click.option("-f", "--file", "source", required=True, type=MANIFEST, help="The manifest; - is stdin.")
@click.option("-o", "form", type=FORM, default="yaml", show_default=True, help="The manifest with it, or a diff.")
@click.option("--only", metavar="NAME", multiple=True, help="Workloads that get it. [default: all in the manifest]")
@click.option("--upstream", required=True, metavar="URL", help="Where tools are, for policies that do not say.")
@click.option(
    "--policies", type=click.Path(), help="Folder of policies: makes their ConfigMap, and a change rolls pods."
)
@click.option("--policies-config-map", "config_map", default="holdfast-policies", show_default=True, metavar="NAME")
@click.option("--store", default="", metavar="URL", help="Redis, without a password: redis://…, rediss+sentinel://…")
@click.option("--store-secret", type=SecretKey("url"), help="Secret with the store's URL, in place of --store.")
@click.option("--redis-password-secret", type=SecretKey("password"), help="Secret with the password.")
@click.option("--redis-ca-secret", type=SecretKey("ca.crt"), help="Secret with an authority of your own, for TLS.")
@click.option("--sqlite-claim", default="", metavar="NAME", help="SQLite on this PersistentVolumeClaim; one pod only.")
@click.option("--admin-token-secret", type=SecretKey("token"), help="Secret with what the admin port asks for.")
@click.option("--log-key-secret", type=SecretKey("key"), help="Secret that keys the hashes in logs.")
@click.option(
    "--encryption-key-secret", "encryption_keys", type=SecretKey("key"), multiple=True,
    help="Secret with a key that results are encrypted with. Given again: older keys, which still open.",
)  # fmt: skip
@click.option("--tracing-endpoint", default="", metavar="URL", help="Spans go to this OpenTelemetry collector.")
@click.option("--image", default="", metavar="IMAGE", help="[default: holdfast:VERSION, of this command]")
@click.option("--plain", is_flag=True, help="A container like others; the default needs Kubernetes 1.29.")
@click.option("--app-drain", type=Duration(), default="30s", show_default=True, help="How long the app takes to stop.")
@click.option(
    "--longest-upstream", type=Duration(), default="90s", show_default=True,
    help="The longest timeouts.upstream; that of --policies counts as well.",
)  # fmt: skip
def inject(
    source: str, form: str, only: tuple[str, ...], upstream: str, policies: str | None, config_map: str, store: str,
    store_secret: Secret | None, redis_password_secret: Secret | None, redis_ca_secret: Secret | None,
    sqlite_claim: str, admin_token_secret: Secret | None, log_key_secret: Secret | None,
    encryption_keys: tuple[Secret, ...], tracing_endpoint: str, image: str, plain: bool, app_drain: int,
    longest_upstream: int,
) -> None:  # fmt: skip
    """Put the sidecar into every Deployment, StatefulSet, DaemonSet, Job, CronJob and Pod of a manifest.

    Run again, it changes nothing, or what has changed since. Refuses, with 1, what would make two ledgers of one, a pod
    that never ends, or calls cut off. Nothing is sent anywhere.
    """
    texts, longest_ms = _policies(policies)
    sidecar = Sidecar(
        image=image or f"holdfast:{version()}", upstream=upstream, config_map=config_map, store=store,
        store_secret=store_secret, sqlite_claim=sqlite_claim, redis_password=redis_password_secret,
        redis_ca=redis_ca_secret, admin_token=admin_token_secret, log_key=log_key_secret,
        encryption_keys=encryption_keys, tracing_endpoint=tracing_endpoint, native=not plain,
        app_drain_s=math.ceil(app_drain / MS),
        longest_upstream_s=math.ceil(max(longest_upstream, longest_ms) / MS), checksum=_checksum(texts),
    )  # fmt: skip
    _check(sidecar)
    with click.open_file(source, encoding="utf-8") as opened:
        before = opened.read()
    try:
        documents = manifest.read(before)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--file") from None
    namespaces = _put_everywhere(documents, sidecar, only)
    if texts:
        manifest.put_config_map(documents, config_map, namespaces, texts)
    after = manifest.write(documents)
    if form == "yaml":
        click.echo(after, nl=False)
    else:
        lines = difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), source, f"{source} (injected)"
        )
        click.echo("".join(lines), nl=False)


def _put_everywhere(documents: list[manifest.Document], sidecar: Sidecar, only: tuple[str, ...]) -> str:
    """Inject, or end with every contradiction; return the namespace of the first workload."""
    things = [thing for document in documents for thing in things_of(document.thing)]
    found = [(thing, workload_of(thing, things)) for thing in things if pod_of(thing) is not None]
    chosen = [(thing, workload) for thing, workload in found if not only or workload.name in only]
    missing = set(only) - {workload.name for _, workload in chosen}
    if missing or not chosen:
        raise NotFound(f"no workload {', '.join(sorted(missing)) or 'at all'} in the manifest")
    told = [_told(workload, words) for _, workload in chosen for words in contradictions(sidecar, workload)]
    if told:
        click.echo("\n".join(told), err=True)
        sys.exit(Exit.FINDINGS)
    for thing, workload in chosen:
        pod = pod_of(thing)
        assert pod is not None, "it was chosen for having one"
        put(pod, sidecar, workload.grace_s or sidecar.grace_s)
        click.echo(_told(workload, f"point its tools' base URL at http://127.0.0.1:{DATA_PORT}"), err=True)
        if sidecar.on_sqlite and not (pod["spec"].get("securityContext") or {}).get("fsGroup"):
            click.echo(_told(workload, f"give its pod fsGroup {USER}, so that the sidecar can write"), err=True)
    return str((chosen[0][0].get("metadata") or {}).get("namespace", ""))


def _told(workload: Workload, words: str) -> str:
    return f"{workload.kind}/{workload.name}: {words}"


def _policies(folder: str | None) -> tuple[dict[str, str], int]:
    """Return the policies' texts by file name, and the longest that a forward may take by them; ends for faults."""
    if folder is None:
        return {}, 0
    try:
        policies = load_folder(folder).policies.policies
    except PolicyErrors as errors:
        click.echo(str(errors), err=True)
        sys.exit(Exit.FINDINGS)
    texts = {path.name: path.read_text() for path in sorted(Path(folder).iterdir()) if path.suffix in {".yaml", ".yml"}}
    return texts, max(policy.timeouts.upstream_ms for policy in policies)


def _checksum(texts: dict[str, str]) -> str:
    """Return what the chart's annotation says of the same texts: the SHA-256 of their JSON as Go writes it."""
    if not texts:
        return ""
    written = json.dumps(texts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    for char in "&<>\u2028\u2029":
        written = written.replace(char, f"\\u{ord(char):04x}")
    return hashlib.sha256(written.encode()).hexdigest()


def _check(sidecar: Sidecar) -> None:
    """Fail as click does for URLs without sense, and for a password where everybody can read it."""
    if sum(1 for one in (sidecar.store, sidecar.store_secret, sidecar.sqlite_claim) if one) > 1:
        raise click.UsageError("--store, --store-secret and --sqlite-claim: give one of them")
    if sidecar.tracing_endpoint and not sidecar.tracing_endpoint.startswith(("http://", "https://")):
        raise click.BadParameter("it is no URL: http://HOST:4318", param_hint="--tracing-endpoint")
    option = "--upstream"
    try:
        parse_origin(sidecar.upstream)
        option = "--store"
        login = parse(sidecar.store).credentials if sidecar.store and not sidecar.on_sqlite else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    if login is not None and login.password is not None:
        told = "it has a password: put that into a Secret (--redis-password-secret, --store-secret)"
        raise click.BadParameter(told, param_hint=option)
