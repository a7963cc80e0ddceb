"""The demo's findings for people: both timelines side by side, the tools' audits, the verdict, what to try by hand."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.address import Address
from evaluation.agent_run import AgentRun
from evaluation.checks import Check
from evaluation.demo import Replay, Side
from evaluation.incident import CALL, RUN, TOOL, TOOL_LATENCIES_MS, Event
from evaluation.sidecar import POLICIES

COLUMNS_MIN, COLUMNS_MAX = 80, 120
"""Below, two log lines do not fit beside each other; above, they fall apart."""

HAND_BODY = '{"user_id": "usr_1042", "subject": "Export fails since this morning"}'

STYLES = {"WARN": "yellow", "AUDIT": "bold"}


class Hands(Struct, frozen=True):
    """Where the commands to try by hand listen, and how fast their tool and their caller are."""

    tool: Address = Address("127.0.0.1", 9000)
    proxy: Address = Address("127.0.0.1", 8100)
    admin: Address = Address("127.0.0.1", 8101)
    health: Address = Address("127.0.0.1", 8102)
    speed: float = 1.0


def console() -> Console:
    """Return a console on stdout as wide as the terminal allows; no colours without a terminal or with NO_COLOR."""
    columns = shutil.get_terminal_size(fallback=(100, 24)).columns
    return Console(width=min(max(columns, COLUMNS_MIN), COLUMNS_MAX), highlight=False)


def show(out: Console, found: Replay) -> None:
    """Print everything."""
    out.print()
    out.print("The incident of 14:12:09, lived through by real processes over HTTP.")
    if found.speed != 1:
        out.print(f"It ran {found.speed:g} times as fast; the times below are measured and scaled back.")
    out.print()
    out.print(_timelines(found.direct, found.guarded))
    for side in (found.direct, found.guarded):
        out.print(_audit(side))
    for check in found.checks:
        out.print(_verdict(check))
    show_agent(out, found.agent)
    out.print(
        "\nBy hand, at full length: the first curl gives up after 10 s, the second one gets what the first one did.\n"
    )
    for title, command in commands(Hands()):
        out.print(f"# {title}", style="dim")
        out.print(command, soft_wrap=True, markup=False)
    out.print(f"# what the tool has done: curl -s {Hands().tool.url}/_tools/audit", style="dim")


def show_agent(out: Console, found: AgentRun) -> None:
    """Print an agent's run: its timeline, what the tools did, and what that proves."""
    out.print(
        "\nAn agent's whole run: the user clicks twice, the model asks again under new ids, and the coordinator is"
        " killed with -9 while the tools work, and started again. The run, as the coordinator tells it:\n"
    )
    timeline = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for line in found.run["timeline"]:
        timeline.add_row(line["at"][11:23], line["what"], Text(" ".join(filter(None, (line["call"], line["detail"])))))
    out.print(timeline)
    audit = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left", title_style="bold")
    audit.title = "\nThe tools' audit of it"
    for name in ("tool_audit_id", "tool", "tool_call", "attempt"):
        audit.add_column(name)
    for effect in found.effects:
        audit.add_row(effect.audit_id, effect.tool, effect.tool_call_id, str(effect.attempt))
    out.print(audit)
    out.print()
    for check in found.checks:
        out.print(_verdict(check))


def _verdict(check: Check) -> Text:
    mark = Text("ok      ", "green") if check.holds else Text("FAILED  ", "bold red")
    return mark.append(check.claim, "default")


def _timelines(left: Side, right: Side) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column(left.name, ratio=1)
    table.add_column(right.name, ratio=1)
    for pair in merged(left.timeline, right.timeline):
        table.add_row(*(_line(event) for event in pair))
    return table


def _line(event: Event | None) -> Text:
    if event is None:
        return Text("")
    head = Text(f"{event.clock}  {event.component}  {event.level}\n", STYLES.get(event.level, ""))
    return head.append(event.message)


def merged(left: tuple[Event, ...], right: tuple[Event, ...]) -> list[tuple[Event | None, Event | None]]:
    """Lay two timelines beside each other: the same event in one row, both in their own order."""
    rows: list[tuple[Event | None, Event | None]] = []
    a, b = list(left), list(right)
    while a or b:
        if a and b and (a[0].what, a[0].req) == (b[0].what, b[0].req):
            rows.append((a.pop(0), b.pop(0)))
        elif not b or (a and a[0].at_ms <= b[0].at_ms):
            rows.append((a.pop(0), None))
        else:
            rows.append((None, b.pop(0)))
    return rows


def _audit(side: Side) -> Table:
    count = len(side.audit)
    tickets = {1: "one ticket", 2: "two tickets"}.get(count, f"{count} tickets")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left", title_style="bold")
    table.title = f"The tool's audit, {side.name}: {tickets}"
    for name in ("tool_audit_id", "req", "run", "tool_call", "payload_hash"):
        table.add_column(name)
    for effect in side.audit:
        table.add_row(effect.audit_id, effect.request_id, effect.run_id, effect.tool_call_id, effect.payload_hash)
    table.add_row()
    return table


def commands(hands: Hands) -> tuple[tuple[str, str], ...]:
    """Return the three commands, each with its title, ready for a POSIX shell."""
    timeout = f"{10 / hands.speed:g}"
    send = (
        f"curl -i --max-time {timeout} {hands.proxy.url}/tools/{TOOL} -H 'X-Run-Id: {RUN}' -H 'X-Tool-Call-Id: {CALL}'"
        f" -H 'Content-Type: application/json' -d {shlex.quote(HAND_BODY)}"
    )
    return (("start, in a terminal of its own", _start(hands)), ("send", send), ("send again", send))


def _start(hands: Hands) -> str:
    latencies = " ".join(f"--latency {latency_ms / 1000 / hands.speed:g}" for latency_ms in TOOL_LATENCIES_MS)
    tool = f"{_holdfast()} simulate tools --listen {hands.tool} --audit $D/audit.jsonl"
    proxy = f"{_holdfast()} proxy --policies {_shown(POLICIES)} --upstream {hands.tool.url}"
    proxy += " --store sqlite:///$D/holdfast.db"
    if hands.proxy != Hands().proxy:
        proxy += f" --listen {hands.proxy} --admin {hands.admin} --health {hands.health}"
    return f"(D=$(mktemp -d); {tool} {latencies} & {proxy})"


def _holdfast() -> str:
    """Return the words that started this very command, as they work from here."""
    started = Path(sys.argv[0])
    if started.name == "holdfast" and started.exists():
        return "holdfast" if shutil.which("holdfast") == str(started) else _shown(started)
    return f"{_shown(Path(sys.executable))} -m cli.main"


def _shown(path: Path) -> str:
    """Return a path for a shell: short where it lies below the working directory."""
    with_parents = path.absolute()
    here = Path.cwd()
    short = with_parents.relative_to(here) if with_parents.is_relative_to(here) else with_parents
    return shlex.quote(str(short))
