"""What the logs lack, and who should write it."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.triage.account import Account

Read = Callable[..., Account]

WHOLE = """\
2026-03-19T14:00:00Z front INFO user message received thread=t run=r1 payload_hash=m
2026-03-19T14:00:01Z poller INFO run.status run=r1 status=requires_action tool_calls=[c1] replica=p1
2026-03-19T14:00:02Z x INFO POST /tools/t req=q attempt=1 run=r1 tool_call_id=c1 payload_hash=01234567
2026-03-19T14:00:03Z gw AUDIT action=t req=q run=r1 tool_call_id=c1 payload_hash=01234567 audit_id=a http_status=201
2026-03-19T14:00:04Z s INFO submit_tool_outputs run=r1 tool_call_id=c1 dedup_result=MISS audit_id=a replica=s1
"""


def test_logs_that_have_everything_lack_nothing(read: Read) -> None:
    """Then every mechanism can be decided."""
    assert read(WHOLE).gaps == ()


def test_each_field_that_is_taken_away_is_asked_for(read: Read) -> None:
    """Of the service that should write it, on the line where it belongs."""
    for taken, service, asked in [
        (" replica=p1", "poller", "replica"),
        (" tool_calls=[c1]", "poller", "the tool call ids"),
        (" attempt=1", "x", "attempt"),
        (" audit_id=a replica=s1", "s", "audit id"),
        (" dedup_result=MISS", "s", "dedup key"),
    ]:
        gaps = read(WHOLE.replace(taken, "")).gaps
        assert any(gap.service == service and asked in gap.fields for gap in gaps), taken


def test_hashes_that_were_cut_short_are_asked_for_whole(read: Read) -> None:
    """What was compared is what is left of them."""
    gaps = read(WHOLE.replace("01234567", "0123...")).gaps
    assert {gap.service for gap in gaps if gap.fields == "the whole payload_hash"} == {"x", "gw"}


def test_logs_without_any_effect_are_told_that_nothing_can_be_said(read: Read) -> None:
    """Not that nothing ran twice."""
    (gap,) = [gap for gap in read("2026-03-19T14:00:00Z x INFO all is well n=1\n").gaps if gap.service == "the tools"]
    assert "nothing can be said" in gap.why
