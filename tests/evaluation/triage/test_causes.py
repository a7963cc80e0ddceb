"""The mechanisms, each with lines that show it, and with lines that speak against it."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.triage.account import Account, Mechanism

Read = Callable[..., Account]


def log(*lines: str) -> str:
    """Return lines of 14:00 UTC, each given as `SS.mmm rest`."""
    return "".join(f"2026-03-19T14:00:{line}\n" for line in (one.replace(" ", "Z ", 1) for one in lines))


def effect(second: str, audit: str, ids: str) -> str:
    """Return a tool's own audit line."""
    return f"{second} gw AUDIT action=send_email payload_hash=h user=u audit_id={audit} http_status=202 {ids}"


def weighed(account: Account, name: str) -> Mechanism:
    """Return one mechanism of the only finding."""
    (finding,) = account.findings
    return next(one for one in finding.mechanisms if one.mechanism == name)


def test_two_requests_at_once_speak_for_two_pollers(read: Read) -> None:
    """Nobody waited for a time limit; two replicas saw the run; both by ids."""
    account = read(
        log(
            "00.000 poller INFO run.status run=r1 status=requires_action tool_calls=[c1] replica=p1",
            "00.020 poller INFO run.status run=r1 status=requires_action tool_calls=[c1] replica=p2",
            "00.030 x INFO POST /tools/send_email req=q1 run=r1 tool_call_id=c1 payload_hash=h user=u",
            "00.060 x INFO POST /tools/send_email req=q2 run=r1 tool_call_id=c1 payload_hash=h user=u",
            "00.300 x INFO 202 Accepted req=q1 tool_audit_id=e1",
            "00.310 x INFO 202 Accepted req=q2 tool_audit_id=e2",
        )
    )
    pollers = weighed(account, "two-pollers")
    assert account.findings[0].cause == "two-pollers"
    assert pollers.verdict == "likely"
    said = " ".join(one.says for one in pollers.evidence_for)
    assert "seen 2 times by 2 replicas" in said
    assert "30 ms apart" in said


def test_same_effect_under_a_new_call_id_in_one_run_shows_a_regenerated_step(read: Read) -> None:
    """And that a replica restarted in between is told beside it."""
    account = read(
        log(
            effect("01.000", "e1", "run=r1 tool_call_id=c1"),
            "02.000 serving WARN worker restarted replica=s2",
            effect("05.000", "e2", "run=r1 tool_call_id=c2"),
        )
    )
    step = weighed(account, "regenerated-step")
    assert step.verdict == "shown"
    assert [one.joined_by for one in step.evidence_for] == ["ids", "time"]


def test_sidecar_that_began_is_no_replica_that_restarted(read: Read) -> None:
    """It makes no steps."""
    began = '{"ts":"2026-03-19T14:00:02Z","service":"holdfast-proxy","event":"proxy.started"}\n'
    effects = log(*(effect(f"0{at}.000", f"e{at}", "run=r1 tool_call_id=c1") for at in (1, 5)))
    assert weighed(read(effects + began), "regenerated-step").evidence_for == ()


def test_two_calls_that_were_asked_for_at_once_are_no_regenerated_step(read: Read) -> None:
    """The model planned the call twice: the line that asks for both rules the restart out."""
    account = read(
        log(
            "00.000 poller INFO run.status run=r1 status=requires_action tool_calls=[c1,c2]",
            effect("01.000", "e1", "run=r1 tool_call_id=c1"),
            effect("01.500", "e2", "run=r1 tool_call_id=c2"),
        )
    )
    step = weighed(account, "regenerated-step")
    assert step.verdict == "ruled out"
    assert "planned the same call twice" in step.evidence_against[0].says


def test_one_run_rules_a_repeated_message_out(read: Read) -> None:
    """By the ids on the executions; a run that is there by time alone would not."""
    account = read(
        log(effect("01.000", "e1", "run=r1 tool_call_id=c1"), effect("05.000", "e2", "run=r1 tool_call_id=c1"))
    )
    assert weighed(account, "repeated-message").verdict == "ruled out"


def test_answer_that_was_cut_off_speaks_for_a_retry(read: Read) -> None:
    """Our tools' audit says so of the first effect: likely, as nobody logged the attempts."""
    line = '{"audit_id":"%s","tool":"t","payload_hash":"h","run_id":"r","tool_call_id":"c","request_id":"%s",'
    line += '"arrived_at":%s,"ts":%s,"answered":%d}\n'
    account = read(
        line % ("a1", "q1", 1773928800.0, 1773928800.1, 0) + line % ("a2", "q2", 1773928805.0, 1773928805.1, 201)
    )
    retry = weighed(account, "timeout-retry")
    assert account.findings[0].cause == "timeout-retry"
    assert retry.verdict == "likely"
    assert "cut off" in retry.evidence_for[0].says
    assert retry.title.endswith("had run")


def test_executions_that_overlap_speak_for_a_retry_while_the_first_ran(read: Read) -> None:
    """The tool's audit alone: the second arrived 10 s later, while the first was at work."""
    line = '{"audit_id":"%s","tool":"t","payload_hash":"h","run_id":"r","tool_call_id":"c","request_id":"%s",'
    line += '"arrived_at":%s,"ts":%s,"answered":201}\n'
    account = read(line % ("a1", "q1", 1773928800.0, 1773928811.0) + line % ("a2", "q2", 1773928810.0, 1773928810.5))
    retry = weighed(account, "timeout-retry")
    assert retry.verdict == "likely"
    assert "still ran" in retry.title
    assert "asked for 10.000 s after a1" in retry.evidence_for[0].says


def test_executions_without_a_run_are_tied_to_none_where_two_were_active(read: Read) -> None:
    """Time alone could be either's: nothing about a run is said."""
    account = read(
        log(
            "00.000 poller INFO run.status run=r1 status=requires_action",
            "00.000 poller INFO run.status run=r2 status=requires_action",
            effect("01.000", "e1", ""),
            effect("05.000", "e2", ""),
        )
    )
    (finding,) = account.findings
    assert (finding.runs, finding.runs_by) == ((), "unknown")
    assert all(line.joined_by != "time" for one in finding.mechanisms for line in one.evidence_for)


def test_dedup_that_hit_before_the_last_effect_speaks_against_late_dedup(read: Read) -> None:
    """It knew, and the effect happened all the same."""
    account = read(
        log(
            effect("01.000", "e1", "run=r1 tool_call_id=c1"),
            "02.000 s INFO submit_tool_outputs run=r1 tool_call_id=c1 dedup_result=HIT",
            effect("05.000", "e2", "run=r1 tool_call_id=c1"),
        )
    )
    assert weighed(account, "late-dedup").evidence_against[0].says.startswith("dedup was a HIT")


def test_messages_with_one_hash_speak_for_a_repeated_message(read: Read) -> None:
    """Strong, and not decisive: a line says that the message came twice, and none which run each made."""
    account = read(
        log(
            "00.000 front INFO user message received user=u payload_hash=m",
            "00.400 front INFO user message received user=u payload_hash=m",
            effect("01.000", "e1", ""),
            effect("01.400", "e2", ""),
        )
    )
    message = weighed(account, "repeated-message")
    assert message.verdict == "likely"
    assert "the same message came 2 times" in message.evidence_for[0].says
