"""The records of a region in memory and in the loop's time, held to the same tests as those in Redis."""

from __future__ import annotations

import asyncio

from evaluation.variants.shared import KEEP_S, LOOK_S, OTHERS_S, PENDING_S, Attempt, SharedAway, Step
from evaluation.variants.turns import NotStarted, Started


class Records:
    """What stands where, and until when. While `away`, nobody answers."""

    def __init__(self) -> None:
        self.away = False
        self._kept: dict[object, tuple[str, float]] = {}

    def get(self, key: object) -> str | None:
        """Return what stands there."""
        self._check()
        value, until = self._kept.get(key, ("", 0.0))
        return value if until > asyncio.get_running_loop().time() else None

    def set(self, key: object, value: str, for_s: float) -> None:
        """Write."""
        self._check()
        self._kept[key] = value, asyncio.get_running_loop().time() + for_s

    def delete(self, key: object) -> None:
        """Forget."""
        self._check()
        self._kept.pop(key, None)

    def _check(self) -> None:
        if self.away:
            raise SharedAway("nobody answers")


class SharedTwin:
    """See `evaluation.variants.shared.Shared`."""

    def __init__(self, records: Records, owner: str, attempt_s: float = 12.0) -> None:
        self._records = records
        self._ours = f"attempt {owner}"
        self._attempt_s = attempt_s

    async def begin_attempt(self, step: Step) -> Attempt:
        """See there."""
        stands = self._records.get(step)
        if stands in {None, self._ours}:
            self._records.set(step, self._ours, self._attempt_s)
            return "ours"
        return "submitted" if stands == "submitted" else "other"

    async def submitted(self, step: Step) -> None:
        """See there."""
        self._records.set(step, "submitted", KEEP_S)

    async def give_up_attempt(self, step: Step) -> None:
        """See there."""
        if self._records.get(step) == self._ours:
            self._records.delete(step)

    async def reopen(self, step: Step) -> None:
        """See there."""
        if self._records.get(step) == "submitted":
            self._records.delete(step)

    async def is_news(self, notice: str) -> bool:
        """See there."""
        if self._records.get(notice) is not None:
            return False
        self._records.set(notice, "1", KEEP_S)
        return True

    async def answers(self) -> bool:
        """See there."""
        return not self._records.away

    async def begin(self, name: str) -> Started | NotStarted | None:
        """See there."""
        deadline = asyncio.get_running_loop().time() + OTHERS_S
        try:
            while (stands := self._records.get(f"turn {name}")) is not None:
                if stands != "pending":
                    return Started(stands.split()[0], stands.split()[1])
                if asyncio.get_running_loop().time() > deadline:
                    return NotStarted("turn-pending", "another instance is starting this turn")
                await asyncio.sleep(LOOK_S)
            self._records.set(f"turn {name}", "pending", PENDING_S)
        except SharedAway as error:
            return NotStarted("store-unavailable", str(error))
        return None

    async def began(self, name: str, started: Started) -> None:
        """See there."""
        if not self._records.away:
            self._records.set(f"turn {name}", f"{started.thread_id} {started.run_id}", KEEP_S)

    async def gave_up(self, name: str) -> None:
        """See there."""
        if not self._records.away:
            self._records.delete(f"turn {name}")
