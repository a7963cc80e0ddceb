"""Scripts of what goes wrong: read strictly, and drawn from repeatably, so that what found a fault finds it again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

Script = TypeVar("Script", bound=Struct)


class BadScript(ValueError):
    """A script that cannot be used; the message names the file and the field, and says what is wrong with it."""


class Range(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Seconds, drawn evenly between two bounds."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"[{self.low:g}, {self.high:g}] does not go from low to high")

    def at(self, draw: float) -> float:
        """Return the seconds that a draw between 0 and 1 stands for."""
        return self.low + draw * (self.high - self.low)


def chance(seed: int, kind: str, subject: str, count: int) -> float:
    """Return a number from 0 up to 1 that depends on nothing but these: which kind of draw it is, what it is about, and
    how often that has been asked before. The order in which requests come in cannot change it."""
    digest = hashlib.blake2b(f"{seed}:{kind}:{count}:{subject}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def load(path: Path) -> Any:
    """Return what a YAML or JSON file holds, an empty map for an empty file. Raises `BadScript` and `OSError`."""
    try:
        return YAML(typ="safe", pure=True).load(path) or {}
    except YAMLError as error:
        raise BadScript(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def convert(path: Path, found: Any, into: type[Script]) -> Script:
    """Return what was found in a file as a script. Raises `BadScript` for fields that are unknown or wrong."""
    try:
        return msgspec.convert(found, into)
    except msgspec.ValidationError as error:
        raise BadScript(f"{path}: {error}") from error
