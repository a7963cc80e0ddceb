"""What others call things."""

from __future__ import annotations

import pytest

from evaluation.triage.naming import fields_in, number, plain, written


def test_fields_are_found_under_their_usual_names() -> None:
    """Whatever the case, hyphens, and one object deep; audit ids under any name that says so."""
    found = fields_in(
        {
            "X-Request-ID": "r1",
            "runId": "run_1",
            "Tool_Call_Id": "c1",
            "external_ticket_id": "INC-1",
            "submit": {"http_status": 200},
        }
    )
    assert found == {"request": "r1", "run": "run_1", "call": "c1", "audit": "INC-1", "status": 200}


def test_surer_name_counts_where_there_are_two() -> None:
    """`http_status` before `status`, whichever comes first."""
    assert fields_in({"status": 500, "http_status": 201})["status"] == 201
    assert fields_in({"http_status": 201, "status": 500})["status"] == 201


@pytest.mark.parametrize("value", [None, True, {}, 1.5, 2**70])
def test_what_is_no_id_is_left_out(value: object) -> None:
    """An id is text, a whole number, or a list of texts."""
    assert written(value) == ""
    assert written(["a", "b"]) == "a,b"


def test_number_is_read_with_its_unit_and_never_fails() -> None:
    """Huge, negative and non-finite ones are none."""
    assert [number(value) for value in ("842ms", 12.6, "x", -1, float("inf"), 10**40, True)] == [842, 13, 0, 0, 0, 0, 0]


def test_text_from_outside_cannot_steer_a_terminal() -> None:
    """Escapes and changes of direction become blanks; long text is cut."""
    assert plain("a\x1b[31mb\u202ec") == "a [31mb c"
    assert plain("x" * 500, 10) == "x" * 9 + "…"
