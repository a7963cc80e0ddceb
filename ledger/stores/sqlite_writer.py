"""The one thread that touches the file: whatever waits goes into one transaction, and is flushed once.

A flush to disk costs more than all SQL of a call, so calls that wait (`ledger.stores.sqlite_calls`) share one. They are
concurrent with each other (none was answered yet): any order among them is a true one; they keep theirs.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ledger.store import StoreUnavailable, UnfitStore
from ledger.stores.clock import Clock
from ledger.stores.sqlite_calls import Group
from ledger.stores.sqlite_errors import at_start, is_of_one_call, unavailable
from ledger.stores.sqlite_file import Owned, open_ledger
from ledger.stores.sqlite_kind import LEDGER, Kind
from ledger.stores.sqlite_places import Places

log = logging.getLogger(__name__)

IDLE_S = 1.0
"""How long the thread waits for a call before it tidies up."""
PURGE_MAX = 256
"""Places and results deleted in one go, so that no call waits long behind it."""
PURGE_EVERY_MS = 1_000
PURGE_AGAIN_MS = 20
"""How soon again after a full batch: some 12,000 a second, as fast as they can come in."""


class Tables(Protocol):
    """What is in the file. Every time is an argument, in the store's milliseconds; raises `sqlite3.Error`."""

    writes: tuple[type, ...]
    """The kinds of work that need a transaction."""
    changed: list[Any]
    """What there is to tell of the work done since this was emptied."""

    def carry_out(self, work: Any, now: int) -> Any:
        """Do one call and return its answer."""

    def adopt(self, now: int) -> None:
        """Take over what a previous owner left."""

    def purge(self, now: int, limit: int) -> int:
        """Delete up to `limit` of what is past its time; return how many."""


class Writer:
    """Owns file and connection from `open` to `close`, in its own thread. `tables` says what is in a file of the
    `kind`.

    `take` gives it a group, from the loop; the `deliver` given to `open` gets it back answered, on the loop.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        bytes_max: int | None,
        kind: Kind = LEDGER,
        tables: Callable[[sqlite3.Connection, Path], Tables] = Places,
    ) -> None:
        self.transactions = 0
        """Begun since the start, for those who want to know how well calls share them."""
        self._path = path
        self._clock = clock
        self._bytes_max = bytes_max
        self._kind = kind
        self._tables = tables
        self._groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self.take: Callable[[Group], None] = self._groups.put
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._purge_at_ms = 0
        self._folded = 0

    async def open(self, deliver: Callable[[Group], None]) -> None:
        """Start the thread; return once the file is open. Raises `UnfitStore`, `StoreUnavailable`."""
        self._deliver = deliver
        # A daemon: a disk that hangs in a flush must not keep the process from ending.
        threading.Thread(target=self._live, name="holdfast-sqlite", daemon=True).start()
        try:
            await self._opened
        except BaseException:
            self._groups.put(None)  # given up on: should it open after all, it lets go again
            raise

    async def close(self) -> None:
        """Return once the groups taken are answered and the file is let go."""
        self._groups.put(None)
        await self._ended.wait()

    def _live(self) -> None:
        try:
            owned = Owned(self._path, self._kind)
            try:
                connection = open_ledger(owned.path, self._kind, bytes_max=self._bytes_max)
                try:
                    self._work(connection, owned.path)
                finally:
                    connection.close()  # folds the log into the file
            finally:
                owned.release()
        except (UnfitStore, sqlite3.Error, OSError) as error:
            self._on_loop(self._end, at_start(self._path, error, self._kind))
        finally:
            self._on_loop(self._ended.set)

    def _work(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._execute = connection.cursor().execute
        self._places = self._tables(connection, path)
        self._execute("BEGIN IMMEDIATE")
        self._places.adopt(self._clock())
        self._execute("COMMIT")
        self._on_loop(self._succeed_to_open)
        while self._serve():
            if self._clock() >= self._purge_at_ms:
                self._purge()

    def _serve(self) -> bool:
        """Answer the next group, if one comes soon; say whether to go on."""
        try:
            group = self._groups.get(timeout=IDLE_S)
        except queue.Empty:
            self._fold()
            return True
        if group is None:
            return False
        try:
            self._transact(group)
        except Exception as error:  # whatever it was: every caller must hear of it, and the thread must live on
            if not isinstance(error, sqlite3.Error):
                log.exception("the SQLite writer met what it does not know")
            self._roll_back()
            self._places.changed = []
            for call in group.calls:
                call.answer = unavailable(error, self._kind)
        group.answered = True
        self._on_loop(self._deliver, group)
        return True

    def _transact(self, group: Group) -> None:
        """Carry out the group's calls in one transaction: all that it wrote is on disk when this returns."""
        now = self._clock()
        carry_out, writes = self._places.carry_out, self._places.writes
        begun = False
        for call in group.calls:
            work = call.work
            if work is None:
                continue  # its caller gave up before it began: nobody would settle what it claims
            if not begun and isinstance(work, writes):  # reads need no transaction, and work on a disk that is full
                self._execute("BEGIN IMMEDIATE")
                self.transactions += 1
                begun = True
            try:
                call.answer = carry_out(work, now)
            except Exception as error:  # sorted by kind: one call's own failure is not its group's
                if not is_of_one_call(error):
                    raise
                call.answer = unavailable(error, self._kind)
        if begun:
            self._execute("COMMIT")
        group.changed, self._places.changed = self._places.changed, []

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
        except sqlite3.Error:
            log.exception(
                "the SQLite %s could not be rolled back; its next transaction will try again", self._kind.what
            )

    def _fold(self) -> None:
        """Fold the log into the file while nobody waits: calls seldom have to then, and a start has less to recover."""
        if self._folded == self.transactions:
            return
        try:
            self._execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            log.warning("the log could not be folded in: %s", unavailable(error, self._kind))
        self._folded = self.transactions

    def _purge(self) -> None:
        """Delete a bounded lot of what is past its time; a failure waits for the next time, and harms no call."""
        now = self._clock()
        wait_ms = PURGE_EVERY_MS
        try:
            self._execute("BEGIN IMMEDIATE")
            deleted = self._places.purge(now, PURGE_MAX)
            self._execute("COMMIT")
        except Exception as error:  # noqa: BLE001 -- whatever it was, it can wait, and the thread must live on
            log.warning("nothing could be deleted: %s", unavailable(error, self._kind))
            self._roll_back()
        else:
            self.transactions += deleted > 0
            wait_ms = PURGE_AGAIN_MS if deleted == PURGE_MAX else PURGE_EVERY_MS
        self._purge_at_ms = now + wait_ms

    def _succeed_to_open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _end(self, error: StoreUnavailable | UnfitStore) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
        else:
            log.error("the SQLite writer has ended: %s", error)

    def _on_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            log.debug("the event loop was closed before its store: nobody is left to be told")
