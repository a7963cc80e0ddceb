"""One attempt: a request with an identity, as the guard sees it. HTTP has been left behind at the door."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ledger.key import Ref
from ledger.records import Call
from policies.model import ToolPolicy
from proxy.forward import Outbound


class Arrival(Struct, frozen=True):
    """A keyed write call.

    request      what goes to the tool, but for Holdfast's own fields.
    patience_ms  how long the caller said it would wait (`Prefer: wait`), already shortened so that the answer comes in
                 time; None if it did not say.
    gone         tells whether the caller has hung up.
    """

    policy: ToolPolicy
    ref: Ref
    call: Call
    fingerprint: str
    request: Outbound
    gone: Callable[[], bool]
    patience_ms: int | None = None
