"""A folder of YAML becomes a policy set, or every fault in it at once.

Read are `*.yaml` and `*.yml` directly in the folder (not below it, not hidden ones), each with one or more documents.
Cases (`kind: PolicyTest`) are left aside: `policies.case_files` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from policies.case_files import is_policy_test
from policies.checks import collisions, contradictions
from policies.document import read_documents
from policies.faults import Fault, Place, PolicyErrors
from policies.fields import DEFAULTS, LEAVES
from policies.folders import read_folder
from policies.kinds import BROKEN
from policies.matcher import PolicySet
from policies.merge import BUILT_IN, Settings, build, layered
from policies.model import UNMATCHED
from policies.reading import Part, read_part


class Shown(Struct, frozen=True):
    """One field of a policy for a reader: its value as YAML would write it, and where that comes from."""

    field: str
    value: Any
    where: str


class Loaded(Struct, frozen=True):
    """A policy set, and the settings that made each of its policies, by its label (`_unmatched` among them)."""

    policies: PolicySet
    settings: Mapping[str, Settings]

    def provenance(self, label: str) -> dict[str, str]:
        """Return where each leaf field comes from: `file:line`, or `built in`."""
        return {field: setting.where for field, setting in self.settings[label].items()}

    def shown(self, label: str) -> list[Shown]:
        """Return a policy's leaf fields, in the order of the documentation."""
        settings = self.settings[label]
        return [
            Shown(path, leaf.kind.show(settings[path].value), settings[path].where) for path, leaf in LEAVES.items()
        ]


def built_in() -> Loaded:
    """Return what is in force without a folder: every tool is unmatched."""
    return Loaded(PolicySet((), build(BUILT_IN)), {UNMATCHED: BUILT_IN})


def load_folder(folder: str | os.PathLike[str], generation: int = 1) -> Loaded:
    """Load the policies in `folder`. Raises `PolicyErrors` with everything that is wrong with them."""
    files, faults = read_folder(Path(folder))
    parts: list[Part] = []
    for file, text in files.items():
        documents, wrong = read_documents(text, file)
        faults.extend(wrong)
        for node in documents:
            if is_policy_test(node):
                continue
            part, wrong = read_part(node)
            faults.extend(wrong)
            if part is not None:
                parts.append(part)
    if not parts and not faults:
        remedy = "Put a policy into it; what no policy names is guarded by the built-in defaults."
        faults.append(Fault(Place(str(folder)), "", "no policy in any *.yaml or *.yml file of this folder", remedy))
    return _assemble(parts, faults, generation)


def _assemble(parts: list[Part], faults: list[Fault], generation: int) -> Loaded:
    defaults: Settings = {}
    shared = [part for part in parts if part.kind == DEFAULTS]
    for index, part in enumerate(shared):
        if index:
            message = f"a second {DEFAULTS}; the first is at {shared[0].place}"
            faults.append(Fault(part.place, "kind", message, "Keep one for the folder."))
        else:
            defaults = part.settings
    tools = [(layered(defaults, part.settings), part.settings) for part in parts if part.kind != DEFAULTS]
    unmatched = layered(defaults, {})
    for merged, own in (*tools, (unmatched, {})):
        faults.extend(contradictions(merged, own))
    faults.extend(collisions([pair for pair in tools if "tool" in pair[1]]))
    if faults:
        raise PolicyErrors(faults)
    assert all(setting.value is not BROKEN for merged, _ in tools for setting in merged.values())
    policies = [build(merged) for merged, _ in tools]
    settings = {policy.label: merged for policy, (merged, _) in zip(policies, tools, strict=True)}
    return Loaded(PolicySet(policies, build(unmatched), generation), {**settings, UNMATCHED: unmatched})
