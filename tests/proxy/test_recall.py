"""What calls were found to be, remembered for their repetitions: never another call's, and never too much of it."""

from __future__ import annotations

import pytest

from ledger.key import Ref
from ledger.records import Call
from proxy.fields import Sorter
from proxy.inbound.head import read_head
from proxy.recall import BODY_BYTES_MAX, ENTRY_BYTES, Known, Recall, Sign

SORTER = Sorter(frozenset({b"x-run-id", b"x-account", b"authorization"}))


def sign(recall: Recall, *fields: bytes, line: bytes = b"POST /tools/act HTTP/1.1", body: bytes = b"{}") -> Sign | None:
    """Return what a request is looked up by."""
    head = read_head(b"\r\n".join((line, b"Host: a", *fields, b"", b"")))
    return recall.sign(head.line, SORTER.sort(head.fields), body)


def known(operation: str = "op_1") -> Known:
    """Return what a call was found to be."""
    return Known(Ref("t/act", operation), "mark", Call("t", "act"), "", "")


RUN = b"X-Run-Id: r"


def test_repetition_is_known() -> None:
    """Ids, target and body are what counts; tracing and the like may differ."""
    recall = Recall()
    first = sign(recall, RUN, b"traceparent: a")
    assert first is not None
    assert recall.get(first) is None
    recall.put(first, b"{}", known())
    again = sign(recall, b"traceparent: b", b"x-run-id: r", b"X-Retry: 2")
    assert again is not None
    assert recall.get(again) == known()


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    "other",
    [
        {"fields": (b"X-Run-Id: s",)}, {"fields": (b"X-Account: r",)}, {"fields": (RUN, b"X-Account: a")},
        {"fields": ()},
        {"body": b"[]"}, {"body": b""}, {"line": b"PUT /tools/act HTTP/1.1"}, {"line": b"POST /tools/act? HTTP/1.1"},
        {"fields": (RUN, b"Content-Type: text/plain")}, {"fields": (RUN, b"Authorization: me")},
    ],
    ids=str,
)  # fmt: skip
def test_another_call_is_not_known(other: dict[str, object]) -> None:
    """Whatever identity, fingerprint or effect are made of tells calls apart."""
    recall = Recall()
    first = sign(recall, RUN)
    assert first is not None
    recall.put(first, b"{}", known())
    fields = other.pop("fields", (RUN,))
    found = sign(recall, *fields, **other)  # type: ignore[misc,arg-type]  # as they are in the table
    assert found is not None
    assert recall.get(found) is None


def test_credentials_tell_calls_apart_and_are_not_kept() -> None:
    """Nor anything that could be compared with another process's memory."""
    recall = Recall()
    mine, yours = (sign(recall, RUN, b"Authorization: " + who) for who in (b"Bearer s3cret", b"Bearer other"))
    assert mine != yours
    assert mine == sign(recall, RUN, b"Authorization: Bearer s3cret")
    assert "s3cret" not in repr(mine)
    assert mine != sign(Recall(), RUN, b"Authorization: Bearer s3cret")


def test_memory_is_bounded_and_the_oldest_make_room() -> None:
    """In bytes; large bodies are not remembered at all."""
    recall = Recall(bytes_max=3 * (ENTRY_BYTES + 2))
    signs = [sign(recall, b"X-Run-Id: %d" % number) for number in range(5)]
    for number, one in enumerate(signs):
        assert one is not None
        for _ in range(2):
            recall.put(one, b"{}", known(f"op_{number}"))
    assert [one is not None and recall.get(one) is not None for one in signs] == [False, False, True, True, True]
    assert sign(recall, RUN, body=b"x" * (BODY_BYTES_MAX + 1)) is None
    assert sign(recall, RUN, body=b"x" * BODY_BYTES_MAX) is not None
