"""From files to the account: what ran twice, how, on what evidence, and what cannot be told."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.triage.account import Account, Finding
from evaluation.triage.accounting import account_of
from tests.effort import LONGER

Read = Callable[..., Account]

LINES = """\
2026-03-19T14:00:00.000Z executor INFO POST /tools/send_email req=r1 user=u1 payload_hash=aa run=run_1 tool_call_id=c1
2026-03-19T14:00:00.300Z executor INFO 202 Accepted req=r1 tool_audit_id=eml_1
2026-03-19T14:00:01.000Z executor INFO POST /tools/send_email req=r2 user=u2 payload_hash=bb run=run_2 tool_call_id=c1
2026-03-19T14:00:01.300Z executor INFO 202 Accepted req=r2 tool_audit_id=eml_2
"""


def verdicts(finding: Finding) -> dict[str, str]:
    """Return each mechanism's verdict."""
    return {one.mechanism: one.verdict for one in finding.mechanisms}


def test_timed_out_call_that_was_sent_again_is_named_with_its_lines(incident: Read) -> None:
    """The first incident: the attempt that timed out was still under way when the second was sent."""
    (finding,) = incident("slow_tool.txt").findings
    assert finding.says == "create_ticket ran 2 times: tkt_772900, tkt_772901"
    assert (finding.cause, finding.cause_verdict) == ("timeout-retry", "shown")
    shown = finding.mechanisms[0]
    assert shown.title == "time-out, then retried while the first attempt still ran"
    assert (
        "gw_8b91 timed out after 10.011 s; 13 ms later the same call was sent as gw_8b92" in shown.evidence_for[0].says
    )
    assert "answered as tkt_772900 1.063 s after gw_8b92 had been sent" in shown.evidence_for[1].says
    assert [line.rpartition(":")[2] for line in shown.evidence_for[0].lines] == ["11", "10", "12"]
    assert set(verdicts(finding).values()) == {"shown", "likely", "possible", "not excluded"}


def test_time_of_an_answer_is_not_called_that_of_the_effect(incident: Read) -> None:
    """Where only the caller's log is there, an execution's time is when it heard, and the tool's audit is asked for."""
    account = incident("slow_tool.txt")
    assert {done.time_of for done in account.findings[0].executions} == {"answer"}
    assert any(gap.service == "the tools" and "audit line" in gap.fields for gap in account.gaps)


def test_second_submission_is_no_second_effect(incident: Read) -> None:
    """The handler refused the second output 27 ms after the last effect: told by itself, and as why."""
    account = incident("slow_tool.txt")
    (submission,) = account.submissions
    assert (submission.run_id, submission.tool_call_id, submission.count) == ("run_31f7", "call_A1", 2)
    assert "no effect" in submission.says
    assert account.counts.calls_run_twice == 1
    (guard,) = [one for one in account.findings[0].mechanisms if one.role == "guard"]
    assert guard.verdict == "likely"
    assert "27 ms after the last of the effects" in guard.evidence_for[0].says


def test_two_creates_without_a_cause_in_the_lines_leave_it_open(incident: Read) -> None:
    """The second incident: two creates of one payload 7.889 s apart are proven, and how they came about is not."""
    (finding,) = incident("late_key.txt").findings
    assert (finding.spread_ms, finding.conversation, finding.payload_hash) == (7_889, "C8821", "9f2c...b17")
    assert [done.audit_id for done in finding.executions] == ["INC-55102", "INC-55103"]
    assert finding.cause == ""
    assert set(finding.open) == {"two-pollers", "regenerated-step", "timeout-retry", "repeated-message"}
    assert finding.runs_by == "time"


def test_dedup_that_missed_after_the_first_effect_is_told_with_its_times(incident: Read) -> None:
    """The key of the submission was claimed after one create and before the other: that joins by time, so it is
    likely."""
    (finding,) = incident("late_key.txt").findings
    guard = finding.mechanisms[0]
    assert (guard.mechanism, guard.verdict) == ("late-dedup", "likely")
    assert "MISS 2.102 s after the first effect and 5.787 s before the last" in guard.evidence_for[0].says


