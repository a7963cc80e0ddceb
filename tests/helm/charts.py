"""Charts rendered without a cluster, and what comes out held against Kubernetes' own schemas."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import helm_python
from kubernetes_validate import utils as kubernetes  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from tests.tracked import ROOT

AGENT = ROOT / "tests/helm/agent"
LIBRARY = ROOT / "helm/holdfast-lib"
APPLICATION = ROOT / "helm/holdfast"

KUBERNETES = ("1.29", "1.37")
"""The oldest version that has native sidecars, and the newest whose schemas we have."""

WITHOUT_SCHEMA = {"PodMonitor", "PrometheusRule"}
"""Kinds that are not Kubernetes' own."""

kubernetes.schema_contents = functools.cache(kubernetes.schema_contents)  # it reads a megabyte anew for each object


def documents(text: str) -> list[dict[str, Any]]:
    """Return the objects of a manifest."""
    return [one for one in YAML(typ="safe", pure=True).load_all(text) if one]


def values_of(path: Path) -> dict[str, Any]:
    """Return a file of values."""
    (values,) = documents(path.read_text())
    return values


@functools.cache
def chart(path: Path) -> helm_python.Chart:
    """Return a chart; it is immutable, so one is enough for all tests."""
    return helm_python.Chart.load(path)


def render(path: Path, values: dict[str, Any] | None = None, *, release: str = "demo") -> list[dict[str, Any]]:
    """Return the objects that a chart makes of `values`. Raises `helm_python.HelmError` as Helm does."""
    files = chart(path).render(values, name=release, namespace="agents")
    return [one for name, text in sorted(files.items()) if name.endswith(".yaml") for one in documents(text)]


def refusal(path: Path, values: dict[str, Any]) -> list[str]:
    """Return the lines with which a render fails; fails itself if it does not."""
    try:
        render(path, values)
    except helm_python.HelmError as error:
        return error.detail.splitlines()[1:]
    raise AssertionError(f"{values} was rendered")


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the one object of a kind."""
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    """Return a workload's pod, with `metadata` and `spec`."""
    match workload["kind"]:
        case "Pod":
            return workload
        case "CronJob":
            template: dict[str, Any] = workload["spec"]["jobTemplate"]["spec"]["template"]
        case _:
            template = workload["spec"]["template"]
    return template


def container_of(pod: dict[str, Any], name: str = "holdfast") -> dict[str, Any]:
    """Return a container of a pod, wherever it stands."""
    spec = pod["spec"]
    everywhere = [*(spec.get("initContainers") or []), *spec["containers"]]
    (found,) = [one for one in everywhere if one["name"] == name]
    return dict(found)


def argument(container: dict[str, Any], flag: str) -> str:
    """Return what follows `--flag=` on a container's command line."""
    (found,) = [one for one in container["args"] if one.startswith(f"--{flag}=")]
    return str(found.partition("=")[2])


def check(objects: list[dict[str, Any]]) -> None:
    """Fail for an object that Kubernetes would not take, for an unknown field, and for a kind that nobody listed."""
    assert objects
    for one in objects:
        if one["kind"] not in WITHOUT_SCHEMA:
            for version in KUBERNETES:
                kubernetes.validate(one, version, strict=True)
