"""Cursors of listings: read as written, by the same listing alone."""

from __future__ import annotations

import pytest

from coordinator.stores import cursors


@pytest.mark.parametrize("listing", ["", "queued", "a.b", "1.2", cursors.LETTERS])
def test_cursor_is_read_as_written(listing: str) -> None:
    """Whatever the listing is called."""
    assert cursors.read(listing, cursors.written(listing, 42)) == 42
    assert cursors.read(listing, "") is None


@pytest.mark.parametrize(
    "cursor", ["42.other", "42", ".queued", "-1.queued", "٤٢.queued", "x.queued", f"{10**18}.queued"]
)
def test_cursor_that_was_not_given_out_for_the_listing_is_refused(cursor: str) -> None:
    """A listing never begins somewhere in the middle by mistake."""
    with pytest.raises(ValueError, match="begin anew"):
        cursors.read("queued", cursor)
