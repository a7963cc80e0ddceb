"""`holdfast triage` as a user runs it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.triage import triage
from evaluation.child import rooms_environment

INCIDENTS = Path(__file__).parent.parent / "evaluation/triage/incidents"
SLOW, LATE = str(INCIDENTS / "slow_tool.txt"), str(INCIDENTS / "late_key.txt")

CALLS = 1_500
FILLER = "a line that is no part of any log, as long as such lines are " * 20 + "\n"
RSS_MAX_MIB = 64
"""The command itself, SQLite's cache and what is told; a log of any size may take no more."""

MEASURED = """
import re, sys
from cli.main import main
try:
    main(sys.argv[1:])
finally:  # the peak of this program: `getrusage` counts what the process was before it began it
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024
    open(sys.argv[-1] + ".peak", "w").write(str(peak))
"""


def run(*args: str, text: str | bytes | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(triage, list(args), input=text)


def test_finding_ends_with_1_and_no_finding_with_0(tmp_path: Path) -> None:
    """A second submission alone is none: nothing ran twice."""
    assert run(SLOW).exit_code == 1
    lines = Path(SLOW).read_text().splitlines(keepends=True)
    (tmp_path / "one.log").write_text("".join(line for line in lines if "gw_8b92" not in line))
    ended = run(str(tmp_path / "one.log"), "-o", "json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["counts"]["submissions_repeated"] == 1


@pytest.mark.parametrize("args", [[], ["no/such/file"], [str(INCIDENTS)], ["-", "-"], [SLOW, "--window", "90"]])
def test_wrong_use_ends_with_2(args: list[str]) -> None:
    """No file, one that is not there, a folder, stdin twice, a duration without a unit."""
    assert run(*args).exit_code == 2


def test_stdin_and_gzip_are_read_like_a_file(tmp_path: Path) -> None:
    """The findings are the same, but for where their lines stand."""
    text = Path(SLOW).read_bytes()
    (tmp_path / "slow.gz").write_bytes(gzip.compress(text))
    told = [run("-o", "json", SLOW), run("-o", "json", str(tmp_path / "slow.gz")), run("-o", "json", "-", text=text)]
    causes = [
        [(one["says"], one["cause"], one["cause_verdict"]) for one in json.loads(t.stdout)["findings"]] for t in told
    ]
    assert causes[0] == causes[1] == causes[2] == [
        ("create_ticket ran 2 times: tkt_772900, tkt_772901", "timeout-retry", "shown")
    ]  # fmt: skip


def test_json_has_the_documented_shape() -> None:
    """Its members are those of docs/triage.md, in their order."""
    account = json.loads(run("-o", "json", SLOW, LATE).stdout)
    assert account["schema"] == "holdfast.triage/v1"
    page = (Path(__file__).parent.parent.parent / "docs/triage.md").read_text()
    _, _, below = page.partition("### The JSON form\n")
    rows = [line.split("`")[1] for line in below.partition("\n#")[0].splitlines() if line.startswith("| `")]
    assert rows == list(account)


def test_jsonl_says_of_each_line_what_it_is() -> None:
    """One object a line, for whoever wants the findings alone."""
    lines = [json.loads(line) for line in run("-o", "jsonl", SLOW, LATE).stdout.splitlines()]
    assert [line["cause"] for line in lines if line["is"] == "findings"] == ["", "timeout-retry"]


def test_window_is_the_users_to_choose() -> None:
    """Two creates 7.889 s apart are one call within 90 s, and the same again within 5 s."""
    assert run(LATE, "--window", "5s").exit_code == 0
    account = json.loads(run(LATE, "--window", "5s", "-o", "json").stdout)
    assert [one["gap_ms"] for one in account["repeats"]] == [7_889]


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """A log larger than the bound: it is never in memory whole, and the calls that ran twice in it are found."""
    file = tmp_path / "big.log"
    with file.open("w") as out:
        for number in range(CALLS):
            at = f"2026-03-19T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}"
            out.write(f"{at}.000Z x INFO POST /tools/t req=q{number} user=u payload_hash=h{number} run=r{number}\n")
            for again in range(2 if number % 100 == 0 else 1):
                out.write(f"{at}.50{again}Z x INFO 201 Created req=q{number} audit_id=a{number}.{again}\n")
            out.write(FILLER * 40)
    assert file.stat().st_size > RSS_MAX_MIB * 1024**2
    environment = {**rooms_environment(), "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, "triage", "-o", "json", "--limit", "5", str(file)],
        env=environment, capture_output=True, text=True, timeout=55, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert json.loads(ended.stdout)["counts"]["calls_run_twice"] == CALLS // 100
    assert int(Path(f"{file}.peak").read_text()) < RSS_MAX_MIB
    assert {path.name for path in tmp_path.iterdir()} == {"big.log", "big.log.peak"}
