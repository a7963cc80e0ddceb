"""The data port: from an HTTP request to a guarded call, a pass-through or a refusal, and one log line for each.

Built on aiohttp's low-level server: its C parser and connection handling, without routing, middlewares or its response
classes. What its parser lets through and we do not (RFC 9112, 6.3 and 11.2) is refused here, with the connection closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import HttpVersion10, HttpVersion11, web

from ledger.fingerprint import fingerprint
from ledger.key import Key, ref_of
from ledger.records import Call
from policies.matcher import PolicySet
from policies.model import ToolPolicy
from proxy import answer, body, identity
from proxy.answer import Answer
from proxy.arrival import Arrival
from proxy.fields import ALWAYS_CONTROL, Incoming, is_json, sort_request
from proxy.forward import Origin, Outbound
from proxy.guard import Guard
from proxy.origins import Origins
from proxy.passing import pass_on
from proxy.problems import Kind, Refused
from proxy.response import AnswerWriter, as_response
from proxy.works import Works

PATIENCE_MARGIN_MS = 200
"""The answer comes this much before the caller's patience ends (contract, section 6)."""

REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
NO_CALL = Call()


class Told:
    """What the log line of one request says; filled in on the way, since any step may end the request."""

    __slots__ = ("call", "operation", "payload_hash", "policy", "start_s")

    def __init__(self) -> None:
        self.start_s = time.perf_counter()
        self.policy: ToolPolicy | None = None
        self.call = NO_CALL
        self.operation = ""
        self.payload_hash = ""


