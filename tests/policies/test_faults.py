"""How faults are told."""

from __future__ import annotations

from policies.faults import SHOWN_MAX, Fault, Place, PolicyErrors, quoted


def test_fault_reads_as_editors_jump() -> None:
    """File, line, column, field, message, remedy."""
    fault = Fault(Place("p/a.yaml", 3, 7), "timeouts.hold", "'30' has no unit", "Say which: 30s or 30ms.")
    assert str(fault) == "p/a.yaml:3:7: timeouts.hold: '30' has no unit. Say which: 30s or 30ms."
    assert str(Fault(Place("p"), "", "no such folder", "Make it.")) == "p:1:1: no such folder. Make it."


def test_errors_are_in_the_order_of_reading_and_told_once() -> None:
    """By file, then line and column as numbers; the same fault seen twice is one."""
    faults = [Fault(Place("a", line, 1), "", "m", "r.") for line in (10, 9, 10)] + [
        Fault(Place("B", 99, 1), "", "m", "r.")
    ]
    assert [(fault.place.file, fault.place.line) for fault in PolicyErrors(faults).faults] == [
        ("B", 99),
        ("a", 9),
        ("a", 10),
    ]


def test_exception_text_is_bounded_and_says_what_it_leaves_out() -> None:
    """A folder with a thousand mistakes does not make a log line of a megabyte; `faults` has them all."""
    errors = PolicyErrors(Fault(Place("a", line), "", "m", "r.") for line in range(1, SHOWN_MAX + 8))
    assert str(errors).endswith("\nand 7 more")
    assert len(errors.faults) == SHOWN_MAX + 7


def test_quoted_text_is_visible_and_short() -> None:
    """A file cannot steer the terminal of whoever checks it, nor flood it."""
    assert quoted("\x1b[31m") == "'\\x1b[31m'"
    assert len(quoted("x" * 10_000)) < 70
