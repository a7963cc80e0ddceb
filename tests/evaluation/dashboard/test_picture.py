"""The whole of it, for a moment: processes, load, Prometheus, picture."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from evaluation.dashboard.__main__ import BOARD, TOOL
from evaluation.dashboard.board import panels
from evaluation.redis_server import system_path
from tests.tracked import ROOT


@pytest.mark.system
def test_picture_of_a_real_scrape_has_every_panel(tmp_path: Path) -> None:
    """What it says on stdout names those without data, of which some seconds leave a few; numbers are there at once."""
    if shutil.which("prometheus", path=system_path()) is None:
        pytest.skip("there is no prometheus: Debian's package of that name brings it")
    command = [sys.executable, "-m", "evaluation.dashboard", "--seconds", "4", "--svg", str(tmp_path / "board.svg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=170)
    assert done.returncode == 0, done.stderr
    picture = (tmp_path / "board.svg").read_text()
    ET.fromstring(picture)
    for panel in panels(json.loads(BOARD.read_text()), TOOL, 4):
        assert f">{escape(panel.title)}<" in picture
    assert "Store, " not in done.stdout.partition("without data: ")[2]


def test_machine_without_prometheus_is_told_so(tmp_path: Path) -> None:
    """And no process is started."""
    command = [sys.executable, "-m", "evaluation.dashboard", "--svg", str(tmp_path / "board.svg")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120, env={"PATH": str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (1, "there is no prometheus here (Debian: apt install prometheus)\n")
    assert not (tmp_path / "board.svg").exists()
