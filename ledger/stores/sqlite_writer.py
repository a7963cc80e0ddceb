"""The one thread that touches the ledger's file: whatever waits goes into one transaction, and is flushed once.

A flush to disk costs more than all SQL of a call, so calls that arrive while one is under way share the next. Calls of
a group are concurrent with each other (none was answered yet): any order among them is a true one; they keep theirs.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable

from ledger.store import StoreUnavailable, UnfitStore
from ledger.stores.clock import Clock
from ledger.stores.sqlite_errors import at_start, is_of_one_call, unavailable
from ledger.stores.sqlite_file import Owned, open_ledger
from ledger.stores.sqlite_places import WRITTEN, Answer, Places, Renew, Swap, Work

log = logging.getLogger(__name__)

GROUP_MAX = 256
"""Calls in one transaction: enough to share a flush among all that wait, few enough to end within the deadline."""
IDLE_S = 1.0
"""How long the thread waits for a call before it looks for something to delete."""
PURGE_MAX = 256
"""Places and results deleted in one go, so that no call waits long behind it."""
PURGE_EVERY_MS = 1_000
PURGE_AGAIN_MS = 20
"""How soon again after a full batch: some 12,000 a second, as fast as they can come in."""


class Waiting:
    """A call on its way. `work` is None once its caller gave up; the writer sets `answer`, the loop the `future`."""

    __slots__ = ("answer", "future", "since_s", "work")

    def __init__(self, work: Work, future: asyncio.Future[Answer], since_s: float) -> None:
        self.work: Work | None = work
        self.future = future
        self.since_s = since_s
        self.answer: Answer | StoreUnavailable = None


class Group:
    """Calls that were answered together, and the operations whose places they changed."""

    __slots__ = ("calls", "changed")

    def __init__(self, calls: list[Waiting], changed: list[str]) -> None:
        self.calls = calls
        self.changed = changed


class Writer:
    """Owns file and connection from `open` on, in its own thread.

    `waiting` takes calls, and None to stop. A group is in `answered` before `deliver` is called for it, on the loop.
    """

    def __init__(self, path: str, clock: Clock, bytes_max: int | None, deliver: Callable[[], None]) -> None:
        self.waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self.answered: deque[Group] = deque()
        self.ended = asyncio.Event()
        self.transactions = 0
        self._path = path
        self._clock = clock
        self._bytes_max = bytes_max
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._purge_at_ms = 0

    async def open(self) -> None:
        """Start the thread; return once the ledger is open. Raises `UnfitStore`, `StoreUnavailable`."""
        # A daemon: a disk that hangs in a flush must not keep the process from ending.
        threading.Thread(target=self._live, name="holdfast-sqlite", daemon=True).start()
        await self._opened

    def _live(self) -> None:
        try:
            owned = Owned(self._path)
            try:
                connection = open_ledger(owned.path, bytes_max=self._bytes_max)
                try:
                    self._work(connection)
                finally:
                    connection.close()  # folds the log into the file
            finally:
                owned.release()
        except (UnfitStore, sqlite3.Error, OSError) as error:
            self._on_loop(self._fail_to_open, at_start(self._path, error))
        finally:
            self._on_loop(self.ended.set)

    def _work(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.cursor().execute
        self._places = Places(connection)
        self._execute("BEGIN IMMEDIATE")
        self._places.adopt(self._clock())
        self._execute("COMMIT")
        self._on_loop(self._succeed_to_open)
        going_on = True
        while going_on:
            group, going_on = self._take()
            if group:
                self._answer(group)
            if self._clock() >= self._purge_at_ms:
                self._purge()

    def _take(self) -> tuple[list[Waiting], bool]:
        """Return what waits, in order, and False when the word to stop came behind it."""
        group: list[Waiting] = []
        try:
            call = self.waiting.get(timeout=IDLE_S)
        except queue.Empty:
            return group, True
        while call is not None:
            group.append(call)
            if len(group) == GROUP_MAX or self.waiting.empty():
                return group, True
            call = self.waiting.get_nowait()  # nobody else takes: what is not empty stays so
        return group, False

    def _answer(self, calls: list[Waiting]) -> None:
        """Carry out `calls` in one transaction; when that fails, none of them happened, and all are told why."""
        changed: list[str] = []
        try:
            self._transact(calls, changed)
        except Exception as error:  # whatever it was: every caller must hear of it, and the thread must live on
            if not isinstance(error, sqlite3.Error):
                log.exception("the SQLite writer met what it does not know")
            changed.clear()
            self._roll_back()
            for call in calls:
                call.answer = unavailable(error)
        self.answered.append(Group(calls, changed))
        self._on_loop(self._deliver)

    def _transact(self, calls: list[Waiting], changed: list[str]) -> None:
        now = self._clock()
        writes = any(isinstance(call.work, Swap | Renew) for call in calls)
        if writes:  # reads alone need no transaction, and work on a disk that is full
            self._execute("BEGIN IMMEDIATE")
            self.transactions += 1
        for call in calls:
            work = call.work
            if work is None:
                continue  # its caller gave up before it began: nobody would settle what it claims
            try:
                call.answer = answer = self._places.carry_out(work, now)
            except Exception as error:  # sorted by kind: one call's own failure is not its group's
                if not is_of_one_call(error):
                    raise
                call.answer = unavailable(error)
                continue
            if answer is WRITTEN and isinstance(work, Swap):
                changed.append(work.ref.operation)
        if writes:
            self._execute("COMMIT")

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("the SQLite ledger could not be rolled back; its next transaction will try again")

    def _purge(self) -> None:
        """Delete a bounded lot of what is past its time; a failure waits for the next time, and harms no call."""
        now = self._clock()
        wait_ms = PURGE_EVERY_MS
        try:
            self._execute("BEGIN IMMEDIATE")
            if self._places.purge(now, PURGE_MAX) == PURGE_MAX:
                wait_ms = PURGE_AGAIN_MS
            self._execute("COMMIT")
        except sqlite3.Error as error:
            log.warning("nothing could be deleted: %s", unavailable(error))
            self._roll_back()
        self._purge_at_ms = now + wait_ms

    def _succeed_to_open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _fail_to_open(self, error: StoreUnavailable | UnfitStore) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)

    def _on_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            log.debug("the event loop was closed before its store: nobody is left to be told")
