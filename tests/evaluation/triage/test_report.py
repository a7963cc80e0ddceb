"""The account for people."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.triage.account import Account
from evaluation.triage.report import Short, report

Read = Callable[..., Account]


def test_report_begins_with_the_timeline_and_names_cause_and_lines(incident: Read) -> None:
    """Both services' lines in one order, the cause in words, evidence with its file and line."""
    text = "\n".join(report(incident("slow_tool.txt", "late_key.txt")))
    timeline, _, rest = text.partition("RAN MORE THAN ONCE")
    assert timeline.index("10:11:49.907") < timeline.index("14:12:08.441") < timeline.index("14:12:20.131")
    assert "CAUSE, shown: time-out, then retried while the first attempt still ran" in rest
    assert "CAUSE not shown by these logs; open: two-pollers" in rest
    assert "13 ms later the same call was sent as gw_8b92  [slow_tool.txt:11" in rest
    assert "HANDED IN MORE THAN ONCE, WHICH IS NO EFFECT" in rest
    assert "handler.dedup.miss_rate: 7.4%, 6.73 times its baseline 1.1%" in rest


def test_line_of_json_is_told_as_pairs(incident: Read) -> None:
    """A pretty-printed object is nothing to read in a timeline."""
    text = "\n".join(report(incident("late_key.txt")))
    assert (
        "10:11:44.120 submitted   output-handler run=run_Ba91 step=step_3 call=call_X1 request=req_01J8K... status=200"
        in text
    )
    assert "dedup=MISS" in text


def test_report_of_nothing_says_so(read: Read) -> None:
    """And still what could not have been seen."""
    text = "\n".join(report(read("prose\n")))
    assert "NOTHING RAN TWICE in these logs, as far as they can tell: 0 executions" in text
    assert "an audit line for each effect" in text


def test_file_names_are_short_where_that_leaves_them_apart() -> None:
    """Two files of one name keep their folders."""
    assert Short(["a/one.log", "b/two.log"])("a/one.log:7") == "one.log:7"
    assert Short(["a/one.log", "b/one.log"])("a/one.log:7") == "a/one.log:7"
