"""The library versions below which Holdfast must not run, each with the fault that it keeps out.

Metadata floors are only as good as the installer: an image built on an older layer, or `pip install --no-deps`, gets
past them. So every process asks again at start, and `holdfast doctor` tells. Imports of the libraries themselves
happen here only where a version is not enough.
"""

from __future__ import annotations

import re
from importlib import metadata

from msgspec import Struct


class Floor(Struct, frozen=True):
    """The oldest version of a library that is safe, and what is wrong with those before it."""

    library: str
    oldest: tuple[int, ...]
    why: str


class Shortfall(Struct, frozen=True):
    """A library that must not be used as it is installed, and what would mend it."""

    library: str
    message: str
    remedy: str


FLOORS = (
    Floor("aiohttp", (3, 14, 4), "request smuggling through a WebSocket upgrade, and a segfault in the C parser"),
    Floor("uvloop", (0, 23, 0), "a cancelled connect can close a socket twice and hand one caller another's bytes"),
    Floor("httptools", (0, 9, 0), "the forward's handling of HEAD, 1xx and ends of file was built on 0.9"),
    Floor("redis", (8, 1, 0), "the store builds on the connection class as it is from 8.1 on"),
)


def installed(library: str) -> str | None:
    """Return the installed version of a distribution; None if there is none."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version starts with: `3.14.4rc1` is `(3, 14, 4)`."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in numbers[0].split(".")) if numbers else ()


def has_c_parser() -> bool:
    """Say whether aiohttp's server parses with llhttp: its pure-Python parser is lenient and slow, and untested
    here."""
    from aiohttp import http_parser

    return http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy


def shortfalls() -> list[Shortfall]:
    """Return what is wrong with the libraries as installed; empty when Holdfast may start."""
    found = []
    for floor in FLOORS:
        oldest = ".".join(map(str, floor.oldest))
        version = installed(floor.library)
        if version is None or release(version) < floor.oldest:
            message = f"{floor.library} is {version or 'not installed'}, older than {oldest}: {floor.why}"
            found.append(Shortfall(floor.library, message, f"pip install '{floor.library}>={oldest}'"))
    if not has_c_parser():
        message = "aiohttp runs on its pure-Python HTTP parser"
        remedy = "unset AIOHTTP_NO_EXTENSIONS, and install aiohttp from a wheel or with a C compiler"
        found.append(Shortfall("aiohttp", message, remedy))
    return found
