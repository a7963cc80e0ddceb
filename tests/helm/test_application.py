"""The application chart: the coordinator with the sidecar beside it, as a platform team would have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import helm_python
import pytest

from cli.coordinator import coordinator
from cli.proxy import proxy
from tests.helm import charts
from tests.tracked import ROOT

MATRIX = sorted((charts.APPLICATION / "ci").glob("*-values.yaml"))
LEAST = charts.values_of(charts.APPLICATION / "ci/redis-values.yaml")


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return values with others over them, map by map."""
    both = {name: merged(base[name], over[name]) for name in base.keys() & over.keys() if isinstance(over[name], dict)}
    return {**base, **over, **both}


def rendered(**over: Any) -> list[dict[str, Any]]:
    """Return what the least values make, with some over them."""
    return charts.render(charts.APPLICATION, merged(LEAST, over))


def deployed(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the pod."""
    return charts.pod_of(charts.only(objects, "Deployment"))


@pytest.mark.parametrize("path", MATRIX, ids=lambda path: path.stem)
def test_values_of_the_matrix_render_what_kubernetes_takes(path: Path) -> None:
    """No unknown field, nothing missing, and no kind that nobody has a schema for or listed."""
    charts.check(charts.render(charts.APPLICATION, charts.values_of(path)))


@pytest.mark.parametrize("path", MATRIX, ids=lambda path: path.stem)
def test_pod_meets_the_restricted_standard(path: Path) -> None:
    """Neither container is root, gains rights, or writes to its root; the pod has no token of Kubernetes."""
    pod = deployed(charts.render(charts.APPLICATION, charts.values_of(path)))
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    for name in ("holdfast", "coordinator"):
        context = charts.container_of(pod, name)["securityContext"]
        assert (context["runAsNonRoot"], context["readOnlyRootFilesystem"]) == (True, True)
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    kinds = {kind for volume in pod["spec"]["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "projected", "persistentVolumeClaim"}


@pytest.mark.parametrize("path", MATRIX, ids=lambda path: path.stem)
def test_every_mount_has_its_volume(path: Path) -> None:
    """And every volume somebody who mounts it."""
    pod = deployed(charts.render(charts.APPLICATION, charts.values_of(path)))
    mounted = {
        mount["name"]
        for name in ("holdfast", "coordinator")
        for mount in charts.container_of(pod, name)["volumeMounts"]
    }
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_coordinator_calls_tools_through_the_sidecar_of_its_own_pod() -> None:
    """Under the port that the sidecar listens on, by the same policies, and with the same store."""
    pod = deployed(rendered(holdfast={"ports": {"data": 8200}}))
    sidecar, coordinator = (charts.container_of(pod, name) for name in ("holdfast", "coordinator"))
    assert (
        charts.argument(coordinator, "proxy")
        == f"http://{charts.argument(sidecar, 'listen')}"
        == "http://127.0.0.1:8200"
    )
    assert charts.argument(coordinator, "policies") == charts.argument(sidecar, "policies")
    assert coordinator["env"] == sidecar["env"]
    assert coordinator["image"] == sidecar["image"]


def test_coordinator_and_sidecar_are_traced_alike() -> None:
    """One collector for both, by the values that they share; what is secret comes from a Secret."""
    everything = charts.values_of(charts.APPLICATION / "ci/everything-values.yaml")
    pod = deployed(charts.render(charts.APPLICATION, everything))
    told = [
        [one for one in charts.container_of(pod, name)["env"] if one["name"] != "HOLDFAST_STORE"]
        for name in ("holdfast", "coordinator")
    ]
    assert told[0] == told[1]
    assert [one["name"] for one in told[0]] == [
        "HOLDFAST_TRACING", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ]  # fmt: skip
    assert "valueFrom" in told[0][-1]


def test_sqlite_files_of_the_two_are_two() -> None:
    """A SQLite file is a ledger or a coordinator's store, never both."""
    pod = deployed(charts.render(charts.APPLICATION, charts.values_of(charts.APPLICATION / "ci/sqlite-values.yaml")))
    urls = {charts.container_of(pod, name)["env"][0]["value"] for name in ("holdfast", "coordinator")}
    assert urls == {"sqlite:///var/lib/holdfast/holdfast.db", "sqlite:///var/lib/holdfast/coordinator.db"}


def test_service_network_and_probes_mean_the_port_that_the_coordinator_listens_on() -> None:
    """One value moves them all; the name of the port is what they share."""
    objects = rendered(coordinator={"port": 9110})
    container = charts.container_of(deployed(objects), "coordinator")
    assert charts.argument(container, "listen") == "0.0.0.0:9110"
    assert container["ports"] == [{"name": "api", "containerPort": 9110, "protocol": "TCP"}]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/startupz", "api"),
        ("/livez", "api"),
        ("/readyz", "api"),
    ]
    assert charts.only(objects, "Service")["spec"]["ports"][0]["targetPort"] == "api"
    assert charts.only(objects, "NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"port": "api", "protocol": "TCP"}]


def test_everything_selects_the_pods_that_are_made() -> None:
    """Deployment, Service, disruption budget, network policy and monitor name labels that the pod has."""
    objects = charts.render(charts.APPLICATION, charts.values_of(charts.APPLICATION / "ci/everything-values.yaml"))
    labels = deployed(objects)["metadata"]["labels"].items()
    assert charts.only(objects, "Service")["spec"]["selector"].items() <= labels
    assert charts.only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        assert charts.only(objects, kind)["spec"]["selector"]["matchLabels"].items() <= labels
    target = charts.only(objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == charts.only(objects, "Deployment")["metadata"]["name"]


def test_autoscaler_alone_says_how_many() -> None:
    """A number in the Deployment would undo the autoscaler's at each upgrade."""
    assert charts.only(rendered(), "Deployment")["spec"]["replicas"] == 2
    assert "replicas" not in charts.only(rendered(autoscaling={"enabled": True}), "Deployment")["spec"]


def test_shipped_policies_are_what_the_project_ships() -> None:
    """All of them, to the letter, unless the values have some of their own."""
    shipped = {path.name: path.read_text().strip() for path in (ROOT / "policies").glob("*.yaml")}
    data = charts.only(rendered(), "ConfigMap")["data"]
    assert {name: text.strip() for name, text in data.items()} == shipped
    own = charts.only(rendered(holdfast={"policies": {"files": {"act.yaml": "tool: act"}}}), "ConfigMap")["data"]
    assert list(own) == ["act.yaml"]


SQLITE = {"kind": "sqlite", "sqlite": {"existingClaim": "ledger"}}


@pytest.mark.parametrize(
    "over", [{"coordinator": {"replicas": 3}}, {"autoscaling": {"enabled": True, "maxReplicas": 3}}]
)
def test_several_coordinators_without_a_shared_store_fail_the_render(over: dict[str, Any]) -> None:
    """Also where only the autoscaler would make them."""
    values = merged(LEAST, {**over, "holdfast": {"store": SQLITE}})
    values["coordinator"]["strategy"] = "Recreate"
    told = charts.refusal(charts.APPLICATION, values)
    assert told[0] == (
        "3 coordinators whose proxies share no store: they would run each other's calls again, and submit to each "
        "other's runs; use Redis, or one coordinator"
    )


def test_least_that_is_missing_is_said_at_once() -> None:
    """The chart as it comes starts nothing, and says what it needs: its own and the library's."""
    assert charts.refusal(charts.APPLICATION, {}) == [
        "coordinator.assistants.url is missing: the API that keeps threads and runs",
        "coordinator.tokenSecret.name is missing: others can reach the coordinator, so it asks for a token",
        "upstream is missing: where the tools are, such as http://tools:9000",
        "the store is missing: Redis needs addresses, or a Secret with its URL",
    ]


@pytest.mark.parametrize(
    "over", [{"coordinator": {"replica": 3}}, {"holdfast": {"upstreams": "http://tools"}}, {"coordinater": {}}]
)
def test_misspelt_value_fails_the_render(over: dict[str, Any]) -> None:
    """Of the chart or of the library in it."""
    with pytest.raises(helm_python.HelmValuesError, match="additional properties"):
        rendered(**over)


@pytest.mark.parametrize("path", [charts.APPLICATION, charts.LIBRARY], ids=lambda path: path.name)
def test_helm_finds_nothing_to_say(path: Path) -> None:
    """`helm lint` has no error and no warning; that the chart has no icon is none."""
    values = LEAST if path == charts.APPLICATION else None
    report = helm_python.lint(path, values, strict=True)
    assert [one for one in report["messages"] if one["severity"] > 1] == []


def test_packaged_chart_has_its_library_and_its_policies_in_it(tmp_path: Path) -> None:
    """The links of the checkout are files in the archive, so that it can be installed from anywhere."""
    archive = helm_python.package(charts.APPLICATION, destination=tmp_path)
    with helm_python.Chart.load(archive) as packaged:
        files = {file["name"] for file in packaged.files}
        assert {f"policies/{path.name}" for path in (ROOT / "policies").glob("*.yaml")} <= files
        linked = charts.chart(charts.APPLICATION)
        assert packaged.render(LEAST, name="demo") == linked.render(LEAST, name="demo")


def test_notes_tell_the_next_step() -> None:
    """How to wait, to start a turn, and to look; and that examples are examples."""
    notes = charts.chart(charts.APPLICATION).render(LEAST, name="demo", namespace="agents")[
        "holdfast/templates/NOTES.txt"
    ]
    assert "kubectl -n agents rollout status deployment/demo-coordinator" in notes
    assert "These are the shipped example policies." in notes


@pytest.mark.parametrize("path", MATRIX, ids=lambda path: path.stem)
def test_flags_are_those_that_the_commands_have(path: Path) -> None:
    """Whatever is turned on, no container is started with a flag that its command does not know."""
    pod = deployed(charts.render(charts.APPLICATION, charts.values_of(path)))
    for name, command in (("holdfast", proxy), ("coordinator", coordinator)):
        known = {flag for option in command.params if isinstance(option, click.Option) for flag in option.opts}
        first, *arguments = charts.container_of(pod, name)["args"]
        assert first == command.name
        assert {argument.partition("=")[0] for argument in arguments} <= known
