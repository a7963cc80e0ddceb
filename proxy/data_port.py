"""The data port: from an HTTP request to a guarded call, a pass-through or a refusal, and one log line for each.

Built on aiohttp's low-level server: its C parser and connection handling, without routing, middlewares or its response
classes. What its parser lets through and we do not (RFC 9112, 6.3 and 11.2) is refused here, with the connection
closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import HttpVersion10, HttpVersion11, web
from msgspec.structs import replace

from ledger.key import Ref, ref_of
from ledger.records import Call
from policies.matcher import PolicySet
from policies.model import ToolPolicy
from proxy import answer, attach, body, identity
from proxy.answer import Answer
from proxy.arrival import Arrival
from proxy.attach import Attaching
from proxy.fields import Incoming, is_json, without_respond_async
from proxy.forward import Lost, Origin, Outbound
from proxy.guard import Guard
from proxy.identity import Meant
from proxy.keyed import with_key
from proxy.log import SERVICE, RequestLine
from proxy.observing import Observed, Observer
from proxy.passing import Timely, pass_on
from proxy.problems import Kind, Refused
from proxy.response import AnswerWriter, as_response
from proxy.rules import Ruled, Rules
from proxy.works import Works

PATIENCE_MARGIN_MS = 200
"""The answer comes this much before the caller's patience ends (contract, section 6)."""

OWN = "/_holdfast"
"""Paths at and below it are Holdfast's own."""

VERSIONS = (HttpVersion11, HttpVersion10)
REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
NO_CALL = Call()


class Told:
    """What the log line of one request says; filled in on the way, since any step may end the request."""

    __slots__ = (
        "call", "closes", "effect", "fingerprint", "lacking", "operation", "policy", "start_s", "trace_id", "would",
    )  # fmt: skip

    def __init__(self) -> None:
        self.start_s = time.perf_counter()
        self.policy: ToolPolicy | None = None
        self.call = NO_CALL
        self.operation = ""
        self.fingerprint = ""
        self.effect = ""
        self.lacking = ""
        self.closes = False
        self.trace_id = ""
        self.would: asyncio.Task[str] | str = ""


