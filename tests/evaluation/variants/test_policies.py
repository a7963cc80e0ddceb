"""The replay's policies are good ones, and have effect keys where they should."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.replay.arguments import READS, WRITES, arguments_of
from evaluation.variants.policies import EFFECTS, write_policies
from policies.loader import load_folder


@pytest.mark.parametrize("effect_keys", [True, False])
def test_policies_are_loaded_without_a_fault(tmp_path: Path, effect_keys: bool) -> None:
    """One for each tool of the workload; those that read have no keys."""
    loaded = load_folder(write_policies(tmp_path / "policies", effect_keys=effect_keys, window_s=22.5))
    found = {policy.label: policy for policy in loaded.policies.policies}
    assert set(found) == {*READS, *WRITES}
    for tool in WRITES:
        assert found[tool].effect == "write"
        rules = found[tool].effect_key
        assert (rules is not None) == effect_keys
        if rules is not None:
            assert rules.window_ms == 22_500
            assert len(rules.fields) == len(EFFECTS[tool]) + 1  # and the user
    assert {found[tool].effect for tool in READS} == {"read"}


@pytest.mark.parametrize("tool", WRITES)
def test_effect_key_is_of_all_that_a_tool_is_told(tool: str) -> None:
    """An effect of the replay is told from another by its whole payload, and so it is here."""
    told = arguments_of(tool, "c1", lambda _: 0.5)
    assert {field.removeprefix("body:/") for field in EFFECTS[tool]} == set(told)
