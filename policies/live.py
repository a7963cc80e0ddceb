"""A policy folder that is watched: each good change takes force, a bad one is told and changes nothing.

The folder itself is watched and not its files: editors replace files, and a mounted ConfigMap changes by one rename of
the `..data` link, which touches none of the names that are read. A look at the files' stamps now and then backs the
watcher up where the system does not report changes (network file systems, a folder that was itself replaced).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from watchfiles import awatch

from policies.faults import PolicyErrors
from policies.folders import Snapshot, snapshot
from policies.loader import Loaded, load_folder
from policies.matcher import PolicySet

SETTLE_MS: Final = 200
"""How long a burst of changes is gathered: an editor's save and a ConfigMap's swap are several each."""

LOOK_MS: Final = 5_000
"""How often the files' stamps are looked at, whatever the watcher says: one `stat` for each file."""

log = logging.getLogger("holdfast.policies")


class LivePolicies:
    """The policies in force, and the task that keeps them so.

    `on_loaded(set)` and `on_rejected(errors)` are called on the event loop after each change of content, the first load
    left out; they must not raise. `current` never goes back to nothing: the last good set stays.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        on_loaded: Callable[[PolicySet], None] | None = None,
        on_rejected: Callable[[PolicyErrors], None] | None = None,
        look_ms: int = LOOK_MS,
    ) -> None:
        """Load `folder` at once. Raises `PolicyErrors`: there is no last good set to fall back on yet."""
        self.folder: Final = Path(folder)
        self._on_loaded: Final = on_loaded
        self._on_rejected: Final = on_rejected
        self._look_ms: Final = look_ms
        self._seen: Snapshot | None = self._snapshot()
        self._loaded = load_folder(self.folder)
        self._rejected = False
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()

    @property
    def rejected(self) -> bool:
        """Whether what the folder held when it was last loaded is not in force, because of its faults."""
        return self._rejected

    @property
    def current(self) -> PolicySet:
        """The policies in force."""
        return self._loaded.policies

    @property
    def loaded(self) -> Loaded:
        """The policies in force with their provenance."""
        return self._loaded

    async def start(self) -> None:
        """Begin to watch, and take what changed since the first load."""
        assert self._task is None, "started twice"
        self._task = asyncio.create_task(self._watch(), name="policies")

    async def stop(self) -> None:
        """End the watch. Nothing is reloaded afterwards."""
        self._stopping.set()
        task, self._task = self._task, None
        if task is not None:
            await task

    async def reload(self) -> PolicySet:
        """Load the folder now, changed or not. Raises `PolicyErrors` after it was handed to `on_rejected`."""
        async with self._reloading:
            seen = self._snapshot()
            try:
                # In a thread: a large folder takes seconds to read, and calls are being served meanwhile.
                loaded = await asyncio.to_thread(load_folder, self.folder, self.current.generation + 1)
            except PolicyErrors as errors:
                self._seen, self._rejected = seen, True
                if self._on_rejected is not None:
                    self._on_rejected(errors)
                raise
            self._seen, self._rejected = seen, False
            return self._take(loaded)

    def _take(self, loaded: Loaded) -> PolicySet:
        """Put `loaded` in force. The same policies from other lines keep their generation, and nobody is told."""
        if loaded.policies.digest == self.current.digest:
            self._loaded = Loaded(self.current, loaded.settings)
            return self.current
        self._loaded = loaded
        if self._on_loaded is not None:
            self._on_loaded(loaded.policies)
        return loaded.policies

    def _snapshot(self) -> Snapshot | None:
        """The folder's stamps; None if it cannot be listed, which loading will say better."""
        try:
            return snapshot(self.folder)
        except OSError:
            return None

    async def _watch(self) -> None:
        async for _ in self._looks():
            if self._stopping.is_set() or self._snapshot() == self._seen:
                continue
            try:
                await self.reload()
            except PolicyErrors:
                continue  # told to `on_rejected`; the last good set stays
            except Exception:
                # A fault of ours or of a callback. The watch must outlive it, or later changes would be missed.
                log.exception("policies could not be reloaded")

    async def _looks(self) -> AsyncIterator[None]:
        """Yield when it is time to look: at once, after changes, and every `look_ms`. Ends with `stop`."""
        yield
        while not self._stopping.is_set():
            try:
                async for _ in awatch(
                    self.folder,
                    watch_filter=None,
                    debounce=SETTLE_MS,
                    step=SETTLE_MS // 4,
                    stop_event=self._stopping,
                    rust_timeout=self._look_ms,
                    yield_on_timeout=True,
                    recursive=False,
                ):
                    yield
            except (OSError, RuntimeError, ExceptionGroup) as error:
                # No watches left, or no such folder just now. The library raises either type, and wraps in a group what
                # its thread meets. Whatever it is, the clock goes on.
                log.warning("policies are not watched, only looked at: %s", error)
                yield
                await self._pause()

    async def _pause(self) -> None:
        """Wait for `look_ms`, or for `stop`."""
        try:
            async with asyncio.timeout(self._look_ms / 1000):
                await self._stopping.wait()
        except TimeoutError:
            return
