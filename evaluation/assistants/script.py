"""What goes wrong with runs, and how often: the simulated API's script.

A script is a YAML or JSON map. Rates are between 0 and 1; each draw depends on the seed, the kind of fault, what it
befalls and how often that has been asked before, never on the order in which requests of different runs come in.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, field

from evaluation.assistants.life import Pace
from evaluation.assistants.things import Run, RunStatus, Wanted
from evaluation.scripts import BadScript, Range, chance, convert, load


class RunRates(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How often each fault befalls a run, as it is worked on, read and submitted to.

    regenerate, regenerate_step  a step's calls are asked for once more under new ids, in the same step or in a new one.
    stale_read        a run is shown as it was before its newest change.
    slow_read         a read takes `Script.slow` longer.
    fail_read         a read is answered 503.
    submit_applied_503, submit_applied_cut    outputs are taken, and the answer is a 503, or a closed connection.
    submit_refused_503, submit_refused_cut    the same without their being taken.
    create_applied_503  a thread, a message or a run is created, and the answer is a 503.
    """

    regenerate: float = 0
    regenerate_step: float = 0
    stale_read: float = 0
    slow_read: float = 0
    fail_read: float = 0
    submit_applied_503: float = field(default=0, name="submitApplied503")
    submit_applied_cut: float = 0
    submit_refused_503: float = field(default=0, name="submitRefused503")
    submit_refused_cut: float = 0
    create_applied_503: float = field(default=0, name="createApplied503")


class Rates(RunRates, frozen=True):
    """How often each fault happens.

    expire_early      a run expires after `Script.early` seconds.
    webhook_lost, webhook_twice, webhook_late  a notification is never sent, sent twice, or overtaken by later ones.
    """

    expire_early: float = 0
    webhook_lost: float = 0
    webhook_twice: float = 0
    webhook_late: float = 0


class Script(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How the simulated API behaves. Times are in seconds.

    plan    the batches of tool calls of a run whose message does not bring its own: `[[{tool, arguments}, …], …]`.
    notify  the statuses that are notified, as whoever subscribes to events names them; all, if none is named.
    """

    seed: int = 0
    queue: Range = Range(0.02, 0.05)
    think: Range = Range(0.1, 0.3)
    slow: float = 1.0
    expires: float = 600
    early: float = 3.0
    rates: Rates = Rates()
    plan: list[list[PlannedCall]] = []
    notify: tuple[RunStatus, ...] = ()


class PlannedCall(Struct, frozen=True, forbid_unknown_fields=True):
    """One tool call, as scripts and messages write it."""

    tool: str
    arguments: dict[str, object]


class Plan(Struct, frozen=True):
    """What a user message may be, in place of plain words: the tool calls that the model is to ask for, and by which
    name the run is told of in the simulator's truth."""

    steps: list[list[PlannedCall]]
    turn: str = ""


def read_script(path: Path) -> Script:
    """Return the script in a file. Raises `BadScript` and `OSError`."""
    script = convert(path, load(path), Script)
    for name in Rates.__struct_fields__:
        rate = getattr(script.rates, name)
        if not 0 <= rate <= 1:
            raise BadScript(f"{path}: rates.{name} is {rate}: write a number between 0 and 1")
    return script


class Fate:
    """Draws what happens, from a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._asked: dict[tuple[str, str], int] = {}

    def strikes(self, fault: str, subject: str) -> bool:
        """Say whether `fault` befalls `subject` this time."""
        rate: float = getattr(self.script.rates, fault)
        return rate > 0 and self._draw(fault, subject) < rate

    def pace(self, run: Run) -> Pace:
        """Return how fast the model is with a run."""
        draw, script = self._draw("pace", run.name), self.script
        return Pace(*(bounds.at(draw) for bounds in (script.queue, script.think)))

    def expires_s(self, run: Run) -> float:
        """Return how long a run may take."""
        return self.script.early if self.strikes("expire_early", run.name) else self.script.expires

    def plan(self, text: str) -> tuple[list[list[Wanted]], str]:
        """Return what the model is to ask for when it reads `text`, the newest user message, and the turn's name."""
        try:
            plan = msgspec.json.decode(text, type=Plan)
        except msgspec.DecodeError:
            subject = PlannedCall("create_ticket", {"subject": text})
            plan = Plan(self.script.plan or [[subject]])
        wanted = [
            [Wanted(call.tool, msgspec.json.encode(call.arguments).decode()) for call in step]
            for step in plan.steps
            if step
        ]
        return wanted, plan.turn

    def _draw(self, fault: str, subject: str) -> float:
        count = self._asked[fault, subject] = self._asked.get((fault, subject), 0) + 1
        return chance(self.script.seed, fault, subject, count)
