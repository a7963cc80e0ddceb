"""What an answer means: the table of `coordinator.replies`, row by row. What is done about it: test_executor.py."""

from __future__ import annotations

import pytest

from coordinator.exchange import Replied
from coordinator.replies import Attach, Broken, Definite, Meaning, NotYet, Retry, meaning, retry_after_s
from tests.coordinator.scripted_exchange import problem, reply


def meant(answer: Replied) -> Meaning:
    """Return what an answer means."""
    return meaning(answer.status, lambda name: answer.fields.get(name, ""), answer.body, lambda: '"the output"')


@pytest.mark.parametrize(
    ("answer", "kind", "verdict"),
    [
        (reply(200), Definite, "answered"),
        (reply(302), Definite, "answered"),
        (reply(500), Definite, "answered"),
        (reply(502, Holdfast_Outcome="executed", Holdfast_Operation="op_1"), Definite, "answered"),
        (reply(503, Holdfast_Outcome="executed", Holdfast_Operation="op_1"), Definite, "answered"),
        (reply(200, Holdfast_Outcome="replayed", Holdfast_Operation="op_1"), Definite, "answered"),
        (reply(429), Retry, "answered"),
        (reply(429, Holdfast_Outcome="not-executed", Holdfast_Operation="op_1"), Retry, "answered"),
        (reply(503), Retry, "answered"),
        (reply(503, Holdfast_Outcome="unknown", Holdfast_Operation="op_1"), Attach, "overdue"),
        (reply(500, Holdfast_Outcome="unknown", Holdfast_Operation="op_1"), Attach, "overdue"),
        (problem("in-flight", 409), Attach, "overdue"),
        (problem("outcome-unknown", 409, can_end=True), Attach, "overdue"),
        (problem("outcome-unknown", 502, can_end=True), Attach, "overdue"),
        (problem("outcome-unknown", 502, can_end=False), Definite, "unknown"),
        (problem("outcome-unknown", 409), Definite, "unknown"),
        (problem("not-sent", 504), Retry, "unreached"),
        (problem("upstream-timeout", 504), Retry, "unreached"),
        (problem("store-unavailable", 503), NotYet, "refused"),
        (problem("overloaded", 503), NotYet, "refused"),
        (problem("body-timeout", 408), Retry, "refused"),
        (problem("internal", 500), Broken, "overdue"),
        (problem("key-reused", 422), Definite, "refused"),
        (problem("of-a-later-version", 418), Definite, "refused"),
        (reply(503, "no document", Proxy_Status="holdfast; error=x"), NotYet, "refused"),
        (reply(400, "no document", Proxy_Status="holdfast"), Definite, "refused"),
        (reply(202, {"state": "in-flight"}, Proxy_Status="holdfast"), Attach, "overdue"),
    ],
)
def test_answer_means_what_the_table_says(answer: Replied, kind: type[Meaning], verdict: str) -> None:
    """Whose it is, what it is, and what is told if it stays the last."""
    found = meant(answer)
    assert (type(found), found.told.verdict) == (kind, verdict)
    assert (found.told.output == '"the output"') == (verdict == "answered")
    assert found.told.status == answer.status


def test_problem_of_somebody_else_is_the_tools_answer() -> None:
    """Only `Proxy-Status: holdfast` makes a document Holdfast's: tools speak of problems, too."""
    theirs = problem("in-flight", 409)
    for status in ("", "envoy; error=x", "holdfastly", '"holdfast"'):
        fields = theirs.fields.copy()
        fields["Proxy-Status"] = status
        found = meant(Replied(409, fields, theirs.body))
        assert (type(found), found.told.verdict) == (Definite, "answered")


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("", None), ("7", 7.0), ("007", 7.0), ("-7", None), ("7.5", None), ("soon", None), ("٧", None),
        ("9" * 5_000, 999_999_999.0), ("Wed, 25 Nov 2026 10:00:07 GMT", 7.0), ("Wed, 25 Nov 2026 09:00:00 GMT", 0.0),
        ("Wed, 99 Nov 2026 10:00:07 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_a_number_or_a_moment(field: str, seconds: float | None) -> None:
    """What is neither is no wish."""
    assert retry_after_s(field, "Wed, 25 Nov 2026 10:00:00 GMT") == seconds


def test_moment_without_a_date_to_count_from_is_no_wish() -> None:
    """Our clock and the server's may differ."""
    assert retry_after_s("Wed, 25 Nov 2026 10:00:07 GMT", "") is None
