"""The stage: a proxy without sockets, and what its ledger holds."""

from __future__ import annotations

from pathlib import Path

from policies.loader import built_in
from proxy.rehearsal.stage import Stage, quiet_log, wall_ms
from proxy.rehearsal.tool import ScriptedTool
from proxy.rehearsal.virtual import run
from tests.proxy.rehearsal.stories import played


def test_empty_stage_has_nothing_under_way() -> None:
    """And nothing in its ledger."""

    async def story() -> tuple[bool, tuple[str, ...]]:
        with quiet_log() as log:
            stage = Stage(built_in().policies, ScriptedTool([], [], [], wall_ms), log)
            async with stage.open():
                return await stage.under_way(), await stage.states()

    assert run(story()) == (False, ())


def test_states_come_in_the_order_of_their_claims(tmp_path: Path) -> None:
    """One for each operation that was claimed."""
    case = """
    replies: [{status: 200}, {status: 429}, {fails: lost}]
    requests:
      - {}
      - headers: {X-Tool-Call-Id: call_2}
      - headers: {X-Tool-Call-Id: call_3}
    """
    result, _ = played(tmp_path, "", case)
    assert result.states == ("completed", "free", "unknown")
