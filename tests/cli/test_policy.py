"""`holdfast policy` as its user types it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.policy import policy
from policies.schema import rendered

ROOT = Path(__file__).parents[2]
SHIPPED = str(ROOT / "policies")
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\n"
TOOLS = ("create_ticket", "refund_payment", "search_kb", "send_email")
IDS = ("-H", "X-Run-Id: run_1", "-H", "X-Tool-Call-Id: call_1")


def run(*args: str, stdin: str | None = None) -> Result:
    """Run `holdfast policy` in this process."""
    return CliRunner().invoke(policy, args, input=stdin)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A folder with five different mistakes in two files."""
    (tmp_path / "a.yaml").write_text(HEAD + "tool: a\ntimeouts: {hold: 30}\nannounce: no\nretension: 1d\n")
    (tmp_path / "b.yaml").write_text(HEAD + "tool: b\ntool: c\nresult: {retention: 8d}\n")
    return tmp_path


@pytest.mark.fault(61)
def test_check_lists_every_fault_and_ends_with_1(faulty: Path) -> None:
    """Five mistakes are five lines on stdout, each with file, line, column, field and remedy."""
    ended = run("check", str(faulty))
    assert ended.exit_code == 1
    assert [line.removeprefix(f"{faulty}/") for line in ended.stdout.splitlines()] == [
        "a.yaml:4:18: timeouts.hold: '30' has no unit. Say which: 30s or 30ms.",
        "a.yaml:5:11: announce: 'no' where true or false is expected. Write true or false, without quotes.",
        "a.yaml:6:1: retension: unknown field. Did you mean result.retention?",
        "b.yaml:4:1: the key 'tool' stands twice in this map, first on line 3. Keep one of them.",
        (
            "b.yaml:5:10: result.retention: remember (7d, built in) is below retention (8d). "
            "A result cannot outlive the memory of its call: make remember longer."
        ),
    ]
    assert ended.stderr == "5 faults\n"


def test_check_of_a_good_folder_ends_with_0_and_an_empty_stdout() -> None:
    """A word for people goes to stderr."""
    ended = run("check", SHIPPED)
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert ended.stderr == f"{SHIPPED}: 4 policies, no fault\n"


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_check_speaks_json(faulty: Path, form: str) -> None:
    """One object for each fault."""
    ended = run("check", str(faulty), "-o", form)
    faults = json.loads(ended.stdout) if form == "json" else [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.exit_code == 1
    assert len(faults) == 5
    assert faults[0] == {
        "file": f"{faulty}/a.yaml",
        "line": 4,
        "column": 18,
        "field": "timeouts.hold",
        "message": "'30' has no unit",
        "remedy": "Say which: 30s or 30ms.",
    }
    assert run("check", SHIPPED, "-o", "json").stdout == "[]\n"
    assert not run("check", SHIPPED, "-o", "jsonl").stdout


def test_check_of_a_missing_folder_is_a_finding(tmp_path: Path) -> None:
    """It is told like any other fault."""
    ended = run("check", str(tmp_path / "gone"))
    assert ended.exit_code == 1
    assert "gone:1:1: cannot be read: No such file or directory." in ended.stdout


def test_explain_by_flags_shows_policy_identity_and_answers() -> None:
    """The table has everything on lines of their own, and no colour in a pipe."""
    ended = run("explain", SHIPPED, "--path", "/tools/create_ticket", *IDS, "--body", '{"subject": "Printer"}')
    assert ended.exit_code == 0
    assert "\x1b" not in ended.stdout
    for words in (
        "op_",
        "header:x-run-id header:x-tool-call-id",
        "504 outcome-unknown after 90s",
        "create_ticket.yaml:38",
    ):
        assert words in ended.stdout


def test_explain_by_file_is_the_same_as_by_flags(tmp_path: Path) -> None:
    """A request that was captured can be explained as it is."""
    (tmp_path / "r.http").write_text(
        "POST /tools/create_ticket HTTP/1.1\nX-Run-Id: run_1\nX-Tool-Call-Id: call_1\n\n" + '{"a": 1}'
    )
    by_file = run("explain", SHIPPED, str(tmp_path / "r.http"), "-o", "json").stdout
    by_flags = run(
        "explain", SHIPPED, "--path", "/tools/create_ticket", *IDS, "--body", '{"a": 1}', "-o", "json"
    ).stdout
    assert by_file == by_flags
    lines = {(line["topic"], line["name"]): line for line in json.loads(by_file)}
    assert lines["field", "result.final"]["value"] == ["2xx", "3xx", "4xx"]


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--path", "/x", "file"),
        ("--path", "x"),
        ("--path", "/x", "-H", "nonsense"),
        ("--path", "/x", "--body", "@gone"),
        ("gone.http",),
        ("--path", "/x", "--method", "TRACE"),
    ],
)
def test_explain_of_what_is_no_request_is_a_usage_error(args: tuple[str, ...]) -> None:
    """Exit code 2, the reason on stderr, nothing on stdout."""
    ended = run("explain", SHIPPED, *args)
    assert ended.exit_code == 2
    assert "Error: " in ended.stderr
    assert not ended.stdout


