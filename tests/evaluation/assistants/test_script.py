"""Scripts of the simulator: read strictly, drawn from repeatably."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.assistants.script import Fate, Rates, Script, read_script
from evaluation.assistants.things import Run
from evaluation.scripts import BadScript


def written(tmp_path: Path, text: str) -> Path:
    """Write a script down."""
    path = tmp_path / "script.yaml"
    path.write_text(text)
    return path


def test_script_names_its_rates_as_the_documentation_does(tmp_path: Path) -> None:
    """Rates, times and a plan are read; what is not said has its default."""
    path = written(tmp_path, "seed: 7\nthink: [1, 2]\nrates: {submitApplied503: 0.5, webhookLost: 1}\n"
                             "plan: [[{tool: send_email, arguments: {to: a}}]]\n")  # fmt: skip
    script = read_script(path)
    assert (script.seed, script.think.high, script.rates.submit_applied_503) == (7, 2, 0.5)
    assert Fate(script).plan("hello")[0][0][0].arguments == '{"to":"a"}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rates: {lost: 1}", "lost"),
        ("rates: {staleRead: 2}", "rates.stale_read is 2"),
        ("seed: x", "seed"),
        ("a: [", "not YAML"),
    ],
)
def test_bad_script_is_refused_by_field(tmp_path: Path, text: str, told: str) -> None:
    """An unknown field, a rate beyond 1, a wrong type and broken YAML are told with the file and the field."""
    with pytest.raises(BadScript, match=told) as error:
        read_script(written(tmp_path, text))
    assert str(error.value).startswith(str(tmp_path))


def test_draws_do_not_depend_on_the_order_of_runs() -> None:
    """What befalls a run is the same whatever other runs are asked about in between."""
    script = Script(seed=3, rates=Rates(stale_read=0.5))
    alone, among = Fate(script), Fate(script)
    first = [alone.strikes("stale_read", "run_1") for _ in range(20)]
    second = []
    for _ in range(20):
        among.strikes("stale_read", "run_2")
        second.append(among.strikes("stale_read", "run_1"))
    assert first == second
    assert 0 < sum(first) < 20


def test_other_seed_is_another_scenario() -> None:
    """The seed decides."""
    draws = [
        [Fate(Script(seed=seed, rates=Rates(stale_read=0.5))).strikes("stale_read", f"run_{n}") for n in range(30)]
        for seed in (1, 2)
    ]
    assert draws[0] != draws[1]


def test_message_with_steps_is_the_plan() -> None:
    """A user message may bring its tool calls, and the turn's name; any other makes one ticket."""
    fate = Fate(Script())
    steps = '[[{"tool": "a", "arguments": {}}], [], [{"tool": "b", "arguments": {"x": 1}}]]'
    planned, name = fate.plan(f'{{"steps": {steps}, "turn": "t1"}}')
    assert [[wanted.tool for wanted in step] for step in planned] == [["a"], ["b"]]
    assert (name, fate.plan("printer")[1]) == ("t1", "")
    assert fate.plan("printer")[0][0][0].arguments == '{"subject":"printer"}'


def test_run_that_is_to_expire_early_does() -> None:
    """A rate of 1 befalls every run."""
    run = Run("run_1", "thread_1", "asst_1", 0, 0, [])
    assert Fate(Script(early=2, rates=Rates(expire_early=1))).expires_s(run) == 2
    assert Fate(Script()).expires_s(run) == 600