class DataPort:
    """Handles the requests of callers. `policies` yields the set that is in force."""

    def __init__(self, works: Works, guard: Guard, policies: Callable[[], PolicySet], origins: Origins) -> None:
        self._works = works
        self._guard = guard
        self._policies = policies
        self._origins = origins
        self._named_for: PolicySet | None = None
        self._named = ALWAYS_CONTROL

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; never raises but for a caller that is gone."""
        told = Told()
        try:
            given = await self._answer(request, told)
        except Refused as refused:
            given = answer.refusal(refused.kind, refused.detail, told.operation, close=refused.close)
        writer = AnswerWriter(request, given)
        try:
            await writer.send()
        finally:
            self._note(request, told, given, writer.bytes_written)
        return as_response(writer)

    async def _answer(self, request: web.BaseRequest, told: Told) -> Answer:
        policies = self._policies()
        _check_form(request)
        incoming = sort_request(request.raw_headers, self._control_names(policies), "Connection" in request.headers)
        _check_framing(request, incoming)
        policy = policies.match(request.method, request.raw_path.partition("?")[0])
        told.policy = policy
        origin = self._origins.of(policy)
        if policy.effect == "read":
            return await self._pass(request, incoming, policy, origin, told, "")
        if policy.mode == "off":
            return await self._pass(request, incoming, policy, origin, told, "off")
        data = await body.read_whole(request, incoming, policy.limits.request_body_bytes)
        key = identity.key_of(policy, incoming, data)
        if key is None:
            if policy.key.on_missing == "forward":
                return await self._pass(request, incoming, policy, origin, told, "no-key", data)
            raise Refused(Kind.KEY_MISSING, f"send {identity.describe_sources(policy.key)}")
        return await self._guard.call(self._arrival(request, incoming, policy, origin, key, data, told))

    def _arrival(
        self, request: web.BaseRequest, incoming: Incoming, policy: ToolPolicy, origin: Origin, key: Key, data: bytes,
        told: Told,
    ) -> Arrival:  # fmt: skip
        method, target = request.method.encode(), request.raw_path.encode("utf-8", "surrogateescape")
        mark = fingerprint(
            method, target, data, policy.fingerprint.ignore, identity.principal_of(policy.key, incoming),
            is_json(incoming.content_type),
        )  # fmt: skip
        ref = ref_of(key)
        told.operation = ref.operation
        told.call = identity.call_of(policy, key.tenant, incoming)
        told.payload_hash = self._works.log.keyed(mark)
        outbound = Outbound(
            origin, method, target, tuple(incoming.onward), data, connect_ms=policy.timeouts.connect_ms,
            keep_bytes_max=policy.result.body_bytes_max,
        )  # fmt: skip
        writer = request.writer
        patience_ms = None if incoming.patience_ms is None else max(0, incoming.patience_ms - PATIENCE_MARGIN_MS)
        return Arrival(
            policy, ref, told.call, mark, outbound, lambda: (t := writer.transport) is None or t.is_closing(), patience_ms
        )

    async def _pass(
        self, request: web.BaseRequest, incoming: Incoming, policy: ToolPolicy, origin: Origin, told: Told, why: str,
        data: bytes | None = None,
    ) -> Answer:  # fmt: skip
        """Forward without a claim: reads, and writes that the policy exempts (`why` says for which reason)."""
        told.call = identity.call_of(policy, "", incoming)
        if why:
            self._works.metrics.unprotected.labels(policy.tool, why).inc()
        outcome: answer.Outcome = "unprotected" if why else "read"
        works = self._works
        given = await pass_on(works.forward, works.metrics, policy, origin, request, incoming, outcome, data)
        if why:
            given.headers += ((b"Holdfast-Outcome", b"unprotected"),)
        return given

    def _control_names(self, policies: PolicySet) -> frozenset[bytes]:
        if policies is not self._named_for:
            everything = (*policies.policies, policies.unmatched_write)
            self._named = ALWAYS_CONTROL | identity.control_names(everything)
            self._named_for = policies
        return self._named

    def _note(self, request: web.BaseRequest, told: Told, given: Answer, sent: int) -> None:
        """Count and log one answered request."""
        seconds = time.perf_counter() - told.start_s
        policy, call, works = told.policy, told.call, self._works
        tool = policy.tool if policy is not None else ""
        works.metrics.answered(tool, given.outcome, seconds)
        if given.upstream_s is not None and given.outcome != "read":
            works.metrics.forwarded(tool, given.upstream_s, max(0.0, seconds - given.upstream_s))
        works.log.request(
            operation=told.operation, tenant=call.tenant, tool=tool, thread_id=call.thread_id, run_id=call.run_id,
            step_id=call.step_id, tool_call_id=call.tool_call_id, payload_hash=told.payload_hash, outcome=given.outcome,
            how=given.how, problem=given.problem, attempt=given.attempt, method=request.method, status=given.status,
            upstream_status=given.upstream_status, duration_ms=round(seconds * 1_000, 3), late=given.late, bytes=sent,
        )  # fmt: skip


def _check_form(request: web.BaseRequest) -> None:
    """Refuse request lines that mean something else to others on the way (RFC 9112, 3.2)."""
    if request.version not in {HttpVersion11, HttpVersion10}:
        raise Refused(Kind.VERSION_REFUSED, "HTTP/1.1 and HTTP/1.0 are spoken here", close=True)
    if request.method in REFUSED_METHODS:
        raise Refused(Kind.METHOD_REFUSED, f"{request.method} is not forwarded", close=True)
    target = request.raw_path
    if not target.startswith("/") and not (target == "*" and request.method == "OPTIONS"):
        raise Refused(Kind.BAD_REQUEST, "the request target must be a path (origin form)", close=True)
    if not target.isascii() or not target.isprintable() or " " in target or "#" in target:
        raise Refused(Kind.BAD_REQUEST, "the request target must be percent-encoded ASCII without a fragment", close=True)


def _check_framing(request: web.BaseRequest, incoming: Incoming) -> None:
    """Refuse bodies whose end two parties could see differently (RFC 9112, 6.1 and 6.3)."""
    coding = incoming.transfer_encoding
    if not coding:
        return
    if incoming.content_length is not None:
        raise Refused(Kind.BAD_REQUEST, "Content-Length and Transfer-Encoding exclude each other", close=True)
    if request.version < HttpVersion11:
        raise Refused(Kind.BAD_REQUEST, "Transfer-Encoding does not exist in HTTP/1.0", close=True)
    if coding != b"chunked":
        raise Refused(Kind.NOT_IMPLEMENTED, "the only transfer coding supported is chunked", close=True)