def test_what_the_second_incident_lacks_is_asked_of_who_should_write_it(incident: Read) -> None:
    """Each open mechanism has a field that would decide it, and a service that should write it."""
    account = incident("late_key.txt")
    asked = {(gap.service, gap.fields) for gap in account.gaps}
    assert ("gateway", "run_id, step_id, tool_call_id") in asked
    assert ("gateway", "request_id, attempt, the idempotency key that was honoured") in asked
    assert (
        "whoever calls the tools",
        "sent, timed out or answered, with request_id, attempt, limit, run_id and tool_call_id",
    ) in asked
    assert {"poller", "model-server", "output-handler"} <= {service for service, _ in asked}
    assert set(account.findings[0].open) <= {name for gap in account.gaps for name in gap.decides}


def test_metrics_of_a_snapshot_that_moved_are_told(incident: Read) -> None:
    """Those away from their baselines, and no others."""
    assert {(one.name, one.times) for one in incident("late_key.txt").metrics} == {
        ("handler.dedup.miss_rate", 6.73),
        ("serving.replica_restarts", 6.0),
    }


def test_incidents_read_together_stay_apart(incident: Read) -> None:
    """Three documents at once: two findings, each with its own run, and prose and tables are counted as no log."""
    account = incident("slow_tool.txt", "late_key.txt", "experiment.md")
    assert [(finding.runs, finding.cause) for finding in account.findings] == [
        (("run_Ba91",), ""),
        (("run_31f7",), "timeout-retry"),
    ]
    assert account.read[2].records == 0
    assert account.read[2].skipped > 5
    assert account.counts.causes == {"timeout-retry": 1, "undecided": 1}


def test_files_in_any_order_give_the_same_findings() -> None:
    """The account depends on what the lines say, not on which file was named first."""
    folder = Path(__file__).parent / "incidents"
    names = [str(path) for path in sorted(folder.iterdir())]
    accounts = [account_of(list(order)) for order in itertools.permutations(names)]
    assert all(account.findings == accounts[0].findings for account in accounts)


@pytest.mark.parametrize("seed", range(5))
def test_dated_lines_in_any_order_give_the_same_findings(read: Read, incident: Read, seed: int) -> None:
    """A log that was put together from many places is sorted by nobody."""
    text = (Path(__file__).parent / "incidents/slow_tool.txt").read_text().splitlines(keepends=True)
    random.Random(seed).shuffle(text)
    half = len(text) // 2
    (finding,) = read("".join(text[:half]), "".join(text[half:])).findings
    (expected,) = incident("slow_tool.txt").findings
    assert [(m.mechanism, m.verdict, [e.says for e in m.evidence_for]) for m in finding.mechanisms] == [
        (m.mechanism, m.verdict, [e.says for e in m.evidence_for]) for m in expected.mechanisms
    ]


def test_log_without_duplicates_gives_no_finding(read: Read) -> None:
    """Different calls that look alike (the same call id in two runs, other payloads) are two calls."""
    account = read(LINES)
    assert account.findings == ()
    assert (account.counts.executions, account.counts.calls_run_twice, account.repeats) == (2, 0, ())


def test_same_effect_later_in_another_run_is_mentioned_and_not_called_a_duplicate(read: Read) -> None:
    """Beyond the window it may well be meant: 25 minutes apart it is told as the same again."""
    again = LINES.splitlines()[:2]
    later = "\n".join(again).replace("14:00:0", "14:25:0").replace("r1", "r9").replace("run_1", "run_9")
    account = read(LINES, later.replace("eml_1", "eml_9"))
    assert account.findings == ()
    (told,) = account.repeats
    assert told.audit_ids == ("eml_1", "eml_9")
    assert told.gap_ms == 25 * 60_000
    assert "in runs run_1, run_9" in told.says


