"""The project keeps the shape that its authors promised each other: small files, honest names, pure cores, a test
each."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.tracked import ROOT, module_name, sources, tracked_files

LINES_MAX = 400
FUNCTION_LINES_MAX = 40
CODE = {".py", ".lua", ".sh", ".html", ".js", ".css", ".tpl"}

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "service", "misc"}

# Spelled in pieces, so that this file passes its own test.
MACHINE = re.compile(
    "|".join(
        [
            "/ro" + "ot/",
            "/wo" + "rk/",
            "/ho" + "me/",
            "/op" + "t/",
            "/tmp" + "/w/",
            "py" + "pi.org",
            "python" + "hosted",
        ]
    )
    + "|--(?:extra-)?index"
    + "-url|--find"
    + "-links|--trusted"
    + "-host"
)
LAWFUL = {
    "requirements/lock.txt": "names nothing, but carries the resolver that could",
}

PURE_THIRD_PARTIES = {"msgspec", "rfc8785"}

EXCUSED = {
    "*/__init__.py": "names its package",
    "*/__main__.py": "starts what stands beside it",
    "cli/admin_client.py": "used and not run: tests/cli/test_ops.py",
    "cli/letters.py": "one noun of the coordinator's: tests/cli/test_coordinator.py",
    "cli/parameters.py": "kinds of options: tests/cli/test_proxy.py gives them wrong values",
    "cli/runs.py": "one command: tests/cli/test_ops.py",
    "coordinator/account.py": "what the API tells of a run: tests/coordinator/test_api.py",
    "coordinator/backend.py": "a port: tests/coordinator run what stands behind it",
    "coordinator/metrics.py": "a list, held against docs/coordinator.md by tests/docs/test_docs.py",
    "coordinator/problems.py": "a table, held by tests/coordinator/test_api.py",
    "coordinator/requests.py": "what handlers do first: tests/coordinator/test_api.py",
    "coordinator/serving.py": "refusals of the API as a whole: tests/coordinator/test_api.py",
    "coordinator/stores/memory_queue.py": "a store is tested whole: tests/coordinator/test_store_contract_queue.py",
    "coordinator/stores/redis_*.py": "a store is tested whole: tests/coordinator/test_redis.py, and the contract",
    "coordinator/stores/sqlite_*.py": "a store is tested whole: tests/coordinator/test_sqlite.py, and the contract",
    "coordinator/tools.py": "a port: tests/coordinator run what stands behind it",
    "evaluation/assistants/things.py": "shapes, which tests/evaluation/assistants/test_clients.py has the clients read",
    "evaluation/bench/bare_proxy.py": "a yardstick that is run, not used: tests/evaluation/bench/test_systems.py",
    "evaluation/bench/coordinated.py": "run whole by tests/evaluation/bench/test_coordinator.py",
    "evaluation/bench/environment.py": "what a machine is called, as it says itself",
    "evaluation/bench/fast_tool.py": "run as a process: tests/evaluation/bench/test_closed_loop.py",
    "evaluation/bench/load.py": "what the two loads share: tests/evaluation/bench/test_closed_loop.py",
    "evaluation/bench/measure.py": "the bench run whole: tests/evaluation/bench/test_workloads.py",
    "evaluation/bench/rendering.py": "how a report looks: tests/evaluation/bench/test_report.py",
    "evaluation/bench/shape.py": "one request: tests/evaluation/bench/test_closed_loop.py",
    "evaluation/bench/startup.py": "run against processes: tests/evaluation/bench/test_systems.py",
    "evaluation/checks.py": "one struct, which tests/evaluation/test_demo.py and test_agent_run.py fill",
    "evaluation/dashboard/load.py": "run whole by tests/evaluation/dashboard/test_picture.py",
    "evaluation/dashboard/world.py": "run whole by tests/evaluation/dashboard/test_picture.py",
    "evaluation/rollout/replicas.py": "processes, run whole by tests/evaluation/rollout/test_restart.py",
    "evaluation/report/findings.py": "shapes, which tests/evaluation/report/test_reporting.py fills and reads back",
    "evaluation/triage/account.py": "shapes, which tests/cli/test_triage.py lays beside docs/triage.md",
    "evaluation/triage/mechanisms/*.py": "weighed together, each by its lines: tests/evaluation/triage/test_causes.py",
    "evaluation/triage/story.py": "what mechanisms are weighed on: tests/evaluation/triage/test_causes.py",
    "evaluation/triage/telling.py": "tested with what it tells: tests/evaluation/triage/test_accounting.py",
    "evaluation/run/fleet.py": "run whole by tests/evaluation/run/test_replaying.py, with all that it starts",
    "evaluation/sidecar.py": "starts the proxy for the demo and the bench: tests/evaluation/test_demo.py",
    "ledger/stores/redis_*.py": "a store is tested whole: tests/ledger/test_redis.py, and the contract",
    "ledger/stores/sqlite_*.py": "a store is tested whole: tests/ledger/test_sqlite.py, and the contract",
    "proxy/admin_problems.py": "a table, held by tests/proxy/test_admin_port.py",
    "proxy/arrival.py": "one struct, which tests/proxy/test_guard.py and its neighbours fill",
    "proxy/forward.py": "a port: tests/proxy/upstream run what stands behind it",
    "proxy/upstream/*.py": "the forward is tested whole, by situation: tests/proxy/upstream",
}
"""Which files need no test file of their own, and why."""


@functools.cache
def purity(side: str) -> set[str]:
    """Return the pure modules (`source_modules`) or what they must not import (`forbidden_modules`), by the
    contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = (contract for contract in contracts if contract["name"].startswith("Pure modules"))
    return set(pure[side])


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module)):
                yield module
            case _:
                pass


