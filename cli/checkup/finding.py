"""One line of a checkup: what was looked at, how it stands, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

Severity = Literal["ok", "warning", "error"]


class Finding(Struct, frozen=True):
    """`check` names what was looked at; a `remedy` is set where `severity` is not `ok`.

    An `error` means that Holdfast refuses to start, or must not be trusted, as things are; a `warning` that something
    is lost in a situation that the message names.
    """

    check: str
    severity: Severity
    message: str
    remedy: str | None = None


def ok(check: str, message: str) -> Finding:
    """Say that `check` is as it should be, and what was measured."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Say what could be lost, and when."""
    return Finding(check, "warning", message, remedy)


def error(check: str, message: str, remedy: str) -> Finding:
    """Say what makes this unfit."""
    return Finding(check, "error", message, remedy)


def worse_than_ok(findings: Iterable[Finding]) -> bool:
    """Say whether anything was found that a person should look at."""
    return any(finding.severity != "ok" for finding in findings)
