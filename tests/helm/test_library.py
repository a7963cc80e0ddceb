"""The library chart puts a sidecar into somebody's pod: one that Kubernetes takes, that may do no more than it needs,
and that is stopped last."""

from __future__ import annotations

import tomllib
from typing import Any

import helm_python
import pytest

from ledger.stores.redis_url import parse
from tests.helm import charts
from tests.helm.matrix import BAD, GOOD
from tests.tracked import ROOT


def pod(**values: Any) -> dict[str, Any]:
    """Return the agent's pod, with these values for the sidecar."""
    rendered = charts.render(charts.AGENT, {"holdfast": values})
    (workload,) = [one for one in rendered if one["kind"] != "ConfigMap"]
    return charts.pod_of(workload)


@pytest.mark.parametrize("name", GOOD)
def test_sensible_values_render_what_kubernetes_takes(name: str) -> None:
    """Over the whole matrix: no unknown field, nothing missing, by the schemas of the oldest and the newest version."""
    charts.check(charts.render(charts.AGENT, {"holdfast": GOOD[name]}))


@pytest.mark.parametrize("name", BAD)
def test_contradiction_fails_the_render_in_these_words(name: str) -> None:
    """All that is wrong is said at once, and nothing is rendered."""
    values, told = BAD[name]
    assert charts.refusal(charts.AGENT, {"holdfast": values}) == told


def test_misspelt_value_fails_the_render() -> None:
    """The library's schema holds for the values of the chart that includes it."""
    with pytest.raises(helm_python.HelmValuesError, match="nativeSidecars"):
        charts.render(charts.AGENT, {"holdfast": {"nativeSidecars": True}})


def test_native_sidecar_on_an_old_cluster_fails_the_render(capfd: pytest.CaptureFixture[str]) -> None:
    """Kubernetes before 1.29 would take it for an init container that never ends. Only Helm's linter lets a test choose
    the version; it says on stderr what would fail."""
    told = "nativeSidecar needs Kubernetes 1.29 or newer, and this is v1.28.4: set nativeSidecar to false"
    helm_python.lint(charts.AGENT, kube_version="v1.28.4")
    assert told in capfd.readouterr().err
    helm_python.lint(charts.AGENT, kube_version="v1.29.0")
    helm_python.lint(charts.AGENT, {"holdfast": {"nativeSidecar": False}}, kube_version="v1.28.4")
    assert "nativeSidecar needs" not in capfd.readouterr().err


@pytest.mark.parametrize("name", GOOD)
def test_sidecar_may_do_no_more_than_it_needs(name: str) -> None:
    """It meets the restricted Pod Security Standard, and nobody can write to its root."""
    context = charts.container_of(pod(**GOOD[name]))["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_spans_go_where_the_values_say() -> None:
    """The switch is ours, the rest are the standard variables; without an endpoint there is none of it."""
    (store,) = charts.container_of(pod())["env"]
    more = [{"name": "OTEL_SERVICE_NAME", "value": "agent-tools"}]
    traced = charts.container_of(pod(tracing={"endpoint": "http://collector:4318", "env": more}))["env"]
    assert traced == [
        store,
        {"name": "HOLDFAST_TRACING", "value": "otlp"},
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"},
        *more,
    ]


@pytest.mark.parametrize(
    "tracing",
    [
        {"env": [{"name": "OTEL_SERVICE_NAME", "value": "a"}]},
        {"endpoint": "http://c:4318", "env": [{"name": "HOLDFAST_STORE", "value": "memory://"}]},
        {"endpoint": "collector:4318"},
    ],
    ids=["without an endpoint", "another variable", "no URL"],
)
def test_tracing_that_would_not_trace_fails_the_render(tracing: dict[str, Any]) -> None:
    """Variables that nobody would read, or that are not tracing's, and an address that is no URL."""
    with pytest.raises(helm_python.HelmValuesError, match="tracing"):
        charts.render(charts.AGENT, {"holdfast": {"tracing": tracing}})


def test_native_sidecar_is_an_init_container_that_goes_on() -> None:
    """It starts before the containers of the pod and is stopped after them."""
    spec = pod()["spec"]
    assert [(one["name"], one["restartPolicy"]) for one in spec["initContainers"]] == [("holdfast", "Always")]
    assert [one["name"] for one in spec["containers"]] == ["agent"]


def test_plain_sidecar_is_a_container_like_others() -> None:
    """For clusters that know no native ones."""
    spec = pod(nativeSidecar=False)["spec"]
    assert not spec["initContainers"]
    assert [(one["name"], "restartPolicy" in one) for one in spec["containers"]] == [
        ("agent", False),
        ("holdfast", False),
    ]


def test_probes_ask_the_health_port_for_what_each_is_about() -> None:
    """Started, alive and ready are three questions; only a start is waited for as long as a store may be away."""
    container = charts.container_of(pod(startSeconds=77, ports={"health": 9102}))
    (port,) = container["ports"]
    assert (port["name"], port["containerPort"]) == ("holdfast-health", 9102)
    assert charts.argument(container, "health") == "0.0.0.0:9102"
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in probes.values()} == {"holdfast-health"}
    assert [probe["path"] for probe in probes.values()] == ["/startupz", "/livez", "/readyz"]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 77


