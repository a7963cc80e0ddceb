"""Which runs an instance watches: those of its region whose threads fall to it, and those that it was told of.

No instance knows of another: who is `number` of `of` is said at start, as with partitions that are assigned.
"""

from __future__ import annotations

import zlib

from msgspec import Struct

from evaluation.variants.agents import Seen


class Share(Struct, frozen=True):
    """An instance's share: `number` (from 0) of `of` instances in `region`."""

    region: str
    number: int
    of: int

    def has(self, run: Seen) -> bool:
        """Say whether a run that was started in this region falls to this instance."""
        ours = run.marks.get("region", "") == self.region
        return ours and zlib.crc32(run.thread_id.encode()) % self.of == self.number
