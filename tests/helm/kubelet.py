"""A pod's container as a process: what a kubelet would give it, and what the image's entry point makes of that.

Volumes become folders, since a test may not write to `/etc`: where a container's command line and environment name a
mount, they name the folder here. Nothing else is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cluster:
    """What is there beside the pod: the data of ConfigMaps and Secrets, and the disks of claims, by their names."""

    config_maps: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, Mapping[str, str]]
    claims: Mapping[str, Path]


@dataclass(frozen=True)
class Started:
    """What the image's entry point is started with."""

    arguments: list[str]
    environment: dict[str, str]


def prepare(pod: Mapping[str, Any], container: Mapping[str, Any], cluster: Cluster, folder: Path) -> Started:
    """Lay out the container's volumes below `folder` and return its command line and environment. Raises KeyError for
    a volume, ConfigMap, Secret, key or claim that is not there, as a kubelet would not start it."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    places = {
        mount["mountPath"]: str(_mounted(volumes[mount["name"]], cluster, folder / mount["name"]))
        for mount in container["volumeMounts"]
    }
    environment = {
        variable["name"]: variable["value"] if "value" in variable else _secret_of(variable, cluster)
        for variable in container.get("env", [])
    }

    def here(text: str) -> str:
        for path, place in places.items():
            text = re.sub(rf"{re.escape(path)}(?=[/?&]|$)", place, text)
        return text

    return Started([here(one) for one in container["args"]], {name: here(value) for name, value in environment.items()})


def _mounted(volume: Mapping[str, Any], cluster: Cluster, place: Path) -> Path:
    files: dict[str, str] = {}
    match volume:
        case {"configMap": {"name": name}}:
            files.update(cluster.config_maps[name])
        case {"projected": {"sources": sources}}:
            for source in sources:
                secret = cluster.secrets[source["secret"]["name"]]
                files |= {item["path"]: secret[item["key"]] for item in source["secret"]["items"]}
        case {"persistentVolumeClaim": {"claimName": name}}:
            return cluster.claims[name]
        case _:
            raise AssertionError(f"what is {json.dumps(volume)}?")
    written = place / "..2026_11_25"
    written.mkdir(parents=True)
    (place / "..data").symlink_to(written.name)  # what is swapped when the ConfigMap changes
    for name, text in files.items():
        (written / name).write_text(text)
        (place / name).symlink_to(f"..data/{name}")
    return place


def _secret_of(variable: Mapping[str, Any], cluster: Cluster) -> str:
    key = variable["valueFrom"]["secretKeyRef"]
    return cluster.secrets[key["name"]][key["key"]]
