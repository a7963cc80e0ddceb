"""What goes wrong during a replay, read strictly from one file (`faults.yaml`), and made into the simulators' scripts.

What becomes of our own processes meanwhile is in `outages`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct, field

from evaluation.assistants.script import Rates, RunRates
from evaluation.assistants.script import Script as RunsScript
from evaluation.assistants.things import ENDED
from evaluation.replay.outages import Outages
from evaluation.scripts import BadScript, Range, convert, load
from evaluation.tools.script import DEFAULT, script_from
from evaluation.tools.script import Script as ToolsScript

BUILT_IN = Path(__file__).with_name("faults.yaml")
"""The faults of the published replay."""


class ToolFaults(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What befalls requests to tools; rates are of `evaluation.tools.faults.Fault`, by the same names."""

    caller_limit: float
    near: Range
    latency: Range
    slowness: Range
    slow: float = 0
    over_limit: float = 0
    late_answer: float = 0
    applied_then_cut: float = 0
    applied_then_500: float = field(default=0, name="appliedThen500")
    not_applied_cut: float = 0
    not_applied_503: float = field(default=0, name="notApplied503")
    throttled: float = 0

    def rates(self) -> dict[str, float]:
        """Return the rates by the names of the simulator's faults."""
        times = {"caller_limit", "near", "latency", "slowness"}
        return {name.replace("_", "-"): getattr(self, name) for name in self.__struct_fields__ if name not in times}


class WebhookFaults(Struct, frozen=True, forbid_unknown_fields=True):
    """What befalls notifications."""

    lost: float = 0
    twice: float = 0
    late: float = 0


class FaultsPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """All that goes wrong. What a plan leaves out does not go wrong; only how tools behave in time is always said."""

    tools: ToolFaults
    seed: int = 0
    runs: RunRates = RunRates()
    webhooks: WebhookFaults = WebhookFaults()
    outages: Outages = Outages()


def read_plan(path: Path = BUILT_IN) -> FaultsPlan:
    """Return the plan in a file. Raises `BadScript`, which names the file and the field, and `OSError`."""
    plan = convert(path, load(path), FaultsPlan)
    told = (("tools", plan.tools.rates()), ("runs", _rates(plan.runs)), ("webhooks", _rates(plan.webhooks)))
    for part, rates in told:
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise BadScript(f"{path}: {part}, {name}: {rate} is no rate: write a number between 0 and 1")
    tools = plan.tools
    if not min(tools.caller_limit + tools.near.low, tools.latency.low, tools.slowness.low) >= 0:
        raise BadScript(f"{path}: tools: a time is below 0")
    return plan


def tools_script(plan: FaultsPlan) -> ToolsScript:
    """Return the simulated tools' script: every tool misbehaves alike, and what befalls a call is drawn from what it is
    and for whom, so that each variant of a replay meets the same faults."""
    tools = plan.tools
    default: dict[str, Any] = {
        "limit": tools.caller_limit,
        "past": _bounds(tools.near),
        "latency": _bounds(tools.latency),
        "slow": _bounds(tools.slowness),
        "rates": tools.rates(),
    }
    return script_from({"seed": plan.seed, "tools": {DEFAULT: default}}, BUILT_IN)


def runs_script(plan: FaultsPlan) -> RunsScript:
    """Return the simulated API's script. What is notified is what a coordinator subscribes to: that it has something to
    do, and that it has nothing more to do."""
    webhooks = {f"webhook_{name}": rate for name, rate in _rates(plan.webhooks).items()}
    notify = ("requires_action", *sorted(ENDED))
    return RunsScript(seed=plan.seed, rates=Rates(**_rates(plan.runs), **webhooks), notify=notify)


def _rates(part: RunRates | WebhookFaults) -> dict[str, float]:
    return {name: getattr(part, name) for name in part.__struct_fields__}


def _bounds(bounds: Range) -> list[float]:
    return [bounds.low, bounds.high]
