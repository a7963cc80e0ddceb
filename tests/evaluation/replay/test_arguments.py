"""Arguments: JSON objects as the tools take them, which say what they are about."""

from __future__ import annotations

import json

import pytest

from evaluation.replay.arguments import READS, WRITES, arguments_of, pick
from evaluation.tools.script import built_in


@pytest.mark.parametrize("tool", READS + WRITES)
def test_arguments_name_what_they_are_about(tool: str) -> None:
    """Two references never have the same payload, even where every other choice is the same."""
    one, other = (arguments_of(tool, name, lambda _: 0.5) for name in ("c1-0-0", "c1-0-1"))
    assert one != other
    assert "c1-0-0" in json.dumps(one)


def test_tools_do_what_the_simulators_take_them_for() -> None:
    """What is drawn as a read is a read there, and what is drawn as a write has effects."""
    script = built_in()
    assert {script.tool(name).effect for name in READS} == {"read"}
    assert {script.tool(name).effect for name in WRITES} == {"write"}
    assert {*READS, *WRITES} == set(script.tools) - {"_default"}


def test_each_option_is_as_likely() -> None:
    """Of evenly spread draws each option gets as many."""
    picked = [pick(("a", "b", "c"), draw / 30) for draw in range(30)]
    assert {option: picked.count(option) for option in "abc"} == {"a": 10, "b": 10, "c": 10}
