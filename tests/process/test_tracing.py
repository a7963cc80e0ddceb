"""Tracing that is not asked for costs nothing, and one that cannot be had says so at start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from process.tracing import is_parent, opened, require
from tests.tracked import ROOT

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def python(program: str) -> str:
    """Run a program in a process of its own; return what it prints."""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    """Not by the proxy, the coordinator or their commands, nor by asking for no tracing; asked for, it is."""
    program = """
import sys
import cli.proxy, cli.coordinator, proxy.app, coordinator.app
from process.tracing import opened
def traced():
    return any(name.partition(".")[0] in {"opentelemetry", "google", "requests"} for name in sys.modules)
assert opened("off", "s", print, print) is None
before = traced()
opened("otlp", "s", print, print).close()
print(before, traced())
"""
    assert python(program) == "False True"


def test_tracing_without_its_library_says_what_to_install() -> None:
    """And a process that is not to trace starts without it."""
    program = """
import sys
sys.modules["opentelemetry"] = None
from process.tracing import opened, require
require("off")
assert opened("off", "s", print, print) is None
try:
    require("otlp")
except ValueError as error:
    print(error)
"""
    assert python(program) == "tracing needs OpenTelemetry (opentelemetry.context): install holdfast[otel]"


def test_no_tracing_is_nothing() -> None:
    """None stands for it, which is all that a call looks at."""
    assert opened("off", "holdfast-proxy", lambda *_: None, lambda *_: None) is None
    require("otlp")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"01-{TRACE}-{SPAN}-01-what-may-come", True),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
    ],
)
def test_traceparent_is_told_from_what_is_none(text: str, good: bool) -> None:
    """By W3C Trace Context, level 1: version ff is none, nor are ids of zeros alone."""
    assert is_parent(text) is good
