"""Where the callers of one operation meet in this process: what is known of it, and who waits for it to change.

A joint exists while somebody here works on the operation: while it is claimed and forwarded (`proxy.execution`), while
another replica's forward is watched, or while a result waits for the store to come back. It knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from ledger.records import Record
from ledger.result import Result
from proxy.forward import Outcome


class Joint:
    """One operation's meeting place. All of it is touched by the event loop's thread only.

    record, result  the newest that is known; None before the claim is answered, or if the claim failed.
    owned           this process's forward is (or was) the newest attempt.
    outcome         how the forward ended, for the first caller; None for everybody else's joints.
    ended           nothing will change here any more by this joint's doing.
    store_down      why the claim could not be made, empty if it could.
    foreign         why the record that stands there cannot be read, empty if it can.
    overtaken       what was found out elsewhere is published here, though this process listens on for a late reply.
    effect_of       the operation that holds this one's effect, as the claim found it; empty if none did.
    resending       somebody here will send it again, to a tool that honours our key, or is doing so.
    joins           how many have joined a call in flight here since that was last written down; `joined_ms`: the first.
    held            how many callers wait here for somebody else's forward.
    waiters         what to call, once, at the next change.
    """

    __slots__ = (
        "effect_of", "ended", "foreign", "held", "joined_ms", "joins", "loop", "outcome", "overtaken", "owned",
        "record", "resending", "result", "store_down", "waiters",
    )  # fmt: skip

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()  # which is a system call each time, before Python 3.12
        self.record: Record | None = None
        self.result: Result | None = None
        self.owned = False
        self.outcome: Outcome | None = None
        self.ended = False
        self.overtaken = False
        self.resending = False
        self.store_down = ""
        self.foreign = ""
        self.effect_of = ""
        self.joins = 0
        self.joined_ms = 0
        self.held = 0
        self.waiters: list[Callable[[], object]] = []

    def publish(self, record: Record | None, result: Result | None, *, ended: bool) -> None:
        """Set what is known and wake everybody."""
        self.record = record
        self.result = result
        self.ended = ended
        self.wake()

    def joined(self, now_ms: int) -> None:
        """Somebody has joined a call in flight: to be told in its history with the next write."""
        if not self.joins:
            self.joined_ms = now_ms
        self.joins += 1

    def wake(self) -> None:
        """Let every waiter look again."""
        waiters, self.waiters = self.waiters, []
        for release in waiters:
            release()

    async def changed(self, until: float | None) -> None:
        """Wait for the next `wake`, or until the loop's clock shows `until` (seconds)."""
        waiter = self.loop.create_future()
        release = partial(_release, waiter)
        self.waiters.append(release)
        timer = None if until is None else self.loop.call_at(until, release)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if release in self.waiters:
                self.waiters.remove(release)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
