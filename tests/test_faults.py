"""Every fault of the fault model that this version promises to survive is injected by at least one test.

A test says which by its mark: `@pytest.mark.fault(19)`, or `pytestmark = pytest.mark.fault(19)` for a whole file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.tracked import ROOT, tracked_files

PROMISED = {*range(1, 9), *range(10, 40), 44, 47, 48, *range(50, 58), 59, 60, 61, 62, *range(63, 76)}


def claims(path: Path) -> Iterator[int]:
    """Yield the fault numbers that the marks in a test file name."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        match node:
            case ast.Call(func=ast.Attribute(attr="fault", value=ast.Attribute(attr="mark")), args=arguments):
                yield from (int(ast.literal_eval(argument)) for argument in arguments)
            case _:
                pass


def test_every_promised_fault_is_injected_by_a_test() -> None:
    """No number is missing: what is promised is shown."""
    tests = [path for path in tracked_files() if path.parts[0] == "tests" and path.name.startswith("test_")]
    claimed = {number for path in tests for number in claims(path)}
    assert not sorted(PROMISED - claimed)