class DataPort:
    """Handles the requests of callers. `policies` yields the set that is in force, `default` is `--upstream`."""

    def __init__(self, works: Works, guard: Guard, policies: Callable[[], PolicySet], default: Origin) -> None:
        self._works = works
        self._guard = guard
        self._policies = policies
        self._default = default
        self._attaching = Attaching(works)
        self._observer = Observer(works)
        self._rules = Rules(policies(), default)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; never raises but for a caller that is gone."""
        told = Told()
        try:
            given = await self._answer(request, told)
        except Refused as refused:
            given = answer.refusal(refused.kind, refused.detail, told.operation, close=refused.close)
            if refused.allow:
                given.headers += ((b"Allow", refused.allow.encode()),)
        given.close = given.close or told.closes
        writer = AnswerWriter(request, given)
        try:
            await writer.send()
        finally:
            self._note(request.method, told, given, writer.bytes_written)
        return as_response(writer)

    async def _answer(self, request: web.BaseRequest, told: Told) -> Answer:
        rules = self._in_force()
        _check_form(request)
        incoming = rules.fields.sort(request.raw_headers)
        # aiohttp's parser loses what it read beyond a declined upgrade, so nothing may follow one on its connection.
        told.closes = incoming.upgrades
        told.trace_id = incoming.trace_id
        if incoming.host_at < 0 and request.version >= HttpVersion11:
            raise Refused(Kind.BAD_REQUEST, "the request has no Host (RFC 9112, 3.2)", close=True)
        if incoming.transfer_encoding:
            _check_framing(request, incoming)
        path = request.raw_path.partition("?")[0]
        if path.startswith(OWN) and path[len(OWN) : len(OWN) + 1] in {"", "/"}:
            return await self._attach(request, incoming, rules, told)
        ruled = rules.of(request.method, path, incoming)
        policy = told.policy = ruled.policy
        if policy.mode == "deny":
            told.call = identity.call_of(policy, "", incoming)
            raise Refused(Kind.DENIED, f"{policy.tool} is not launched here", close=_unread(request))
        if policy.effect == "read":
            return await self._pass(request, incoming, ruled, told, "")
        if policy.mode == "off":
            return await self._pass(request, incoming, ruled, told, "off")
        if ruled.observed is not None:
            return await self._observe(request, incoming, ruled, ruled.observed, told)
        bytes_max = policy.limits.request_body_bytes
        data = body.at_hand(request, incoming, bytes_max)
        if data is None:
            data = await body.read_whole(request, bytes_max)
        meant = ruled.identity.meant(incoming, data)
        told.effect, told.lacking = meant.effect, meant.lacking
        if meant.key is None:
            if policy.key.on_missing == "forward":
                return await self._pass(request, incoming, ruled, told, "no-key", data)
            raise Refused(Kind.KEY_MISSING, f"send {ruled.identity.wanted()}")
        given = await self._guard.call(self._arrival(request, incoming, ruled, meant, data, told))
        if given.stream is not None:
            given.stream = Timely(given.stream, policy.timeouts.upstream_ms / 1_000)
        return given

    async def _observe(
        self, request: web.BaseRequest, incoming: Incoming, ruled: Ruled, shadow: Ruled, told: Told
    ) -> Answer:
        """Forward as if nothing were guarded, while a shadow of the request finds out what would have been done."""
        policy = ruled.policy
        told.call = identity.call_of(policy, "", incoming)
        begun, whole = await body.look_ahead(request, incoming, policy.limits.request_body_bytes)
        data: bytes | AsyncIterator[bytes] = begun if whole else body.go_on(begun, request)
        timeouts = policy.timeouts
        seen = Observed(policy.result.body_bytes_max, (timeouts.upstream_ms + timeouts.late_ms) / 1_000)
        told.would = self._judge(request, incoming, shadow, begun, told, seen) if whole else "too-large"
        try:
            given = await pass_on(
                self._works.forward, self._works.metrics, ruled, request, incoming, "observed", data, seen
            )
        except BaseException:
            seen.end(Lost("the forward failed"))
            raise
        if given.stream is None:
            seen.end(Lost("no answer came"))  # unless more is known by now
        if told.operation:
            given.headers += ((b"Holdfast-Operation", told.operation.encode()),)
        given.headers += ((b"Holdfast-Outcome", b"observed"),)
        return given

    def _judge(
        self, request: web.BaseRequest, incoming: Incoming, shadow: Ruled, data: bytes, told: Told, seen: Observed
    ) -> asyncio.Task[str] | str:
        """Begin to find out what would have been done, or say what is plain at once."""
        try:
            meant = shadow.identity.meant(incoming, data)
            told.effect, told.lacking = meant.effect, meant.lacking
            if meant.key is None:
                return "unprotected" if shadow.policy.key.on_missing == "forward" else "key-missing"
            arrival = self._arrival(request, incoming, shadow, meant, data, told)
        except Refused as refused:
            return refused.kind.value.slug
        return self._observer.judge(replace(arrival, forward=seen))

    async def _attach(self, request: web.BaseRequest, incoming: Incoming, rules: Rules, told: Told) -> Answer:
        """Answer what is asked of Holdfast itself; nothing of it ever reaches a tool."""
        told.closes = told.closes or _unread(request)
        asked = attach.asked(request, rules, incoming, PATIENCE_MARGIN_MS)
        told.policy, told.operation = asked.policy, asked.ref.operation
        told.call = identity.call_of(asked.policy, "", incoming)
        return await self._attaching.answer(asked)

    def _arrival(
        self, request: web.BaseRequest, incoming: Incoming, ruled: Ruled, meant: Meant, data: bytes, told: Told
    ) -> Arrival:
        policy, key = ruled.policy, meant.key
        assert key is not None
        method, target = request.method.encode(), request.raw_path.encode()
        credential = ruled.identity.principal(incoming)
        mark = ruled.identity.fingerprint(
            key, method, target, credential, data, json_body=is_json(incoming.content_type), plain=meant.plain
        )
        ref = ref_of(ruled.identity.separate(key, mark))
        told.operation = ref.operation
        told.call = identity.call_of(policy, key.tenant, incoming)
        told.fingerprint = mark
        headers = ruled.headers(incoming)
        deferrable = incoming.answers_async and _attachable(ruled, incoming, ref)
        if deferrable:
            headers = without_respond_async(headers)
        sent = data
        if (key_goes := policy.upstream.idempotency) is not None:
            headers, sent = with_key(key_goes, headers, data, ref.operation)
        outbound = Outbound(
            ruled.origin, method, target, headers, sent, connect_ms=policy.timeouts.connect_ms,
            keep_bytes_max=policy.result.body_bytes_max,
        )  # fmt: skip
        patience_ms = None if incoming.patience_ms is None else max(0, incoming.patience_ms - PATIENCE_MARGIN_MS)
        plan = None if ruled.planner is None else ruled.planner.plan(ref, told.call, incoming, data)
        return Arrival(
            policy, ref, told.call, mark, outbound, Caller(request).gone, patience_ms, credential, deferrable, plan,
            meant.effect,
        )  # fmt: skip

    async def _pass(
        self,
        request: web.BaseRequest,
        incoming: Incoming,
        ruled: Ruled,
        told: Told,
        why: str,
        data: bytes | None = None,
    ) -> Answer:
        """Forward without a claim: reads, and writes that the policy exempts (`why` says for which reason)."""
        works, policy = self._works, ruled.policy
        told.call = identity.call_of(policy, "", incoming)
        if why:
            works.metrics.unprotected.labels(policy.tool, why).inc()
        outcome: answer.Outcome = "unprotected" if why else "read"
        given = await pass_on(works.forward, works.metrics, ruled, request, incoming, outcome, data)
        if why:
            given.headers += ((b"Holdfast-Outcome", b"unprotected"),)
        return given

    def asked_of(self, call: Call) -> tuple[ToolPolicy, Origin] | None:
        """Return the policy that is in force for a call that was made some time ago, and whom to ask about it."""
        return self._in_force().of_call(call)

    async def close(self, seconds_max: float) -> None:
        """The process ends, and nobody is to be answered any more: write down what was only observed."""
        await self._observer.close(seconds_max)

    def _in_force(self) -> Rules:
        policies = self._policies()
        if policies is not self._rules.policies:
            self._rules = Rules(policies, self._default)
        return self._rules

    def _note(self, method: str, told: Told, given: Answer, sent: int) -> None:
        """Count and log one answered request."""
        seconds = time.perf_counter() - told.start_s
        works = self._works
        tool = told.policy.tool if told.policy is not None else ""
        works.metrics.answered(tool, given.outcome, seconds)
        if given.upstream_s is not None and told.operation:
            works.metrics.forwarded(tool, given.upstream_s, max(0.0, seconds - given.upstream_s))
        would = told.would
        if isinstance(would, asyncio.Task):  # what would have been done is found out in its own time
            would.add_done_callback(lambda task: self._log(method, told, given, seconds, sent, _word(task)))
        else:
            self._log(method, told, given, seconds, sent, would)

    def _log(self, method: str, told: Told, given: Answer, seconds: float, sent: int, would: str) -> None:
        tool = told.policy.tool if told.policy is not None else ""
        if would:
            self._works.metrics.observed.add(tool, would)
        if self._works.log.wants("info"):
            line = self._line(method, told, given, tool, seconds, sent)
            line.would = would
            self._works.log.request(line)

    def _line(self, method: str, told: Told, given: Answer, tool: str, seconds: float, sent: int) -> RequestLine:
        call = told.call
        keyed = self._works.log.keyed
        mark = keyed(told.fingerprint) if told.fingerprint else ""
        effect = keyed(told.effect) if told.effect else ""
        return RequestLine(
            "", "info", SERVICE, "request", told.operation, call.tenant, tool, call.thread_id, call.run_id,
            call.step_id, call.tool_call_id, mark, effect, given.outcome, given.how, "", given.problem,
            given.attempt, method, given.status, given.upstream_status, given.audit_id, round(seconds * 1_000, 3),
            given.late, sent, told.trace_id, self._rules.name, told.lacking, given.effect_of,
        )  # fmt: skip


class Caller:
    """Whether the one who asked is still there."""

    __slots__ = ("_writer",)

    def __init__(self, request: web.BaseRequest) -> None:
        self._writer = request.writer

    def gone(self) -> bool:
        """Say whether the caller has hung up."""
        transport = self._writer.transport
        return transport is None or transport.is_closing()


def _attachable(ruled: Ruled, incoming: Incoming, ref: Ref) -> bool:
    """Say whether the operation's id can be derived without the body: else nobody could ask for it by GET."""
    key = ruled.identity.key(incoming, b"")
    return key is not None and ref_of(key) == ref


