"""`holdfast simulate` says what is wrong with how it was called, and does as it is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from evaluation.tools.asking import payload_hash
from evaluation.tools.fate import Fate
from tests.evaluation.conftest import ToolsFactory, session, tools
from tests.evaluation.tools.conftest import scripted

__all__ = ["session", "tools"]  # fixtures

HALF = "tools: {create_ticket: {rates: {throttled: 0.5}}}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["assistants", "--listen", "nowhere"], "is not HOST:PORT"),
        (["assistants", "--webhook-url", "http://127.0.0.1:1/"], "go together"),
        (["assistants", "--script", "script.yaml"], "rates"),
        (["tools", "--listen", "nowhere"], "is not HOST:PORT"),
        (["tools", "--script", "script.yaml"], "rates"),
        (["tools", "--script", "none.yaml"], "does not exist"),
        (["tools", "--latency", "-1"], "latency"),
        (["tools", "--audit", "script.yaml"], "script.yaml:1:"),
    ],
)
def test_bad_call_is_a_usage_error(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address, half a webhook, a script without sense and a file that is no audit end with exit code 2 and the
    reason."""
    monkeypatch.chdir(tmp_path)
    Path("script.yaml").write_text("rates: {nothing: 1}\n")
    result = CliRunner().invoke(main, ["simulate", *arguments])
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("what", ["assistants", "tools"])
def test_address_that_is_taken_is_a_conflict(what: str) -> None:
    """Exit code 4, with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, ["simulate", what, "--listen", listen])
    assert result.exit_code == 4
    assert "in use" in result.output


async def test_seed_on_the_command_line_is_stronger_than_the_scripts(tools: ToolsFactory) -> None:
    """The same requests are struck as that seed says, in whichever order they come."""
    script = scripted(f"seed: 3\n{HALF}")
    fate, tool = Fate(script), script.tool("create_ticket")
    bodies = [b'{"n":%d}' % number for number in range(30)]
    plans = [fate.plan("create_ticket", tool, f"\n\n{payload_hash(body)}") for body in bodies]
    got = {}
    async with tools(script=f"seed: 4\n{HALF}", options=("--seed", "3")) as running:
        for body in reversed(bodies):
            async with running.session.post(f"{running.address.url}/tools/create_ticket", data=body) as response:
                got[body] = response.status
    assert [got[body] for body in bodies] == [429 if plan.faults else 201 for plan in plans]
    assert set(got.values()) == {201, 429}
