"""What docs/quickstart.md has a stranger type, typed: two tickets without Holdfast, one with it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.redis_server import held_port
from tests.tracked import ROOT

PAGE = (ROOT / "docs/quickstart.md").read_text()
TYPED = "\n".join(re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.system
def test_quickstart_shows_what_it_says(tmp_path: Path) -> None:
    """Its commands in a shell, on other ports and with less patience: the same lines in the tool's audit, the same
    outcomes, and nothing left behind."""
    (tmp_path / "holdfast").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    (tmp_path / "holdfast").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST")}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    typed = TYPED.replace("--latency 3", "--latency 1.5").replace("--max-time 2", "--max-time 0.5")
    with contextlib.ExitStack() as stack:
        ports = {number: str(stack.enter_context(held_port())) for number in ("9000", "8100", "8101", "8102")}
        typed = re.sub(r"\b(9000|8100|8102)\b", lambda found: ports[found[1]], typed)
        environment |= {"HOLDFAST_LISTEN": f"127.0.0.1:{ports['8100']}", "HOLDFAST_ADMIN": f"127.0.0.1:{ports['8101']}"}
        ended = subprocess.run(
            ["bash", "-c", typed],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
        )
    said = ended.stdout
    assert re.findall(r"^(\d) try/audit.jsonl$", said, re.MULTILINE) == ["2", "3", "3"], said + ended.stderr
    assert re.findall(r"^Holdfast-Outcome: (\S+)\r?$", said, re.MULTILINE)[-1] == "replayed"
    assert "Holdfast-Effect-Of: op_" in said
    assert 'holdfast_duplicates_prevented_total{how="effect-replayed",tool="create_ticket"} 1.0' in said
    assert not (tmp_path / "try").exists()
