"""The sidecar's container, volumes and annotations: what the templates of `helm/holdfast-lib` make, as values.

`tests/helm/test_inject_and_chart.py` renders both from the same wishes and compares them whole (decision 0033).
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

NAME: Final = "holdfast"
POLICIES: Final = "holdfast-policies"
SECRETS: Final = "holdfast-secrets"
DATA: Final = "holdfast-data"
VOLUMES: Final = (POLICIES, SECRETS, DATA)
CHECKSUM: Final = "holdfast.dev/policies-checksum"

DATA_PORT: Final = 8100
HEALTH_PORT: Final = 8102
PROBED: Final = "holdfast-health"
USER: Final = 65532
START_S: Final = 120
WRITING_DOWN_S: Final = 20
"""Of the pod's grace: for writing down as unknown what has not ended (docs/topologies.md, Stopping)."""

SPARE_S: Final = 20
"""So much longer than the longest upstream is the grace that forwards get, unless the pod says otherwise."""

FOLDER: Final = "/etc/holdfast"
PASSWORD_FILE: Final = f"{FOLDER}/secrets/redis-password"
CA_FILE: Final = f"{FOLDER}/secrets/redis-ca"


class Secret(Struct, frozen=True):
    """One key of a Kubernetes Secret."""

    name: str
    key: str


class Sidecar(Struct, frozen=True, kw_only=True):
    """What is wished for. `store` is a URL without a password; or `store_secret` has all of it, or `sqlite_claim` names
    a disk. `checksum` is of the policies, if a change of them is to roll the pods."""

    image: str
    upstream: str
    config_map: str
    store: str = ""
    store_secret: Secret | None = None
    sqlite_claim: str = ""
    redis_password: Secret | None = None
    redis_ca: Secret | None = None
    admin_token: Secret | None = None
    log_key: Secret | None = None
    encryption_keys: tuple[Secret, ...] = ()
    tracing_endpoint: str = ""
    native: bool = True
    app_drain_s: int = 30
    longest_upstream_s: int = 90
    checksum: str = ""

    @property
    def on_sqlite(self) -> bool:
        """Whether its ledger is a file of its own."""
        return self.store.startswith("sqlite:") or bool(self.sqlite_claim)

    @property
    def grace_s(self) -> int:
        """How long the pod's grace is to be, if nobody has said."""
        return self.app_drain_s + self.longest_upstream_s + SPARE_S + WRITING_DOWN_S


def container(sidecar: Sidecar, pod_grace_s: int) -> dict[str, Any]:
    """Return the container for a pod whose grace is so many seconds."""
    mounts: list[dict[str, Any]] = [{"name": POLICIES, "mountPath": f"{FOLDER}/policies", "readOnly": True}]
    if _sources(sidecar):
        mounts.append({"name": SECRETS, "mountPath": f"{FOLDER}/secrets", "readOnly": True})
    if sidecar.on_sqlite:
        mounts.append({"name": DATA, "mountPath": "/var/lib/holdfast"})
    return {
        "name": NAME,
        "image": sidecar.image,
        "imagePullPolicy": "IfNotPresent",
        **({"restartPolicy": "Always"} if sidecar.native else {}),
        "args": _arguments(sidecar, pod_grace_s),
        "env": [{"name": "HOLDFAST_STORE", **_store(sidecar)}, *_tracing(sidecar)],
        "ports": [{"name": PROBED, "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/startupz", every=1, timeout=1, failures=START_S),
        "livenessProbe": _probe("/livez", every=10, timeout=5, failures=3),
        "readinessProbe": _probe("/readyz", every=5, timeout=2, failures=2),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }


def pod_volumes(sidecar: Sidecar) -> list[dict[str, Any]]:
    """Return what the container mounts, as items of the pod's volumes."""
    found: list[dict[str, Any]] = [{"name": POLICIES, "configMap": {"name": sidecar.config_map}}]
    if sources := _sources(sidecar):
        found.append({"name": SECRETS, "projected": {"sources": sources}})
    if sidecar.on_sqlite:
        found.append({"name": DATA, "persistentVolumeClaim": {"claimName": sidecar.sqlite_claim}})
    return found


def pod_annotations(sidecar: Sidecar) -> dict[str, str]:
    """Return the pod's annotations."""
    return {CHECKSUM: sidecar.checksum} if sidecar.checksum else {}


def _tracing(sidecar: Sidecar) -> list[dict[str, str]]:
    if not sidecar.tracing_endpoint:
        return []
    return [
        {"name": "HOLDFAST_TRACING", "value": "otlp"},
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": sidecar.tracing_endpoint},
    ]


def _arguments(sidecar: Sidecar, pod_grace_s: int) -> list[str]:
    left_s = pod_grace_s - WRITING_DOWN_S
    # A native sidecar is told to stop when the app has gone; a plain one with it, and both times run from then.
    grace_s, accept_s = (left_s - sidecar.app_drain_s, 0) if sidecar.native else (left_s, sidecar.app_drain_s)
    arguments = [
        "proxy",
        f"--policies={FOLDER}/policies",
        f"--upstream={sidecar.upstream}",
        f"--listen=127.0.0.1:{DATA_PORT}",
        "--admin=127.0.0.1:8101",
        f"--health=0.0.0.0:{HEALTH_PORT}",
        "--lease=15s",
        f"--grace={grace_s}s",
        f"--drain-accept={accept_s}s",
        "--log-level=info",
    ]
    if sidecar.admin_token:
        arguments.append(f"--admin-token-file={FOLDER}/secrets/admin-token")
    if sidecar.log_key:
        arguments.append(f"--log-key-file={FOLDER}/secrets/log-key")
    arguments += [f"--encryption-key-file={FOLDER}/secrets/{path}" for path in _encryption_keys(sidecar)]
    return arguments


def _store(sidecar: Sidecar) -> dict[str, Any]:
    if sidecar.store_secret:
        return {"valueFrom": {"secretKeyRef": {"name": sidecar.store_secret.name, "key": sidecar.store_secret.key}}}
    if sidecar.on_sqlite:
        return {"value": "sqlite:///var/lib/holdfast/holdfast.db"}
    options = []
    if sidecar.redis_password:
        options.append(f"password_file={PASSWORD_FILE}")
    if sidecar.redis_ca:
        options.append(f"ssl_ca_certs={CA_FILE}")
    joint = "&" if "?" in sidecar.store else "?"
    return {"value": sidecar.store + (joint + "&".join(options) if options else "")}


def _sources(sidecar: Sidecar) -> list[dict[str, Any]]:
    wanted: dict[str, Secret | None] = {
        "admin-token": sidecar.admin_token,
        "log-key": sidecar.log_key,
        **_encryption_keys(sidecar),
        "redis-ca": sidecar.redis_ca,
        "redis-password": sidecar.redis_password,
    }
    return [
        {"secret": {"name": secret.name, "items": [{"key": secret.key, "path": path}]}}
        for path, secret in wanted.items()
        if secret
    ]


def _encryption_keys(sidecar: Sidecar) -> dict[str, Secret]:
    return {f"encryption-key-{number}": secret for number, secret in enumerate(sidecar.encryption_keys)}


def _probe(path: str, *, every: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": PROBED},
        "periodSeconds": every,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
