"""What the tests of triage share: files from text, and their account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.triage.account import Account
from evaluation.triage.accounting import account_of

INCIDENTS = Path(__file__).parent / "incidents"
"""Test data of the shapes, and with the facts, of real incidents."""

Read = Callable[..., Account]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return what writes each text into a file (1.log, 2.log …) and gives their account."""

    def account(*texts: str, window_ms: int = 90_000) -> Account:
        names = []
        for number, text in enumerate(texts, 1):
            names.append(tmp_path / f"{number}.log")
            names[-1].write_text(text)
        return account_of([str(name) for name in names], window_ms=window_ms)

    return account


@pytest.fixture
def incident() -> Callable[..., Account]:
    """Return what gives the account of test data by its names."""
    return lambda *names: account_of([str(INCIDENTS / name) for name in names])