def _unread(request: web.BaseRequest) -> bool:
    """Say whether part of the request's body has not come in: the connection is closed rather than read to its end."""
    return request.body_exists and not request.content.is_eof()


def _word(task: asyncio.Task[str]) -> str:
    """Return what a shadow found out; nothing, if the process ended before it did."""
    return "" if task.cancelled() else task.result()


def _check_form(request: web.BaseRequest) -> None:
    """Refuse request lines that mean something else to others on the way (RFC 9112, 3.2)."""
    if request.version not in VERSIONS:
        raise Refused(Kind.VERSION_REFUSED, "HTTP/1.1 and HTTP/1.0 are spoken here", close=True)
    if request.method in REFUSED_METHODS:
        raise Refused(Kind.METHOD_REFUSED, f"{request.method} is not forwarded", close=True)
    target = request.raw_path
    if not target.startswith("/") and not (target == "*" and request.method == "OPTIONS"):
        raise Refused(Kind.BAD_REQUEST, "the request target must be a path (origin form)", close=True)
    if not target.isascii() or not target.isprintable() or " " in target or "#" in target:
        raise Refused(
            Kind.BAD_REQUEST, "the request target must be percent-encoded ASCII without a fragment", close=True
        )


def _check_framing(request: web.BaseRequest, incoming: Incoming) -> None:
    """Refuse bodies whose end two parties could see differently (RFC 9112, 6.1 and 6.3)."""
    coding = incoming.transfer_encoding
    if incoming.content_length is not None:
        raise Refused(Kind.BAD_REQUEST, "Content-Length and Transfer-Encoding exclude each other", close=True)
    if request.version < HttpVersion11:
        raise Refused(Kind.BAD_REQUEST, "Transfer-Encoding does not exist in HTTP/1.0", close=True)
    if coding != b"chunked":
        raise Refused(Kind.NOT_IMPLEMENTED, "the only transfer coding supported is chunked", close=True)