def test_data_and_admin_ports_are_the_pods_own() -> None:
    """Whoever is outside reaches probes and metrics, nothing else."""
    container = charts.container_of(pod(ports={"data": 8200, "admin": 8201}))
    assert charts.argument(container, "listen") == "127.0.0.1:8200"
    assert charts.argument(container, "admin") == "127.0.0.1:8201"


def test_native_sidecar_is_given_what_the_app_leaves_of_the_grace() -> None:
    """The app stops first; then forwards get longer than the longest takes, and 20 s are left to write down."""
    found = pod(appDrainSeconds=40, longestUpstreamSeconds=100)
    assert found["spec"]["terminationGracePeriodSeconds"] == 180
    container = charts.container_of(found)
    assert (charts.argument(container, "grace"), charts.argument(container, "drain-accept")) == ("120s", "0s")


def test_plain_sidecar_takes_calls_while_the_app_stops() -> None:
    """Both are told to stop at once, so new calls go on for as long as the app may take, and forwards begun last still
    end."""
    found = pod(appDrainSeconds=40, longestUpstreamSeconds=100, nativeSidecar=False)
    assert found["spec"]["terminationGracePeriodSeconds"] == 180
    container = charts.container_of(found)
    assert (charts.argument(container, "grace"), charts.argument(container, "drain-accept")) == ("160s", "40s")


@pytest.mark.parametrize(
    ("told", "longest"), [("2m", 120), ("95s", 95), ("100500ms", 101), ("1h", 3_600), ("10s", 90)], ids=str
)
def test_longest_upstream_of_the_policies_counts(told: str, longest: int) -> None:
    """A policy that the chart can see asks for its time itself, in whatever unit."""
    text = f"tool: first\n---\ntool: act\ntimeouts: {{upstream: {told}}}\n"
    found = pod(policies={"files": {"act.yaml": text}})
    assert found["spec"]["terminationGracePeriodSeconds"] == 30 + longest + 40


def test_changed_policy_rolls_the_pods_unless_it_is_picked_up_live() -> None:
    """The checksum of all policies is an annotation of the pod."""
    one, other = ({"files": {"act.yaml": f"tool: {name}"}} for name in ("one", "other"))
    rolled = [pod(policies=policies)["metadata"]["annotations"] for policies in (one, other, one)]
    assert rolled[0] == rolled[2] != rolled[1]
    assert not pod(policies={**one, "rollout": False})["metadata"]["annotations"]


@pytest.mark.parametrize("name", [name for name in GOOD if "by a Secret" not in name])
def test_url_of_the_store_is_one_that_holdfast_reads(name: str) -> None:
    """Whichever topology it is; no password is in it."""
    variable, *_ = charts.container_of(pod(**GOOD[name]))["env"]
    assert variable["name"] == "HOLDFAST_STORE"
    if not variable["value"].startswith("sqlite:///"):
        assert parse(variable["value"]).credentials.password is None


def test_password_is_a_file_that_a_rotated_one_replaces() -> None:
    """The password stands in no environment and on no command line."""
    found = pod(**GOOD["Sentinels"])
    url = parse(charts.container_of(found)["env"][0]["value"])
    assert url.credentials.password_file == "/etc/holdfast/secrets/redis-password"
    assert url.sentinel_credentials.password_file == "/etc/holdfast/secrets/sentinel-password"
    (volume,) = [one for one in found["spec"]["volumes"] if one["name"] == "holdfast-secrets"]
    assert [source["secret"] for source in volume["projected"]["sources"]] == [
        {"name": "redis-ca", "items": [{"key": "ca.crt", "path": "redis-ca"}]},
        {"name": "redis", "items": [{"key": "password", "path": "redis-password"}]},
        {"name": "sentinel", "items": [{"key": "word", "path": "sentinel-password"}]},
    ]


def test_image_is_the_version_that_the_chart_came_with() -> None:
    """Unless told otherwise: chart and program were tested together."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert charts.container_of(pod())["image"] == f"holdfast:{version}"
    assert charts.values_of(charts.LIBRARY / "Chart.yaml")["appVersion"] == version