def test_explain_under_faulty_policies_tells_the_faults(faulty: Path) -> None:
    """There is nothing to explain by; the faults go to stderr, since they are not what was asked for."""
    ended = run("explain", str(faulty), "--path", "/x")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "a.yaml:4:18: timeouts.hold" in ended.stderr


def test_schema_prints_what_is_committed() -> None:
    """`holdfast policy schema > policies/schema.json` is how the file is made."""
    assert run("schema").stdout == rendered()


def test_check_loads_neither_proxy_nor_watcher() -> None:
    """It runs in editors' hooks and in pipelines: start-up time is most of it."""
    program = (
        "import sys; from cli.policy import policy\n"
        f"policy(['check', {SHIPPED!r}], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(ended.stdout.split()) & {"aiohttp", "proxy", "proxy.identity", "watchfiles", "redis", "rfc8785"}


def test_cases_that_hold_are_counted() -> None:
    """A word for people on stderr, nothing on stdout; every case as a row for programs."""
    ended = run("test", SHIPPED)
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert ended.stderr.endswith(" cases, none failed\n")
    rows = json.loads(run("test", SHIPPED, "-o", "json").stdout)
    assert {Path(row["file"]).name for row in rows} == {f"{name}.yaml" for name in TOOLS}
    assert all(row["passed"] and not row["differences"] for row in rows)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The shipped policies, but for a probe that looks in the wrong place."""
    shutil.copytree(SHIPPED, tmp_path / "policies", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    desk = tmp_path / "policies" / "create_ticket.yaml"
    desk.write_text(desk.read_text().replace("applied: body:/items/0", "applied: body:/tickets/0"))
    return tmp_path / "policies"


def test_policy_that_is_broken_fails_its_cases(broken: Path) -> None:
    """Expected against got, with file and line; exit code 1."""
    ended = run("test", str(broken))
    assert ended.exit_code == 1
    assert f"{broken}/tests/create_ticket.yaml:" in ended.stdout
    assert "state: expected completed, got free" in ended.stdout
    assert ended.stderr.endswith("failed\n")
    rows = json.loads(run("test", str(broken / "tests" / "create_ticket.yaml"), "-o", "json").stdout)
    assert {row["passed"] for row in rows} == {True, False}


def test_cases_that_cannot_be_read_are_told_like_policies(tmp_path: Path) -> None:
    """By `test` and by `check`, with the faults of the policies, all at once."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "a.yaml").write_text(HEAD + "tool: a\nmode: maybe\n")
    (tmp_path / "tests" / "a.yaml").write_text("apiVersion: holdfast.dev/v1\nkind: PolicyTest\ncases: []\n")
    checked = run("check", str(tmp_path))
    assert checked.exit_code == 1
    assert "a.yaml:4:7: mode: 'maybe' is not a choice here" in checked.stdout
    assert "tests/a.yaml:3:8: cases: a list of 0" in checked.stdout
    tested = run("test", str(tmp_path))
    assert tested.exit_code == 1
    assert "tests/a.yaml:3:8: cases: a list of 0" in tested.stdout


def test_no_cases_are_a_usage_error(tmp_path: Path) -> None:
    """A pipeline that proves nothing must not be green."""
    (tmp_path / "a.yaml").write_text(HEAD + "tool: a\n")
    ended = run("test", str(tmp_path))
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "no cases there" in ended.stderr
