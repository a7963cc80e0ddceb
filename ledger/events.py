"""What can happen to a record, as values: how an attempt ended, what became of a lease, what somebody found out.

`ledger.transitions` says what each makes of each record.
"""

from __future__ import annotations

from msgspec import Struct

from ledger.records import Unkept
from policies.model import Verdict


class Replied(Struct, frozen=True, gc=False):
    """The tool's reply to the attempt of `token` came in whole (or was passed on unkept). `late`: its first caller had
    gone."""

    token: str
    verdict: Verdict
    status: int
    digest: str
    unkept: Unkept = ""
    late: bool = False
    failed: bool = False
    audit_id: str = ""
    head: tuple[tuple[bytes, bytes], ...] = ()


class NotSent(Struct, frozen=True, gc=False):
    """Provably nothing of the attempt reached the tool. `withdrawn`: it was never handed to the forward."""

    token: str
    detail: str
    timed_out: bool = False
    withdrawn: bool = False


class Lost(Struct, frozen=True, gc=False):
    """The attempt's end is not known and its connection is gone. `why`: `lost`, `timeout` or `shutdown`."""

    token: str
    detail: str
    why: str = "lost"


class TimedOut(Struct, frozen=True, gc=False):
    """`timeouts.upstream` is over for the attempt; its process listens on and keeps the lease."""

    token: str


class Lapsed(Struct, frozen=True):
    """The store's clock says that the lease has run out."""


class Resumed(Struct, frozen=True):
    """The attempt's lease had lapsed, but its process is alive and its forward still under way."""

    token: str


class Asking(Struct, frozen=True):
    """A probe begins: for `lease_ms` nobody else asks. `waited_ms` of time has certainly passed since the outcome
    became unknown; `asked` is what the record said when this was decided."""

    asked: int
    waited_ms: int
    lease_ms: int


class Probed(Struct, frozen=True):
    """A probe has brought its answer.

    applied  with `status`, `digest`, `audit_id` and `head` of the result built from it.
    free     it did not happen, the policy trusts that, and the time that it asks for is over.
    next_ms  until the next probe, if neither; None: it was the last.
    detail   what the tool said, for people.
    token    of the newest attempt when the tool was asked: that a later one did not happen, it cannot have said.
    """

    applied: bool
    free: bool
    next_ms: int | None
    detail: str
    status: int = 0
    digest: str = ""
    audit_id: str = ""
    head: tuple[tuple[bytes, bytes], ...] = ()
    token: str = ""


class Ruled(Struct, frozen=True):
    """A person has decided what became of the call: `executed`, with `status` and `digest` of the result to replay (0
    and empty without one), or not. `by` and `reason` are theirs."""

    executed: bool
    by: str
    reason: str
    status: int = 0
    digest: str = ""
    head: tuple[tuple[bytes, bytes], ...] = ()


AttemptEnd = Replied | NotSent | Lost | TimedOut
Happening = AttemptEnd | Lapsed | Resumed | Asking | Probed | Ruled
