"""Reading a folder: which files, all of one moment, and what cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from policies import folders
from policies.folders import FILE_BYTES_MAX, snapshot
from policies.loader import Loaded, load_folder
from tests.policies.conftest import refusals

Load = Callable[..., Loaded]
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\n"


def test_files_of_a_folder_are_the_yaml_ones_directly_in_it(load: Load, tmp_path: Path) -> None:
    """Not hidden ones, not other types, not those of folders below (a ConfigMap's own are hidden there)."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "..2026_03_19").mkdir()
    for name in ("sub/x.yaml", "..2026_03_19/y.yaml", ".z.yaml", "notes.txt", "schema.json", "a.yaml~"):
        (tmp_path / name).write_text("no: policy\n")
    (tmp_path / "b.yml").write_text(HEAD + "tool: b\n")
    assert [policy.tool for policy in load(a=HEAD + "tool: a\n").policies.policies] == ["a", "b"]


def test_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    """A missing folder, or a file where a folder should be."""
    (tmp_path / "file").write_text("")
    assert refusals(tmp_path / "gone")[0].startswith("P:1:1: cannot be read: No such file or directory.")
    assert refusals(tmp_path / "file")[0].startswith("P:1:1: cannot be read: Not a directory.")


def test_file_that_cannot_be_read_is_told_beside_the_others(tmp_path: Path) -> None:
    """A broken link, a pipe (which must not be waited for), a folder, one too large, one that is not UTF-8."""
    (tmp_path / "a.yaml").symlink_to("gone")
    os.mkfifo(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").mkdir()
    (tmp_path / "d.yaml").write_text("#" * (FILE_BYTES_MAX + 1))
    (tmp_path / "e.yaml").write_bytes("tool: t\n# ü: ".encode() + b"\xff\n")
    (tmp_path / "f.yaml").write_bytes("tool: x".encode("utf-16"))
    assert refusals(tmp_path) == [
        "P/a.yaml:1:1: cannot be read: No such file or directory. Check that it exists and that this user may read it.",
        "P/b.yaml:1:1: not a regular file. Remove it from the folder.",
        "P/c.yaml:1:1: cannot be read: Is a directory. Check that it exists and that this user may read it.",
        "P/d.yaml:1:1: larger than 256 KiB. Split it into several files.",
        "P/e.yaml:2:6: not UTF-8: octet 0xFF. Save the file as UTF-8.",
        "P/f.yaml:1:1: not UTF-8: octet 0xFF. Save the file as UTF-8.",
    ]


def test_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    """What an editor on another system leaves behind."""
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + (HEAD + "tool: a\n").replace("\n", "\r\n").encode())
    assert load_folder(tmp_path).policies.policies[0].tool == "a"


def test_folder_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the old files and half of the new ones is a folder that never was."""
    (tmp_path / "a.yaml").write_text(HEAD + "tool: a\nmode: enforce\n")
    (tmp_path / "b.yaml").write_text(HEAD + "tool: b\nmode: enforce\n")
    read, swaps = folders.read_file, iter([True])

    def reading(path: Path) -> object:
        text = read(path)
        if next(swaps, False):
            for name in "ab":
                (tmp_path / f"{name}.yaml").write_text(HEAD + f"tool: {name}\nmode: off\n")
        return text

    monkeypatch.setattr(folders, "read_file", reading)
    assert [policy.mode for policy in load_folder(tmp_path).policies.policies] == ["off", "off"]


def test_folder_that_never_stands_still_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading again has an end."""
    (tmp_path / "a.yaml").write_text(HEAD + "tool: a\n")
    seen = iter(range(1_000_000))
    monkeypatch.setattr(folders, "snapshot", lambda _: (("a.yaml", next(seen), 0, 0),))
    assert refusals(tmp_path)[0].startswith("P:1:1: changed each time it was read.")


def test_snapshot_follows_links(tmp_path: Path) -> None:
    """A ConfigMap's swap changes no name and no link that is listed, only what they lead to."""
    for version in "12":
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.yaml").write_text(HEAD + f"tool: a{version}\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    before = snapshot(tmp_path)
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert snapshot(tmp_path) != before
