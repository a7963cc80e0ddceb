"""Kubernetes objects with pods in them: what they make, and the sidecar put into their pod.

Objects are the mappings of whoever read them. They are changed in place, and only where something is to be different,
so that comments and the order of what is there stay.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, Final

from cli.injection.contradictions import Workload
from cli.injection.sidecar import CHECKSUM, NAME, VOLUMES, Sidecar, container, pod_annotations, pod_volumes

Object = MutableMapping[str, Any]

TEMPLATES: Final = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


def things_of(document: Any) -> list[Any]:
    """Return the objects of a document: itself, or the items of a List."""
    if isinstance(document, MutableMapping) and document.get("kind") == "List":
        return list(document.get("items") or [])
    return [document]


def pod_of(thing: Any) -> Object | None:
    """Return the pod of an object (`metadata`, `spec`), or None for one that makes none."""
    if not isinstance(thing, MutableMapping) or thing.get("kind") not in TEMPLATES:
        return None
    pod: Any = thing
    for name in TEMPLATES[thing["kind"]]:
        pod = pod.get(name) if isinstance(pod, MutableMapping) else None
    if isinstance(pod, MutableMapping) and isinstance(pod.get("spec"), MutableMapping):
        return pod
    return None


def workload_of(thing: Object, everything: Iterable[Any]) -> Workload:
    """Return what an object makes; an autoscaler among `everything` that scales it says how many."""
    spec, kind = thing["spec"], thing["kind"]
    name = str((thing.get("metadata") or {}).get("name", ""))
    strategy, replicas = "", spec.get("replicas", 1)
    match kind:
        case "Deployment":
            strategy = (spec.get("strategy") or {}).get("type", "RollingUpdate")
        case "CronJob":
            strategy = spec.get("concurrencyPolicy", "Allow")
            replicas = spec["jobTemplate"]["spec"].get("parallelism", 1)
        case "Job":
            replicas = spec.get("parallelism", 1)
        case _:
            pass
    most = max([int(replicas), *(_most(other) for other in everything if _scales(other, kind, name))])
    grace_s = int((pod_of(thing) or {"spec": {}})["spec"].get("terminationGracePeriodSeconds") or 0)
    return Workload(kind, name, most, str(strategy), grace_s)


def inject(pod: Object, sidecar: Sidecar, grace_s: int) -> None:
    """Put the sidecar into a pod, in place; one that is there already becomes this one."""
    spec = pod["spec"]
    wanted = container(sidecar, grace_s)
    here, there = ("initContainers", "containers") if sidecar.native else ("containers", "initContainers")
    _replace(spec, there, {NAME}, [])
    _replace(spec, here, {NAME}, [wanted], first=sidecar.native)
    _replace(spec, "volumes", set(VOLUMES), pod_volumes(sidecar))
    if spec.get("terminationGracePeriodSeconds") != grace_s:
        spec["terminationGracePeriodSeconds"] = grace_s
    _annotate(pod, pod_annotations(sidecar))


def _replace(spec: Object, field: str, ours: set[str], wanted: list[dict[str, Any]], *, first: bool = False) -> None:
    """Make the items of a list that are ours by name those that are wanted, each where it was."""
    items = spec.get(field)
    if items is None:
        if not wanted:
            return
        spec[field] = items = []
    for index in range(len(items) - 1, -1, -1):
        if items[index].get("name") in ours - {one["name"] for one in wanted}:
            del items[index]
    places = {item.get("name"): index for index, item in enumerate(items)}
    for number, one in enumerate(wanted):
        if one["name"] not in places:
            items.insert(number, one) if first else items.append(one)
        elif items[places[one["name"]]] != one:
            items[places[one["name"]]] = one
    if not items:
        del spec[field]


def _annotate(pod: Object, wanted: dict[str, str]) -> None:
    metadata = pod.get("metadata")
    there = (metadata.get("annotations") or {}) if metadata else {}
    if {name: value for name, value in there.items() if name == CHECKSUM} == wanted:
        return
    if not wanted:
        del there[CHECKSUM]
        return
    if metadata is None:
        pod["metadata"] = metadata = {}
    if not there:
        metadata["annotations"] = there = {}
    there.update(wanted)


def _scales(thing: Any, kind: str, name: str) -> bool:
    if not isinstance(thing, MutableMapping) or thing.get("kind") != "HorizontalPodAutoscaler":
        return False
    target = thing["spec"].get("scaleTargetRef") or {}
    return bool((target.get("kind"), target.get("name")) == (kind, name))


def _most(autoscaler: Object) -> int:
    return int(autoscaler["spec"]["maxReplicas"])
