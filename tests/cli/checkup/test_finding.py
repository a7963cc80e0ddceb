"""What counts as a finding."""

from __future__ import annotations

from cli.checkup.finding import error, ok, warning, worse_than_ok


def test_warning_or_error_is_worse_than_ok() -> None:
    """A checkup that is all ok is clean; one warning is enough to be told of."""
    assert not worse_than_ok([ok("a", "fine"), ok("b", "fine")])
    assert worse_than_ok([ok("a", "fine"), warning("b", "hm", "do")])
    assert worse_than_ok([error("b", "no", "do")])
