"""Secrets in files, in small, and what is loopback. The checks over HTTP are in
tests/proxy/test_admission.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from process.tokens import Secrets, Tokens, is_loopback


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.8.7", True), ("localhost", True), ("::1", True), ("[::1]", True), ("LOCALHOST", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_only_this_machine_is_loopback(host: str, loopback: bool) -> None:
    """All addresses at once is not."""
    assert is_loopback(host) == loopback


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_file_without_a_token_is_no_token_file(tmp_path: Path, content: str) -> None:
    """It would let everybody in, or nobody."""
    (tmp_path / "token").write_text(content)
    with pytest.raises(ValueError, match="no secret"):
        Tokens(str(tmp_path / "token"))


def test_each_line_is_a_token_and_nothing_else_is(tmp_path: Path) -> None:
    """Blanks around it do not count, a part of it does not do."""
    (tmp_path / "token").write_text("first\n  second \n\n")
    tokens = Tokens(str(tmp_path / "token"))
    assert [tokens.accepts(offered) for offered in (b"first", b"second", b"fir", b"", b"first\n")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_file_that_has_gone_leaves_the_tokens_that_were_read(tmp_path: Path) -> None:
    """It is being replaced."""
    (tmp_path / "token").write_text("first")
    tokens = Tokens(str(tmp_path / "token"))
    (tmp_path / "token").unlink()
    assert tokens.accepts(b"first")


def test_rotation_is_seen_at_the_next_question(tmp_path: Path) -> None:
    """A file that changed is read again, in its order, and what it no longer holds no longer lets anybody in."""
    (tmp_path / "token").write_text("first")
    tokens = Tokens(str(tmp_path / "token"))
    (tmp_path / "next").write_text("second\nfirst\n")
    (tmp_path / "next").replace(tmp_path / "token")
    assert tokens.current() == (b"second", b"first")
    assert [tokens.accepts(offered) for offered in (b"first", b"second")] == [True, True]
    (tmp_path / "last").write_text("second")
    (tmp_path / "last").replace(tmp_path / "token")
    assert [tokens.accepts(offered) for offered in (b"first", b"second")] == [False, True]


def test_file_that_was_emptied_leaves_the_secrets_that_were_read(tmp_path: Path) -> None:
    """It is being written: a process that runs is not left without any."""
    (tmp_path / "secret").write_text("first")
    secrets = Secrets(str(tmp_path / "secret"))
    (tmp_path / "secret").write_text("")
    assert secrets.current() == (b"first",)
