"""`holdfast inject` and the library chart make the same of the same wishes, and refuse the same in the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.helm import charts
from tests.helm.matrix import BAD, GOOD
from tests.tracked import ROOT

STORE = ("--store", "redis://redis:6379/0")
ALIKE: dict[str, tuple[str, ...]] = {
    "as it comes": STORE,
    "several replicas": STORE,
    "a container like others": (*STORE, "--plain"),
    "SQLite": ("--sqlite-claim", "ledger"),
    "SQLite in a StatefulSet": ("--sqlite-claim", "ledger"),
    "SQLite in a CronJob": ("--sqlite-claim", "ledger"),
    "DaemonSet": STORE,
    "Job": STORE,
    "Pod": STORE,
    "Redis by a Secret": ("--store-secret", "ledger"),
    "Redis with TLS": (
        "--store", "rediss://holdfast@redis:6379/3", "--redis-password-secret", "redis",
        "--redis-ca-secret", "redis-ca",
    ),
    "Cluster": ("--store", "redis+cluster://n1:6379,n2:6379"),
    "secrets": (
        *STORE, "--admin-token-secret", "admin", "--log-key-secret", "logs",
        "--encryption-key-secret", "new", "--encryption-key-secret", "old/word",
    ),
    "spans to a collector": (*STORE, "--tracing-endpoint", "http://collector:4318"),
}  # fmt: skip
"""The values of the matrix, as flags."""

REFUSED: dict[str, tuple[str, ...]] = {
    "no store": (),
    "SQLite on a disk that goes": ("--store", "sqlite:///ledger.db"),
    "SQLite that surges": ("--sqlite-claim", "ledger"),
    "SQLite twice": ("--sqlite-claim", "ledger"),
    "SQLite on each node": ("--sqlite-claim", "ledger"),
    "SQLite in Jobs that overlap": ("--sqlite-claim", "ledger"),
    "a pod that is killed too soon": STORE,
    "a Job that never ends": (*STORE, "--plain"),
    "an authority for nothing": (*STORE, "--redis-ca-secret", "ca"),
}


def charted(values: dict[str, Any]) -> dict[str, Any]:
    """Return the workload that the agent's chart makes."""
    rendered = charts.render(charts.AGENT, {"holdfast": values}, release="agent")
    (workload,) = [one for one in rendered if one["kind"] != "ConfigMap"]
    return workload


def bare(values: dict[str, Any]) -> dict[str, Any]:
    """Return the workload of these values as it was before anybody thought of a sidecar."""
    told = {"kind": "Deployment", "replicas": 1, "strategy": "RollingUpdate", **values.get("workload", {})}
    workload = charted({"workload": told})
    spec = charts.pod_of(workload)["spec"]
    for field in ("initContainers", "volumes", "terminationGracePeriodSeconds"):
        del spec[field]
    if grace := values.get("terminationGracePeriodSeconds"):
        spec["terminationGracePeriodSeconds"] = grace
    charts.pod_of(workload)["metadata"].pop("annotations")
    if told["kind"] == "Job":
        workload["spec"]["parallelism"] = told["replicas"]
    return workload


def injected(workload: dict[str, Any], *flags: str) -> Result:
    """Run the command on a manifest of one workload."""
    name = ("--policies-config-map", "agent-holdfast-policies")
    return CliRunner().invoke(
        main, ["inject", "-f", "-", "--upstream", "http://tools:9000", *name, *flags], input=json.dumps(workload)
    )


@pytest.mark.parametrize("name", ALIKE)
def test_same_wishes_make_the_same_pod(name: str) -> None:
    """Containers, volumes and grace are equal, field by field."""
    ran = injected(bare(GOOD[name]), *ALIKE[name])
    assert ran.exit_code == 0, ran.output
    (found,) = charts.documents(ran.stdout)
    charts.check([found])
    mine, theirs = (charts.pod_of(workload)["spec"] for workload in (found, charted(GOOD[name])))
    assert charts.container_of({"spec": mine}) == charts.container_of({"spec": theirs})
    for field in ("initContainers", "containers", "volumes"):
        assert (mine.get(field) or []) == (theirs.get(field) or []), field
    assert mine["terminationGracePeriodSeconds"] == theirs["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", REFUSED)
def test_same_contradictions_are_refused_in_the_same_words(name: str) -> None:
    """The command ends with 1 and prints nothing to apply."""
    values, told = BAD[name]
    ran = injected(bare(values), *REFUSED[name])
    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert [line.partition(": ")[2] for line in ran.stderr.splitlines()] == told


def test_policies_have_the_same_checksum_and_ask_for_the_same_grace(tmp_path: Path) -> None:
    """Whoever moves from one to the other rolls no pod for it."""
    shipped = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.yaml")}
    texts = {**shipped, **charts.values_of(charts.AGENT / "values.yaml")["holdfast"]["policies"]["files"]}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    ran = injected(bare({}), *STORE, "--policies", str(tmp_path), "--longest-upstream", "95s")
    (found, policies) = charts.documents(ran.stdout)
    charted_pod = charts.pod_of(charted({"policies": {"files": shipped}, "longestUpstreamSeconds": 95}))
    pod = charts.pod_of(found)
    assert pod["metadata"]["annotations"] == charted_pod["metadata"]["annotations"]
    assert charts.container_of(pod) == charts.container_of(charted_pod)
    assert policies["metadata"]["name"] == "agent-holdfast-policies"
    assert {name: text.strip() for name, text in policies["data"].items()} == {
        name: text.strip() for name, text in texts.items()
    }
