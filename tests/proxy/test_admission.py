"""Who may use the admin port, in small: tokens in a file, and what is loopback. The checks over HTTP are in
test_admin_port.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.admission import Tokens, is_loopback


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
    with pytest.raises(ValueError, match="no token"):
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
