"""Lists of field names and what they mean; `test_fields.py` holds the use of it against looking at each field."""

from __future__ import annotations

import pytest

from proxy.layout import (
    CONTENT_TYPE,
    CONTROL,
    FRAMING,
    HOST,
    IMITATION,
    OURS_PART,
    PLAIN,
    PREFER,
    SECRET,
    TRACE,
    Layout,
)

MEANINGS = {
    b"Host": HOST, b"A": PLAIN, b"Run": CONTROL, b"Te": FRAMING, b"Ours": OURS_PART, b"Type": CONTENT_TYPE,
    b"Connection": FRAMING, b"Auth": SECRET, b"Trace": TRACE, b"Prefer": PREFER, b"R_un": IMITATION,
}  # fmt: skip


def layout_of(*names: bytes) -> Layout:
    """Return what names mean."""
    return Layout(names, [(MEANINGS[name], name.lower()) for name in names])


def test_fields_are_found_where_they_are() -> None:
    """By their place in what came; Host by its place in what goes on."""
    found = layout_of(b"Te", b"Connection", b"A", b"Host", b"Ours", b"Run", b"Type", b"Auth", b"Trace", b"A")
    assert found.simple
    assert found.controls == [(b"run", 5)]
    assert found.connection_at == [1]
    assert (found.content_type_at, found.credential_at, found.trace_at, found.host_at) == (6, 7, 8, 1)
    assert found.onward == [
        (b"A", 2), (b"Host", 3), (b"Run", 5), (b"Type", 6), (b"Auth", 7), (b"Trace", 8), (b"A", 9),
    ]  # fmt: skip


def test_nothing_is_found_where_there_is_nothing() -> None:
    """A request without a field is as good as any."""
    found = layout_of()
    assert (found.simple, found.controls, found.onward, found.host_at, found.trace_at) == (True, [], [], -1, -1)


@pytest.mark.parametrize(
    "names", [(b"Prefer",), (b"R_un",), (b"Run", b"Run"), (b"Host", b"Host"), (b"Auth", b"Auth"), (b"Type", b"Type")]
)
def test_names_that_take_a_closer_look_are_not_simple(names: tuple[bytes, ...]) -> None:
    """What counts may not come twice, and some fields are more than a place."""
    assert not layout_of(b"A", *names).simple
