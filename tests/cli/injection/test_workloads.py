"""What an object makes, and the sidecar put into its pod."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from msgspec.structs import replace

from cli.injection.contradictions import Workload
from cli.injection.sidecar import CHECKSUM, Secret, Sidecar
from cli.injection.workloads import inject, pod_of, things_of, workload_of

SIDECAR = Sidecar(
    image="holdfast:1", upstream="http://tools:9000", config_map="ours", store="redis://redis:6379/0",
    log_key=Secret("logs", "key"), checksum="abc",
)  # fmt: skip
PLAIN = replace(SIDECAR, native=False, log_key=None, checksum="")


def pod(**more: Any) -> dict[str, Any]:
    """Return a pod of one container."""
    return {"spec": {"containers": [{"name": "agent", "image": "agent:1"}], **more}}


def thing(kind: str, **spec: Any) -> dict[str, Any]:
    """Return an object of a kind with that pod; `job` is for the Jobs of a CronJob."""
    job, template = spec.pop("job", {}), {"template": pod()}
    inner = {"jobTemplate": {"spec": {**template, **job}}} if kind == "CronJob" else template
    return {"kind": kind, "metadata": {"name": "agent"}, "spec": {**inner, **spec}}


def scaler(name: str, most: int) -> dict[str, Any]:
    """Return an autoscaler of a Deployment."""
    target = {"kind": "Deployment", "name": name}
    return {"kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": most, "scaleTargetRef": target}}


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (thing("Deployment"), Workload("Deployment", "agent", 1, "RollingUpdate")),
        (
            thing("Deployment", replicas=3, strategy={"type": "Recreate"}),
            Workload("Deployment", "agent", 3, "Recreate"),
        ),
        (thing("StatefulSet", replicas=2), Workload("StatefulSet", "agent", 2)),
        (thing("DaemonSet"), Workload("DaemonSet", "agent")),
        (thing("Job", parallelism=4), Workload("Job", "agent", 4)),
        (thing("CronJob", job={"parallelism": 2}), Workload("CronJob", "agent", 2, "Allow")),
        (thing("CronJob", concurrencyPolicy="Forbid"), Workload("CronJob", "agent", 1, "Forbid")),
        (
            {"kind": "Pod", "metadata": {"name": "agent"}, **pod(terminationGracePeriodSeconds=7)},
            Workload("Pod", "agent", grace_s=7),
        ),
    ],
)
def test_object_says_what_it_makes(made: dict[str, Any], told: Workload) -> None:
    """With Kubernetes' own defaults where it is silent."""
    assert workload_of(made, []) == told


def test_autoscaler_says_how_many_there_can_be() -> None:
    """The one that scales this object, and no other."""
    assert workload_of(thing("Deployment", replicas=2), [scaler("agent", 6), scaler("other", 9), None]).replicas == 6


@pytest.mark.parametrize("other", [None, "text", [], {"kind": "Service", "spec": {}}, {"kind": "Deployment"}])
def test_what_makes_no_pod_is_let_alone(other: Any) -> None:
    """Whatever else is in a manifest."""
    assert pod_of(other) is None


def test_list_is_its_items() -> None:
    """As `kubectl get -o yaml` writes several objects."""
    assert things_of({"kind": "List", "items": [thing("Job"), None]}) == [thing("Job"), None]
    assert things_of({"kind": "List"}) == []
    assert things_of(None) == [None]


def test_injecting_again_changes_nothing() -> None:
    """Once, and once more."""
    once = pod()
    inject(once, SIDECAR, 160)
    again = copy.deepcopy(once)
    inject(again, SIDECAR, 160)
    assert again == once


def test_other_wishes_take_the_place_of_what_was_injected() -> None:
    """Nothing of the former sidecar stays, and what is not ours is as it was."""
    former, fresh = (
        pod(initContainers=[{"name": "migrate"}], volumes=[{"name": "cache", "emptyDir": {}}]) for _ in range(2)
    )
    inject(former, SIDECAR, 160)
    assert [one["name"] for one in former["spec"]["initContainers"]] == ["holdfast", "migrate"]
    inject(former, PLAIN, 160)
    inject(fresh, PLAIN, 160)
    assert former["spec"] == fresh["spec"]
    assert CHECKSUM not in former["metadata"]["annotations"]
    assert [one["name"] for one in former["spec"]["containers"]] == ["agent", "holdfast"]


def test_annotations_of_others_stay() -> None:
    """The checksum is one among them."""
    found = {**pod(), "metadata": {"annotations": {"team": "agents"}}}
    inject(found, SIDECAR, 160)
    assert found["metadata"]["annotations"] == {"team": "agents", CHECKSUM: "abc"}
