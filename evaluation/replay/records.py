"""What a replay leaves behind, for reports: a plan, the turns of each environment as a trace, and a folder for each
variant in each environment.

| in the folder | one line for each | from |
|---|---|---|
| `outcomes.jsonl` | turn that was sent (`Outcome`) | who sent it |
| `effects.jsonl` | effect (`evaluation.tools.audit.Effect`) | the tools |
| `steps.jsonl` | step of a run that asked for calls (`Step`) | the API's truth |
| `calls.jsonl` | tool call that the API asked for and did not withdraw (`Call`) | the API's truth |
| `usage.json` | | the machine (`Usage`) |
| `done` | written last: a folder without it is made anew | |

Times are Unix seconds. What cannot be read is refused with its file, line and field: a report on half of the records
would look like one on all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from evaluation.assistants.truth import Told
from evaluation.replay.lines import LINE_BYTES_MAX, BadLine, decoded

PLAN = "plan.json"
OUTCOMES, EFFECTS, STEPS, CALLS, USAGE, DONE = (
    "outcomes.jsonl", "effects.jsonl", "steps.jsonl", "calls.jsonl", "usage.json", "done",
)  # fmt: skip
VERSION = 1

PAIR = ("B", "C")
"""The variants whose latencies are compared without faults: the same coordinator, without and with a proxy."""

Status = Literal["completed", "failed", "cancelled", "expired", "incomplete", "refused", "open"]


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """What is replayed, and on what: a replay is gone on with only under the very same plan.

    turns         how many each environment has, by environment: no turn is in two, see `turns_file`.
    seed          of the workload; `trace` is the digest of its turns, `faults` that of the faults plan.
    pace          by how much the arrival times of the trace are divided.
    window_s      the seed's 90 s window in the replay's own time: 90 / pace. Also that of the effect keys.
    limit_s       after how many seconds from its first sending a turn that has not ended counts as open.
    pair_turns    how many of its turns, the first ones, each environment's latency pair has; 0 for no pair.
    versions, machine   what it ran on, for the reader.
    """

    turns: dict[str, int]
    seed: int
    trace: str
    faults: str
    pace: float
    window_s: float
    variants: tuple[str, ...]
    environments: tuple[str, ...]
    limit_s: float
    pair_turns: int
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}
    version: int = VERSION


class Outcome(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of one turn.

    turn         its id in the trace.
    sent_at      when it was first sent, accepted_at when the answer came that named its run, ended_at when the API
                 ended that run. Of a turn that is resent they are its own sending's, and the same run's end.
    status       the API's last word on the run; `refused`: no run was ever named to its sender; `open`: the run had not
                 ended `Plan.limit_s` after the turn was first sent.
    run_id       empty where none was named.
    instance     which coordinator named the run.
    sends        requests that were made for it; busy: how many were answered that the thread has an active run.
    moved        whether one of its sends went to another region than the first.
    detail       the last answer that named no run, where there was one.
    """

    turn: str
    sent_at: float
    accepted_at: float | None
    ended_at: float | None
    status: Status
    run_id: str = ""
    instance: str = ""
    sends: int = 1
    busy: int = 0
    moved: bool = False
    detail: str = ""


class Step(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step of a run that asked for tool calls, as the API knows it.

    turn         the turn that the run belongs to, also of a run that nobody was told of; of turns that are resent the
                 first. Empty where the message did not say.
    number       from 0, within its run; asked_at: when its calls were first asked for; taken_at: when all its outputs
                 were taken, None where they never were.
    attempts     requests to submit, whether taken or not; without_id: how many of them lacked a `tool_call_id`.
    regenerated  how often its calls were asked for again under new ids.
    """

    turn: str
    run_id: str
    step_id: str
    number: int
    asked_at: float
    taken_at: float | None
    attempts: int
    without_id: int = 0
    regenerated: int = 0


class Call(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One tool call, under the id that it was last asked for.

    payload_hash    of its arguments, as `evaluation.tools.asking.payload_hash` makes it.
    output_outcome  what the output that was taken says: the tool's `result`; that it is `unknown` whether it ran; that
                    it was `refused` and did not run; another `error`; `none` was ever taken.
    """

    turn: str
    run_id: str
    step_id: str
    tool_call_id: str
    tool: str
    payload_hash: str
    output_outcome: Told


class Usage(Struct, frozen=True, forbid_unknown_fields=True):
    """What a replay cost and what was done to it.

    seconds    from the first turn's being sent to the last one's end.
    cpu_s      CPU seconds by kind of process (coordinator, sidecar, store, tools, api, driver), of those too that died.
    store_ops  requests that the stores read from coordinators and sidecars; what came at once over one connection
               counts as one, and what a script does inside of the store not at all.
    outages    processes that were stopped or killed, by kind.
    moved      turns one of whose sends went to another region than the first.
    """

    seconds: float
    cpu_s: dict[str, float]
    store_ops: int
    outages: dict[str, int]
    moved: int = 0


Record = TypeVar("Record", Outcome, Step, Call)


def turns_file(environment: str) -> str:
    """Return the name of the trace that every variant in an environment replays."""
    return f"turns-{environment}.jsonl"


def folder(environment: str, variant: str) -> str:
    """Return the name of the folder of a variant in an environment."""
    return f"{environment}-{variant}"


def pair_folder(environment: str, variant: str) -> str:
    """Return the name of the folder of a variant without faults, run for its latency."""
    return f"{environment}-{variant}-calm"


def read_lines(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records in a file, in their order, one at a time. Raises `BadLine` and `OSError`."""
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX):
            number += 1
            yield decoded(f"{path}:{number}", line, decoder)


def write_lines(path: Path, records: Iterable[Record]) -> int:
    """Write records to a file, in their order; return how many. Raises `OSError`."""
    encoder = msgspec.json.Encoder()
    count = 0
    with path.open("wb") as file:
        for count, record in enumerate(records, 1):  # noqa: B007  # it is what is returned
            file.write(encoder.encode(record) + b"\n")
    return count


def read_plan(directory: Path) -> Plan:
    """Return the plan of a replay. Raises `BadLine` and `OSError`."""
    path = directory / PLAN
    plan = decoded(f"{path}:1", path.read_bytes(), msgspec.json.Decoder(Plan))
    if plan.version != VERSION:
        raise BadLine(f"{path}:1: version: is {plan.version}, which this Holdfast does not know: replay anew")
    return plan


def write_plan(directory: Path, plan: Plan) -> None:
    """Write the plan of a replay. Raises `OSError`."""
    _write_whole(directory / PLAN, msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")


def read_usage(directory: Path) -> Usage:
    """Return what the replay of a variant cost. Raises `BadLine` and `OSError`."""
    path = directory / USAGE
    return decoded(f"{path}:1", path.read_bytes(), msgspec.json.Decoder(Usage))


def write_usage(directory: Path, usage: Usage) -> None:
    """Write what the replay of a variant cost. Raises `OSError`."""
    _write_whole(directory / USAGE, msgspec.json.encode(usage) + b"\n")


def is_done(directory: Path) -> bool:
    """Say whether the records of a variant are all there."""
    return (directory / DONE).exists()


def mark_done(directory: Path) -> None:
    """Say that they are: to be called last."""
    (directory / DONE).touch()


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file, so that whoever looks finds all of it or none."""
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(data)
    beside.replace(path)
