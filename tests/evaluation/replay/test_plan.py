"""The faults plan: read strictly, and said to the simulators as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from ruamel.yaml import YAML

from evaluation.assistants import script as assistants
from evaluation.assistants.script import Rates
from evaluation.replay.plan import BUILT_IN, FaultsPlan, read_plan, runs_script, tools_script
from evaluation.scripts import BadScript, Range
from evaluation.tools.fate import Fate
from evaluation.tools.faults import Fault

TOOLS = "tools: {callerLimit: 10, near: [-0.5, 2], latency: [0, 0.1], slowness: [1, 3]"


def read(path: Path, text: str) -> FaultsPlan:
    """Return the plan that a text is."""
    path = path / "faults.yaml"
    path.write_text(text)
    return read_plan(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1", "tools"),
        (TOOLS + ", sloww: 0.1}", "sloww"),
        (TOOLS + ", slow: 1.5}", "tools, slow: 1.5 is no rate: write a number between 0 and 1"),
        (TOOLS + "}\nruns: {regenerate: -0.1}", "runs, regenerate: -0.1 is no rate"),
        (TOOLS + "}\nwebhooks: {twice: .nan}", "webhooks, twice: nan is no rate"),
        (TOOLS + "}\noutages: {store: {killsPerHour: 1}}", "killsPerHour"),
        (TOOLS + "}\noutages: {bursts: {share: 0}}", "share"),
        (TOOLS + "}\ntools: {}", "not YAML"),
        ("tools: {callerLimit: 0.1, near: [-0.5, 2], latency: [0, 0.1], slowness: [1, 3]}", "a time is below 0"),
    ],
)
def test_bad_plan_is_refused_by_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    """A fault nobody knows, a rate that is none, a doubled key: told, not guessed at."""
    with pytest.raises(BadScript, match=told) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "faults.yaml"))


def test_published_plan_has_every_fault_in_it() -> None:
    """Nothing that can be planned is left at zero, so that a replay shows it."""
    plan = read_plan()
    rates = {**plan.tools.rates(), **{name: getattr(plan.runs, name) for name in plan.runs.__struct_fields__}}
    rates |= {name: getattr(plan.webhooks, name) for name in plan.webhooks.__struct_fields__}
    assert [name for name, rate in rates.items() if not rate] == []
    outages = plan.outages
    assert min(outages.coordinator.kills_per_hour, outages.sidecar.kills_per_hour, outages.bursts.per_hour) > 0
    assert outages.store.restarts_per_hour > 0


def test_tools_misbehave_as_planned(tmp_path: Path) -> None:
    """Each tool, known or not, has the plan's rates and times; what is near the caller's limit may just make it."""
    script = tools_script(read(tmp_path, f"seed: 9\n{TOOLS}, overLimit: 1, appliedThenCut: 0.5}}"))
    assert script.seed == 9
    for tool in (script.tool("create_ticket"), script.tool("search_kb"), script.tool("nobody_knows")):
        assert {fault for fault, rate in tool.rates.items() if rate} == {Fault.OVER_LIMIT, Fault.APPLIED_THEN_CUT}
        assert tool.rates[Fault.APPLIED_THEN_CUT] == 0.5
        assert (tool.latency, tool.slow) == (Range(0, 0.1), Range(1, 3))
    assert script.tool("search_kb").effect == "read"
    fate, refund = Fate(script), script.tool("refund_payment")
    befallen = [fate.plan("refund_payment", refund, f"subject {place}").before_s for place in range(200)]
    assert 9.5 <= min(befallen) < 10 < max(befallen) <= 12


def test_faults_befall_what_is_asked_for_and_not_who_asks_first() -> None:
    """Every variant of a replay meets the same faults: draws are about the tenant, the user and the payload."""
    assert tools_script(read_plan()).subject == ("tenant", "user", "payload")


def test_runs_misbehave_as_planned(tmp_path: Path) -> None:
    """Rates of runs and of webhooks are the simulated API's, by its names."""
    script = runs_script(
        read(tmp_path, f"seed: 9\n{TOOLS}}}\nruns: {{submitApplied503: 0.25}}\nwebhooks: {{lost: 0.5, late: 0.125}}")
    )
    assert script.seed == 9
    assert script.rates == Rates(submit_applied_503=0.25, webhook_lost=0.5, webhook_late=0.125)


def test_script_made_of_the_published_plan_is_one_that_could_be_read(tmp_path: Path) -> None:
    """The file's own words for runs are those of the simulated API's scripts."""
    found = YAML(typ="safe", pure=True).load(BUILT_IN)
    webhooks = {f"webhook{name.capitalize()}": rate for name, rate in found["webhooks"].items()}
    path = tmp_path / "script.yaml"
    with path.open("w") as file:
        YAML().dump({"seed": found["seed"], "rates": {**found["runs"], **webhooks}}, file)
    assert assistants.read_script(path) == replace(runs_script(read_plan()), notify=())
