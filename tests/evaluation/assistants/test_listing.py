"""Lists come in pages, as the clients walk through them."""

from __future__ import annotations

import pytest

from evaluation.assistants.life import Refusal
from evaluation.assistants.listing import page

FOUND = [{"id": f"id_{number}"} for number in range(5)]


def ids(query: dict[str, str]) -> tuple[list[str], bool]:
    """Return a page's ids, and whether there is more."""
    shown = page(FOUND, query)
    return [one["id"] for one in shown["data"]], shown["has_more"]


def test_page_is_newest_first_and_says_whether_there_is_more() -> None:
    """Without an order the newest come first; `after` goes on where the last page ended."""
    assert ids({"limit": "2"}) == (["id_4", "id_3"], True)
    assert ids({"limit": "2", "after": "id_3"}) == (["id_2", "id_1"], True)
    assert ids({"limit": "2", "after": "id_1"}) == (["id_0"], False)


def test_page_in_ascending_order_begins_with_the_oldest() -> None:
    """`order=asc` turns the list round; `before` ends it."""
    assert ids({"order": "asc", "limit": "2"}) == (["id_0", "id_1"], True)
    assert ids({"order": "asc", "before": "id_2"}) == (["id_0", "id_1"], False)


def test_empty_list_has_no_first_id() -> None:
    """An empty list has null cursors."""
    shown = page([], {})
    assert (shown["first_id"], shown["last_id"], shown["has_more"]) == (None, None, False)


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "id_9"}]
)
def test_senseless_page_is_refused(query: dict[str, str]) -> None:
    """A limit out of range, an unknown order and an unknown cursor are refused."""
    with pytest.raises(Refusal) as told:
        page(FOUND, query)
    assert told.value.status == 400
