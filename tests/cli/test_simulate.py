"""`holdfast simulate` says what is wrong with how it was called."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen", "nowhere"], "is not HOST:PORT"),
        (["--webhook-url", "http://127.0.0.1:1/"], "go together"),
        (["--script", "script.yaml"], "rates"),
    ],
)
def test_bad_call_is_a_usage_error(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address, half a webhook and a script without sense end with exit code 2 and the reason."""
    monkeypatch.chdir(tmp_path)
    Path("script.yaml").write_text("rates: {nothing: 1}\n")
    result = CliRunner().invoke(main, ["simulate", "assistants", *arguments])
    assert result.exit_code == 2
    assert told in result.output
