"""Attaching to an operation: `GET /_holdfast/operations/{op_…}?wait=30`, by long poll, for whoever asked for it.

What comes back is what clients of other long-running operations expect of the place they were sent to: 202 with
Retry-After while there is no result, then the result itself (decision 0021). The id is no capability: it must follow
from the request's own fields once more, and the credential must be the one that asked first. Whatever is missing for
that, there is no such operation.
"""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qsl

from msgspec import Struct

from ledger.key import Ref, ref_of
from ledger.records import Alias, Completed, Free, InFlight, Record, Unknown
from ledger.result import Result
from policies.model import ToolPolicy
from proxy import answer
from proxy.account import can_end
from proxy.answer import Answer
from proxy.fields import Incoming
from proxy.identity import principal_digest
from proxy.inbound.request import Request
from proxy.joint import Joint
from proxy.problems import Kind, Refused
from proxy.rules import Rules
from proxy.waiting import LOOK_S, WAITERS_MAX
from proxy.watch import Watch
from proxy.works import Works

_OPERATION = re.compile(re.escape(answer.OPERATIONS.decode()) + "(op_[0-9a-f]{40})")
_SECONDS = re.compile("[0-9]{1,6}")
METHODS = ("GET", "HEAD")
ALIASES_MAX = 4
"""Aliases followed; they point at operations, not at each other, so more than one means a fault."""


class Asked(Struct, frozen=True):
    """What somebody wants to know: the operation, by which policy, as whom, and how long there is time for it."""

    ref: Ref
    policy: ToolPolicy
    credential: str | None
    wait_ms: int


class Attaching:
    """One per process."""

    def __init__(self, works: Works) -> None:
        self._works = works
        self._waiting = 0

    async def answer(self, asked: Asked) -> Answer:
        """Answer within `wait_ms`, or within the policy's hold if that is shorter."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        until = start + min(asked.wait_ms, asked.policy.timeouts.hold_ms) / 1_000
        ref = asked.ref
        for _ in range(ALIASES_MAX):
            operation = ref.operation
            # Asked anew for each alias: a policy that refuses duplicates gives a stranger one, and no more than that.
            principal = principal_digest(operation, asked.credential)
            record: Record | None
            result: Result | None
            found = self._works.joints.get(operation)
            kept = self._works.replays.get(operation) if found is None else None
            if kept is not None:
                record, result = kept.record, kept.result
            else:
                joint = found or Watch(self._works, ref)
                if joint.held >= asked.policy.limits.waiters_per_key or self._waiting >= WAITERS_MAX:
                    return answer.refusal(Kind.OVERLOADED, "too many callers wait for this call", operation)
                await self._wait(joint, principal, until, start + LOOK_S)
                record, result = joint.record, joint.result
                if record is None:
                    return _nothing(joint, operation)
            if record.principal != principal:
                return answer.refusal(Kind.NOT_FOUND, "nothing was asked for by these ids and this credential")
            if not isinstance(record, Alias):
                ends = can_end(record, self._works.now_ms(), asked.policy)
                return _told(record, result, operation, ends=ends)
            ref = Ref(ref.scope, record.of)
        why = "its aliases lead nowhere"
        return answer.unknown(Kind.UNKNOWN, why, ref.operation, can_end=False, state="unreadable")

    async def _wait(self, joint: Joint, principal: str, until: float, look: float) -> None:
        """Return when there is an end to tell of, or no time left."""
        loop = asyncio.get_running_loop()
        self._waiting += 1
        joint.held += 1
        try:
            while not joint.ended and not joint.overtaken:
                record = joint.record
                if record is not None and record.principal != principal:
                    return
                limit = max(until, look) if record is None else until
                if loop.time() >= limit:
                    return
                await joint.changed(limit)
        finally:
            self._waiting -= 1
            joint.held -= 1


def asked(request: Request, rules: Rules, incoming: Incoming, margin_ms: int) -> Asked:
    """Return what a request to Holdfast's own part of the data port asks for; the answer is to come `margin_ms` before
    its time is over. Raises `Refused` for whatever does not ask for an operation of its sender's."""
    query = request.target.partition("?")[2]
    named = _OPERATION.fullmatch(request.path)
    if named is None:
        raise Refused(Kind.NOT_FOUND, "there is nothing here but /_holdfast/operations/{operation}")
    if request.method not in METHODS:
        raise Refused(Kind.METHOD_REFUSED, "an operation can be asked for by GET and HEAD", allow=", ".join(METHODS))
    wait_ms = _wait_ms(query, incoming)
    for ruled in rules.writes():
        try:
            key = ruled.identity.key(incoming, b"")
        except Refused:
            continue  # it wants a tenant, and the request names none
        if key is None or (ref := ref_of(key)).operation != named[1]:
            continue
        tenants = ruled.policy.match.tenants
        if not tenants or key.tenant in tenants:
            return Asked(ref, ruled.policy, ruled.identity.principal(incoming), max(0, wait_ms - margin_ms))
    raise Refused(Kind.NOT_FOUND, "send the fields that the call was made with: its ids, tenant and credential")


def _wait_ms(query: str, incoming: Incoming) -> int:
    wait = dict(parse_qsl(query, keep_blank_values=True)).get("wait")
    if wait is None:
        return incoming.patience_ms or 0
    if _SECONDS.fullmatch(wait) is None:
        raise Refused(Kind.BAD_REQUEST, "wait is not a whole number of seconds")
    return int(wait) * 1_000


def _nothing(joint: Joint, operation: str) -> Answer:
    """Answer for an operation of which nothing can be read."""
    if joint.foreign:
        detail = "its record cannot be read by this version"
        return answer.unknown(Kind.UNKNOWN, detail, operation, can_end=False, state="unreadable")
    if joint.store_down or not joint.ended:
        return answer.refusal(Kind.STORE_UNAVAILABLE, joint.store_down or "the ledger has not answered yet", operation)
    return answer.refusal(Kind.NOT_FOUND, "nothing was asked for by these ids, or it has been forgotten")


def _told(record: Record, result: Result | None, operation: str, *, ends: bool) -> Answer:
    """Answer by what stands there; `ends`: an unknown may end without an operator."""
    match record:
        case InFlight():
            return answer.pending(operation, "the tool is still working on it", "in-flight")
        case Completed() if result is not None:
            given = answer.of_result(result, operation, "replayed", late=record.late)
            given.how, given.audit_id = "attached", record.audit_id
            return given
        case Completed():
            return answer.unavailable(record, operation)
        case Free(why="not-final") if result is not None:
            return answer.of_result(result, operation, "not-executed")
        case Free():
            detail = f"it was not executed ({record.why}); ask for it again with the same key"
            return answer.refusal(Kind.NOT_EXECUTED, detail, operation, "not-executed", state="free")
        case Unknown():
            why = f"{record.why}: {record.detail}" if record.detail else record.why
            detail = f"it may or may not have run: {why}"
            return answer.unknown(Kind.UNKNOWN, detail, operation, can_end=ends)
        case Alias():  # followed before anybody is told
            raise AssertionError(operation)
