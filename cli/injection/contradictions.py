"""What would end in two ledgers, a pod that never ends, or calls cut off: the words of the chart's
`_contradictions.tpl`, to the letter (`tests/helm/test_inject_and_chart.py`)."""

from __future__ import annotations

from msgspec import Struct

from cli.injection.sidecar import WRITING_DOWN_S, Sidecar

OF_ITS_OWN = "would keep a ledger of its own, and a call asked for again elsewhere would run again; use Redis"


class Workload(Struct, frozen=True):
    """What a manifest makes: the most pods that there can be, the strategy by which they are replaced (a CronJob's
    concurrencyPolicy), and the pod's grace, 0 if it does not say."""

    kind: str
    name: str
    replicas: int = 1
    strategy: str = ""
    grace_s: int = 0


def contradictions(sidecar: Sidecar, workload: Workload) -> list[str]:
    """Return all of them as sentences; none for what may be injected."""
    return [*_store(sidecar), *_ledgers(sidecar, workload), *_time(sidecar, workload), *_native(sidecar, workload)]


def _store(sidecar: Sidecar) -> list[str]:
    found = []
    if not (sidecar.store or sidecar.store_secret or sidecar.sqlite_claim):
        found.append("the store is missing: Redis needs addresses, or a Secret with its URL")
    if sidecar.redis_ca and not sidecar.store.startswith("rediss"):
        found.append("an authority for TLS, and TLS is not enabled: the password would go in the clear")
    if sidecar.on_sqlite and not sidecar.sqlite_claim:
        found.append(
            "SQLite without a PersistentVolumeClaim: an emptyDir dies with its pod, and calls that ran would run again"
        )
    return found


def _ledgers(sidecar: Sidecar, workload: Workload) -> list[str]:
    found: list[str] = []
    if not sidecar.on_sqlite:
        return found
    if workload.replicas > 1:
        found.append(f"SQLite with {workload.replicas} replicas: each {OF_ITS_OWN}")
    if workload.kind == "DaemonSet":
        found.append(f"SQLite in a DaemonSet: each node {OF_ITS_OWN}")
    if workload.kind == "Deployment" and workload.strategy != "Recreate":
        found.append(f"SQLite with the strategy {workload.strategy}: a surge makes two ledgers; use Recreate")
    if workload.kind == "CronJob" and workload.strategy != "Forbid":
        found.append(
            f"SQLite with the concurrencyPolicy {workload.strategy}: two Jobs at once make two ledgers; use Forbid"
        )
    return found


def _time(sidecar: Sidecar, workload: Workload) -> list[str]:
    grace_s = workload.grace_s or sidecar.grace_s
    needed_s = sidecar.app_drain_s + sidecar.longest_upstream_s + WRITING_DOWN_S
    if grace_s > needed_s:
        return []
    told = (
        f"terminationGracePeriodSeconds is {grace_s} and must be more than {needed_s}: {sidecar.app_drain_s} s for the "
        f"app to stop, {sidecar.longest_upstream_s} s for the longest timeouts.upstream, {WRITING_DOWN_S} s to write "
        "down what is left"
    )
    return [told]


def _native(sidecar: Sidecar, workload: Workload) -> list[str]:
    if sidecar.native or workload.kind not in {"Job", "CronJob"}:
        return []
    kind = workload.kind
    return [f"nativeSidecar is false in a {kind}: the sidecar would not end, and so the {kind} would never be complete"]
