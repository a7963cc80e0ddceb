"""Reading a folder of YAML files: all of one moment, bounded, and without waiting for anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from policies.faults import Fault, Place

FILE_BYTES_MAX: Final = 256 * 1024
"""About 150 policies, and two seconds of reading."""

FILES_MAX: Final = 1000
SUFFIXES: Final = (".yaml", ".yml")
READINGS_MAX: Final = 5
"""How often a folder that changes while it is read is read again."""

Snapshot = tuple[tuple[str, int, int, int], ...]


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


def read_folder(folder: Path) -> tuple[dict[str, str], list[Fault]]:
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
            text = read_file(folder / name)
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


def read_file(path: Path) -> str | Fault:
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
