"""Asking several servers the same at once: the first answer counts, and so do those that come right after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from ledger.store import StoreUnavailable

OTHERS_S = 0.25
"""How long the others are waited for once one has answered: within reach they take milliseconds."""

T = TypeVar("T")


async def answers_of(questions: Iterable[Awaitable[T]]) -> list[T]:
    """Return what was answered, at least one answer; those who are late, or fail with `StoreUnavailable`, are left out.

    Raises `StoreUnavailable`, with every reason, where nobody answers.
    """
    pending = {asyncio.ensure_future(question) for question in questions}
    answers: list[T] = []
    failures: list[str] = []
    try:
        while pending:
            within_s = OTHERS_S if answers else None
            done, pending = await asyncio.wait(pending, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                try:
                    answers.append(one.result())
                except StoreUnavailable as error:
                    failures.append(str(error))
            if not done:
                break
    finally:
        for one in pending:
            one.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    if not answers:
        raise StoreUnavailable("; ".join(failures))
    return answers
