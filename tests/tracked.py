"""Which files make up the project: what git tracks, or, in an unpacked archive, what is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("policies", "ledger", "process", "proxy", "coordinator", "evaluation", "cli")
MADE = {".venv", "build", "dist", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def tracked_files() -> list[Path]:
    """Return the project's files relative to its root, in order."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [Path(name) for name in listed.stdout.split("\0") if name]
    else:
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
    return sorted(path for path in paths if not MADE & set(path.parts) and (ROOT / path).is_file())


def sources() -> list[Path]:
    """Return the Python files that are shipped, relative to the root."""
    return [path for path in tracked_files() if path.suffix == ".py" and path.parts[0] in ROOMS]


def module_name(path: Path) -> str:
    """Return the dotted name of a source file: `ledger/stores/__init__.py` is `ledger.stores`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
