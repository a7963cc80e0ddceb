"""The faults' names, and what each comes to."""

from __future__ import annotations

import re

from evaluation.tools.faults import ENDS, Fault
from tests.tracked import ROOT

PAGE = (ROOT / "docs/simulators.md").read_text()


def test_each_fault_is_about_time_or_has_its_end() -> None:
    """Two only delay; of the others it is known whether the effect took place and what the caller is told."""
    assert set(Fault) - ENDS.keys() == {Fault.OVER_LIMIT, Fault.SLOW}


def test_what_is_refused_at_once_has_no_effect() -> None:
    """A tool that does not even begin does nothing, and says so with a status."""
    assert not [fault for fault, end in ENDS.items() if end.at_once and (end.applied or not end.status)]


def test_faults_are_documented() -> None:
    """docs/simulators.md has a row for each of them, in the order in which they strike, and for no other."""
    assert re.findall(r"^\| `([a-z0-9-]+)` \|.*\| (?:yes|no) \|", PAGE, re.MULTILINE) == [
        fault.value for fault in Fault
    ]