def test_same_effect_within_the_window_in_two_runs_is_a_repeated_message(read: Read) -> None:
    """Two runs had the same effect seconds apart: the lines say so by their ids."""
    later = (
        "\n".join(LINES.splitlines()[:2]).replace("14:00:0", "14:00:2").replace("r1", "r9").replace("run_1", "run_9")
    )
    (finding,) = read(LINES, later.replace("eml_1", "eml_9")).findings
    assert finding.cause == "repeated-message"
    assert finding.cause_verdict == "shown"


def test_one_effect_that_several_services_tell_of_is_one_execution(read: Read) -> None:
    """The tool's audit, the caller's log and the proxy's line name one audit id: nothing ran twice."""
    audit = '{"audit_id":"eml_1","tool":"send_email","payload_hash":"cc","run_id":"run_1","tool_call_id":"c1",'
    audit += (
        '"request_id":"r1","operation":"op_1","attempt":1,"arrived_at":1773928800.1,"ts":1773928800.2,"answered":202}\n'
    )
    proxy = '{"ts":"2026-03-19T14:00:00.300Z","level":"info","service":"holdfast-proxy","event":"request",'
    proxy += '"operation":"op_1","tool":"send_email","run_id":"run_1","tool_call_id":"c1","payload_hash":"dd",'
    again = proxy
    proxy += '"outcome":"executed","attempt":1,"status":202,"upstream_status":202,"duration_ms":200.5}\n'
    again += '"outcome":"replayed","how":"replayed","status":202,"audit_id":"eml_1"}\n'
    account = read(LINES.splitlines(keepends=True)[0] + LINES.splitlines(keepends=True)[1], audit, proxy + again)
    assert account.findings == ()
    assert account.counts.executions == 1
    assert account.counts.prevented == 1


def test_no_more_findings_are_told_than_asked_for_and_all_are_counted(tmp_path: Path) -> None:
    """`findings_max` bounds what is told; the counts are of everything."""
    file = tmp_path / "many.log"
    lines = []
    for number in range(30):
        for attempt in "ab":
            at = f"2026-03-19T14:{number:02}:0{'ab'.index(attempt)}.000Z"
            lines.append(
                f"{at} gw AUDIT action=send_email payload_hash=h{number} audit_id=e{number}{attempt} http_status=201\n"
            )
    file.write_text("".join(lines))
    account = account_of([str(file)], findings_max=4)
    assert len(account.findings) == 4
    assert (account.counts.calls_run_twice, account.counts.surplus) == (30, 30)


garbage = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"\d\d:\d\d:\d\d[.,]\d{0,3} [a-z]+ (INFO|WARN|AUDIT) .{0,40}", fullmatch=True),
    st.from_regex(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ [a-z]+ [A-Z]+ ([a-z_]+=\S{0,9} ?){0,5}", fullmatch=True),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["ts", "event", "service", "audit_id", "status", "run_id", "attempt", "arrived_at", "answered"]
                ),
                inner, max_size=5,
            ),
        ),
        max_leaves=8,
    ).map(lambda value: msgspec.json.encode(value).decode()),
    st.sampled_from(["{", "}", "  user_id=u", '  "ts": "x",', "[", "- a.b: 1 (baseline 0)", "- a.b: 1.2 (baseline -)"]),
)  # fmt: skip


@given(lines=st.lists(garbage, max_size=12), ends=st.sampled_from(["\n", "\r\n", "\n\n"]))
@settings(max_examples=60 * LONGER)
def test_no_line_whatsoever_makes_it_fail(lines: list[str], ends: str) -> None:
    """Whatever is in a file, an account comes of it, and it is JSON."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(ends.join(lines).encode("utf-8", "surrogatepass"))
        file.flush()
        account = account_of([file.name, file.name])
    assert msgspec.json.encode(account)


@given(data=st.binary(max_size=400))
@settings(max_examples=30 * LONGER)
def test_no_bytes_whatsoever_make_it_fail(data: bytes) -> None:
    """The same for what is no text, the beginning of a gzip file included."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        assert account_of([file.name]).counts.calls_run_twice >= 0