@pytest.mark.parametrize("path", [path for path in tracked_files() if path.suffix in CODE], ids=str)
def test_file_can_be_read_at_one_sitting(path: Path) -> None:
    """No source file is longer than 400 lines."""
    assert len((ROOT / path).read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", sources(), ids=str)
def test_function_fits_on_a_screen(path: Path) -> None:
    """No function has more than 40 lines beside its docstring."""
    long = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                long.append(f"{node.name} has {lines}")
    assert not long


def test_no_file_has_a_name_that_says_nothing() -> None:
    """Nothing is called utils, helpers or common: a thing that has no name of its own has no place yet."""
    assert not [path for path in tracked_files() if BANNED_NAMES & {Path(part).stem for part in path.parts}]


def test_nothing_names_the_machine_that_it_was_made_on() -> None:
    """No file holds a path of somebody's machine, nor says which package index to use."""
    named = []
    for path in tracked_files():
        for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), 1):
            if MACHINE.search(line):
                named.append(f"{path}:{number}: {line.strip()[:100]}")
    assert not named


def has_test(path: Path) -> bool:
    """Say whether `room/…/thing.py` has a test file of its name in the room's tests."""
    names = [f"test_{path.stem}.py", f"test_{path.stem}_*.py", f"test_{path.parent.name}_{path.stem}.py"]
    return any(any((ROOT / "tests" / path.parts[0]).rglob(name)) for name in names)


def test_each_source_file_has_its_test_file() -> None:
    """What `room/thing.py` does is shown by `tests/room/test_thing.py`, or the list of excuses says by what else."""
    owing = [path for path in sources() if not any(fnmatch(str(path), pattern) for pattern in EXCUSED)]
    assert [str(path) for path in owing if not has_test(path)] == []


@pytest.mark.parametrize("pattern", EXCUSED)
def test_excuse_is_still_needed(pattern: str) -> None:
    """A pattern whose files are gone, or have all got their tests, leaves the list."""
    assert [path for path in sources() if fnmatch(str(path), pattern) and not has_test(path)]


@pytest.mark.parametrize("path", [path for path in sources() if module_name(path) in purity("source_modules")], ids=str)
def test_pure_module_imports_only_what_is_pure(path: Path) -> None:
    """A pure module may use the standard library (without clocks and chances), msgspec, and other pure modules."""
    pure, forbidden = purity("source_modules"), purity("forbidden_modules")
    for name in imported(path):
        root = name.partition(".")[0]
        if root in {"policies", "ledger", "coordinator", "cli"}:
            assert name in pure or {f"{name}.{part}" for part in _parts_of(path, name)} <= pure, name
        else:
            assert root not in forbidden, name
            assert root in sys.stdlib_module_names or root in PURE_THIRD_PARTIES, name


def _parts_of(path: Path, module: str) -> set[str]:
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    return {
        name.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module == module for name in node.names
    }


def test_every_requirement_is_pinned_with_hashes() -> None:
    """A lock says exactly what may be installed: versions by `==`, files by SHA-256."""
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        requirements = re.findall(r"^[a-z0-9](?:.*\\\n)*.*", text, re.MULTILINE)
        assert requirements, lock
        for requirement in requirements:
            assert re.match(r"[a-z0-9.-]+==\S+", requirement), requirement
            assert "--hash=sha256:" in requirement, requirement
