"""The audit: what is in it has happened, and what has happened is in it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from evaluation.tools.audit import Audit, BadAudit, Effect, effects_in
from tests.evaluation.conftest import effect

ONE, TWO = effect("tkt_772900", "gw_1"), effect("eml_772904", "gw_2")


def test_effect_is_in_the_file_when_it_is_appended(tmp_path: Path) -> None:
    """Nobody closes or flushes anything: whoever reads along sees it."""
    audit = Audit(tmp_path / "audit.jsonl")
    audit.append(ONE)
    assert list(effects_in(tmp_path / "audit.jsonl")) == [ONE]
    audit.append(TWO)
    assert list(effects_in(tmp_path / "audit.jsonl")) == [ONE, TWO] == list(audit.effects())
    audit.close()


def test_audit_goes_on_where_it_ended(tmp_path: Path) -> None:
    """A file that is there keeps its lines, and no number in it is given again."""
    first = Audit(tmp_path / "audit.jsonl")
    first.append(ONE)
    first.append(TWO)
    first.close()
    second = Audit(tmp_path / "audit.jsonl")
    assert (len(second), second.next_id("tkt")) == (2, "tkt_772905")
    second.append(ONE)
    second.close()
    assert list(effects_in(tmp_path / "audit.jsonl")) == [ONE, TWO, ONE]


def test_audit_has_one_writer(tmp_path: Path) -> None:
    """Two would give the same numbers. When the first is gone, however it went, the next may write."""
    first = Audit(tmp_path / "audit.jsonl")
    with pytest.raises(BadAudit, match="other tools are writing to it"):
        Audit(tmp_path / "audit.jsonl")
    first.close()
    Audit(tmp_path / "audit.jsonl").close()


def test_line_that_is_being_written_is_left_out_and_a_torn_one_is_no_audit(tmp_path: Path) -> None:
    """A reader sees whole lines only; who would go on after half a line is told that an effect is missing."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(msgspec.json.encode(ONE) + b"\n" + msgspec.json.encode(TWO)[:20])
    assert list(effects_in(path)) == [ONE]
    with pytest.raises(BadAudit, match="torn off"):
        Audit(path)


def test_file_of_something_else_is_no_audit(tmp_path: Path) -> None:
    """It is told where, and nothing is written into it."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"a": 1}\n')
    with pytest.raises(BadAudit, match=r"audit\.jsonl:1: .*missing required field"):
        Audit(path)
    assert path.read_bytes() == b'{"a": 1}\n'


def test_line_that_the_file_does_not_take_whole_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An effect that cannot be written down is not kept as one."""
    audit = Audit(tmp_path / "audit.jsonl")
    monkeypatch.setattr(os, "write", lambda _, line: len(line) - 1)
    with pytest.raises(OSError, match="only part"):
        audit.append(ONE)
    monkeypatch.undo()
    assert len(audit) == 0
    audit.close()
    with pytest.raises(OSError, match=os.strerror(errno.EISDIR)):
        Audit(tmp_path)


def test_effects_are_found_under_their_operation_and_their_key() -> None:
    """Of the tool that is asked, in their order; once, where both are the same."""
    audit = Audit()
    named = replace(ONE, operation="op_1", key="op_1")
    again, keyed = replace(TWO, operation="op_1"), replace(TWO, key="k_1")
    other = replace(ONE, tool="send_email", operation="op_1")
    for one in (named, again, keyed, other):
        audit.append(one)
    assert audit.under("create_ticket", "op_1") == [named, again]
    assert audit.under("create_ticket", "k_1") == [keyed]
    assert audit.under("create_ticket", "") == []


def test_pages_follow_upon_each_other_without_gap_or_repetition() -> None:
    """Each says where the next begins, with a filter too; past the end there is nothing, and nothing is skipped."""
    audit = Audit()
    effects = [replace(ONE, audit_id=f"tkt_{n}", run_id=f"run_{n % 2}") for n in range(7)]
    for one in effects:
        audit.append(one)
    seen, since = [], 0
    for _ in range(2):
        since, page = audit.page(since, 2, {"run_id": "run_0"})
        seen += [msgspec.json.decode(line, type=Effect).audit_id for line in page]
    assert seen == ["tkt_0", "tkt_2", "tkt_4", "tkt_6"]
    assert audit.page(since, 2, {}) == (7, [])
    assert audit.page(9, None, {}) == (9, [])
