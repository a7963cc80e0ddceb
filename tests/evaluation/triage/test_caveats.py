"""What has to be kept in mind about findings."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.triage.account import Account

Read = Callable[..., Account]


def test_effect_before_its_request_shows_that_clocks_disagree(read: Read) -> None:
    """By how much at least, and between whom."""
    caveats = read(
        "2026-03-19T14:00:02.500Z x INFO POST /tools/t req=q\n",
        "2026-03-19T14:00:02.000Z gw AUDIT action=t req=q audit_id=a http_status=201\n",
    ).caveats
    assert any("clocks disagree: gw has 1 effects before x sent the request, by up to 500 ms" in one for one in caveats)


def test_executions_that_cannot_be_compared_are_counted(read: Read) -> None:
    """Neither hash nor ids: that they did not run twice is not known."""
    caveats = read("2026-03-19T14:00:02Z gw AUDIT action=t audit_id=a http_status=201\n").caveats
    assert any(one.startswith("1 executions have neither a payload hash") for one in caveats)


def test_unknown_operations_are_told(read: Read) -> None:
    """Unless their effect is in the logs."""
    line = '{"ts":"2026-03-19T14:00:00Z","service":"holdfast-proxy","event":"request",'
    line += '"operation":"op_1","outcome":"unknown"}\n'
    assert any("1 operations ended unknown" in one for one in read(line).caveats)
    late = line.replace("unknown", "replayed").replace('"outcome"', '"audit_id":"a","outcome"')
    assert not any("ended unknown" in one for one in read(line + late).caveats)


def test_times_without_zone_are_told(read: Read) -> None:
    """They were taken for UTC."""
    caveats = read("2026-03-19 14:00:02 gw AUDIT action=t audit_id=a http_status=201\n").caveats
    assert any("1 times without a zone" in one for one in caveats)
