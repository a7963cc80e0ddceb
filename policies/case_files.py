"""The cases of a folder of policies: `kind: PolicyTest` documents beside the policies, or in a folder `tests` below."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from policies.case_fields import POLICY_TEST, TEST_FIELDS, cases_of
from policies.cases import Case
from policies.document import Mapping, Node, Scalar, read_documents
from policies.faults import Fault, Place, PolicyErrors
from policies.fields import API_VERSION
from policies.folders import FILES_MAX, SUFFIXES, read_file
from policies.kinds import BROKEN
from policies.map_kinds import record

TESTS: Final = "tests"
"""The folder below the policies that their cases may lie in; policies are not read from it."""


class Suite(Struct, frozen=True):
    """Cases, and the folder of the policies that they are for."""

    folder: Path
    cases: tuple[Case, ...]


def is_policy_test(node: Node) -> bool:
    """Say whether a document holds cases, whatever else may be wrong with it."""
    if not isinstance(node, Mapping) or "kind" not in node.entries:
        return False
    kind = node.entries["kind"][1]
    return isinstance(kind, Scalar) and kind.text == POLICY_TEST


def load_suite(path: str | os.PathLike[str]) -> Suite:
    """Load the cases of a folder of policies, or of one file: then the policies are those beside it, or above it if it
    lies in a folder `tests`. Raises `PolicyErrors` with everything that is wrong with them."""
    start = Path(path)
    if start.is_dir():
        folder, files = start, _files(start) + _files(start / TESTS)
    else:
        folder, files = start.parent.parent if start.parent.name == TESTS else start.parent, [start]
    cases: list[Case] = []
    faults: list[Fault] = []
    for file in files:
        found, wrong = _read(file)
        cases += found
        faults += wrong
    if faults:
        raise PolicyErrors(faults)
    return Suite(folder, tuple(cases))


def _files(folder: Path) -> list[Path]:
    """Return the YAML files directly in a folder; none if there is no such folder."""
    if not folder.is_dir():
        return []
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES) and not name.startswith("."))  # noqa: PTH208
    return [folder / name for name in names[:FILES_MAX]]


def _read(file: Path) -> tuple[list[Case], list[Fault]]:
    text = read_file(file)
    if isinstance(text, Fault):
        return [], [text]
    nodes, wrong = read_documents(text, str(file))
    cases: list[Case] = []
    faults: list[Fault] = []
    tests = [node for node in nodes if is_policy_test(node)]
    for node in tests:
        found, said = read_cases(node)
        cases += found
        faults += said
    return cases, faults + (wrong if tests else [])


def read_cases(node: Node) -> tuple[tuple[Case, ...], list[Fault]]:
    """Read one document with cases."""
    assert isinstance(node, Mapping)
    faults: list[Fault] = []

    def report(place: Place, path: str, message: str, remedy: str) -> None:
        faults.append(Fault(place, path.removeprefix("."), message, remedy))

    entries = {name: entry for name, entry in node.entries.items() if name not in {"apiVersion", "kind"}}
    version = node.entries.get("apiVersion")
    if version is None or not isinstance(version[1], Scalar) or version[1].text != API_VERSION:
        place = node.place if version is None else version[1].place
        report(place, "apiVersion", "missing, or not a version that can be read", f"Write {API_VERSION}.")

    def build(_: Place, found: dict[str, Any]) -> tuple[Case, ...]:
        return cases_of(found)

    cases = record(TEST_FIELDS, build, remedy="").read(Mapping(node.place, entries), report)
    return (() if cases is BROKEN else cases), faults
