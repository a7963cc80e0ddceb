"""What policies and arguments say of the calls that a run asks for, before anything is done about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from coordinator.backend import ToolCall
from coordinator.renewal import Fact
from ledger.fingerprint import canonical
from policies.matcher import ByTenant, PolicySet
from policies.model import SECOND_MS, ToolPolicy

PATIENCE_MS = 120 * SECOND_MS
"""For a call without policies: what the defaults of one come to."""


class Facts:
    """`policies` returns those in force; without any, every call writes, and there is the default time for it."""

    def __init__(self, policies: Callable[[], PolicySet] | None = None) -> None:
        self._policies = policies

    def of(self, calls: Iterable[ToolCall], tenant: str) -> dict[str, Fact]:
        """Return the facts of each call, by its id."""
        return {call.tool_call_id: self._of(call, tenant) for call in calls}

    def _of(self, call: ToolCall, tenant: str) -> Fact:
        digest = arguments_digest(call.arguments)
        if self._policies is None:
            return Fact(digest, write=True, patience_ms=PATIENCE_MS)
        found = self._policies().match("POST", tool_path(call.tool))
        policy = found.of(tenant) if isinstance(found, ByTenant) else found
        return Fact(digest, write=policy.effect == "write", patience_ms=_patience_ms(policy))


def tool_path(tool: str) -> str:
    """Return where the proxy has a tool."""
    return f"/tools/{tool}"


def arguments_digest(arguments: str) -> str:
    """Return a digest that two texts share if they are the same JSON (RFC 8785), or the same text."""
    data = arguments.encode("utf-8", "surrogatepass")
    form = canonical(data)
    return hashlib.sha256(b"raw" + data if form is None else b"jcs" + form).hexdigest()


def _patience_ms(policy: ToolPolicy) -> int:
    """Return how long a call may take before its run is told that it is overdue: what the tool has, and once more what
    a caller is held. A result that comes later is written down all the same."""
    return policy.timeouts.upstream_ms + policy.timeouts.hold_ms
