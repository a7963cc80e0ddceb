"""A folder of YAML becomes a policy set, or every fault in it at once.

Read are `*.yaml` and `*.yml` directly in the folder (not below it, not hidden ones), each with one or more documents.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from policies.checks import collisions, contradictions
from policies.document import read_documents
from policies.faults import Fault, Place, PolicyErrors
from policies.fields import DEFAULTS, LEAVES
from policies.kinds import BROKEN
from policies.matcher import PolicySet
from policies.merge import BUILT_IN, Settings, build, layered
from policies.model import UNMATCHED
from policies.reading import Part, read_part

FILE_BYTES_MAX: Final = 256 * 1024
"""About 150 policies, and two seconds of reading."""

FILES_MAX: Final = 1000
SUFFIXES: Final = (".yaml", ".yml")
READINGS_MAX: Final = 5
"""How often a folder that changes while it is read is read again."""

Snapshot = tuple[tuple[str, int, int, int], ...]


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
    files, faults = _read_folder(Path(folder))
    parts: list[Part] = []
    for file, text in files.items():
        documents, wrong = read_documents(text, file)
        faults.extend(wrong)
        for node in documents:
            part, wrong = read_part(node)
            faults.extend(wrong)
            if part is not None:
                parts.append(part)
    if not parts and not faults:
        remedy = "Put a policy into it; what no policy names is guarded by the built-in defaults."
        faults.append(_folder_fault(Path(folder), "no policy in any *.yaml or *.yml file of this folder", remedy))
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


def snapshot(folder: Path) -> Snapshot:
    """Return what tells one content of a folder from another without reading it. Raises `OSError`."""
    seen = []
    for name in sorted(path.name for path in folder.iterdir()):
        if not name.startswith(".") and name.endswith(SUFFIXES):
            try:
                found = (folder / name).stat()
            except FileNotFoundError:
                found = (folder / name).lstat()
            seen.append((name, found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(seen)


def _read_folder(folder: Path) -> tuple[dict[str, str], list[Fault]]:
    """Read all files of one moment: a folder that is swapped meanwhile is read again, never mixed."""
    for _ in range(READINGS_MAX):
        try:
            before = snapshot(folder)
        except OSError as error:
            return {}, [_unreadable(Path(folder), error)]
        if len(before) > FILES_MAX:
            return {}, [_folder_fault(folder, f"more than {FILES_MAX} policy files", "Point to the right folder.")]
        files: dict[str, str] = {}
        faults: list[Fault] = []
        for name, *_rest in before:
            text = _read_file(folder / name)
            if isinstance(text, Fault):
                faults.append(text)
            else:
                files[str(folder / name)] = text
        try:
            if snapshot(folder) == before:
                return files, faults
        except OSError as error:
            return {}, [_unreadable(folder, error)]
    return {}, [_folder_fault(folder, "changed each time it was read", "Write the files once, then load them.")]


def _read_file(path: Path) -> str | Fault:
    """Return a file's text, or why it has none."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:  # Path.open has no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return _folder_fault(path, "not a regular file", "Remove it from the folder.")
            data: bytes = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        return _unreadable(path, error)
    if len(data) > FILE_BYTES_MAX:
        return _folder_fault(path, f"larger than {FILE_BYTES_MAX // 1024} KiB", "Split it into several files.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        place = Place(str(path), before.count(b"\n") + 1, column)
        return Fault(place, "", f"not UTF-8: octet 0x{data[error.start]:02X}", "Save the file as UTF-8.")


def _without_waiting(path: str, flags: int) -> int:
    """Open without blocking: a FIFO in the folder would otherwise wait for a writer for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _folder_fault(path: Path, message: str, remedy: str) -> Fault:
    return Fault(Place(str(path)), "", message, remedy)


def _unreadable(path: Path, error: OSError) -> Fault:
    why = error.strerror or type(error).__name__
    return _folder_fault(path, f"cannot be read: {why}", "Check that it exists and that this user may read it.")
