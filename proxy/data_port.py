"""The data port: from an HTTP request to a guarded call, a pass-through or a refusal, and one log line for each.

`proxy.inbound` reads requests and refuses what is none. What can be answered from memory is, within the call that its
last byte came with. The caller of a new call waits for the call's own task; every other caller that waits has one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from ledger.key import Ref, ref_of
from ledger.records import Call
from policies.matcher import PolicySet
from policies.model import ToolPolicy
from process.tracing import Tracing
from proxy import answer, attach, body, identity
from proxy.answer import Answer
from proxy.arrival import Arrival
from proxy.attach import Attaching
from proxy.fields import Incoming, is_json, without_respond_async
from proxy.forward import Lost, Origin, Outbound
from proxy.guard import Guard, Look
from proxy.inbound.head import Line
from proxy.inbound.request import Request
from proxy.keyed import with_key
from proxy.log import SERVICE, RequestLine
from proxy.observing import Observed, Observer
from proxy.passing import Timely, pass_on
from proxy.problems import Kind, Refused
from proxy.recall import Known, Recall
from proxy.response import AnswerWriter
from proxy.rules import Ruled, Rules
from proxy.traces import CallSpan, begun
from proxy.works import Works

PATIENCE_MARGIN_MS = 200
"""The answer comes this much before the caller's patience ends (contract, section 6)."""

OWN = "/_holdfast"
"""Paths at and below it are Holdfast's own."""

NO_CALL = Call()

Coming = Coroutine[Any, Any, Answer]
"""An answer that takes time."""


class Told:
    """What the log line of one request says; filled in on the way, since any step may end the request."""

    __slots__ = (
        "call", "effect", "known", "lacking", "operation", "policy", "span", "start_s", "trace_id", "would",
    )  # fmt: skip

    def __init__(self) -> None:
        self.start_s = time.perf_counter()
        self.policy: ToolPolicy | None = None
        self.call = NO_CALL
        self.operation = ""
        self.known: Known | None = None
        self.effect = ""
        self.lacking = ""
        self.trace_id = ""
        self.span: CallSpan | None = None
        self.would: asyncio.Task[str] | str = ""

    def take(self, known: Known) -> None:
        """Tell what was worked out of the call."""
        self.known = known
        self.operation = known.ref.operation
        self.call = known.call
        self.effect, self.lacking = known.effect, known.lacking


class DataPort:
    """Handles the requests of callers. `policies` yields the set that is in force, `default` is `--upstream`; without
    `tracing` trace fields go on as they come."""

    def __init__(
        self, works: Works, guard: Guard, policies: Callable[[], PolicySet], default: Origin,
        tracing: Tracing | None = None,
    ) -> None:  # fmt: skip
        self._works = works
        self._guard = guard
        self._policies = policies
        self._default = default
        self._attaching = Attaching(works)
        self._observer = Observer(works)
        self._rules = Rules(policies(), default)
        self._recall = Recall()
        self._tracing = tracing

    def serve(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer one request, at once or in the coroutine that is returned. Raises `ConnectionError` for a caller that
        is gone, and nothing else."""
        told = Told()
        try:
            given = self._answer(request, told)
        except Refused as refused:
            given = _refusal(refused, told)
        return None if given is None else self._give(request, told, given)

    def _give(self, request: Request, told: Told, given: Answer | Coming) -> Coroutine[Any, Any, None] | None:
        """Answer with what is there, or with what will be."""
        if not isinstance(given, Answer):
            return self._finish(request, told, given)
        if given.stream is not None:
            return self._send(request, told, given)
        writer = AnswerWriter(request, given)
        try:
            writer.send_whole()
        finally:
            self._note(request.method, told, given, writer.bytes_written)
        return None

    def refused(self, given: Answer) -> None:
        """Count and log what was answered to something that is no request."""
        self._note("", Told(), given, 0)

    async def _finish(self, request: Request, told: Told, coming: Coming) -> None:
        try:
            given = await coming
        except Refused as refused:
            given = _refusal(refused, told)
        await self._send(request, told, given)

    async def _send(self, request: Request, told: Told, given: Answer) -> None:
        writer = AnswerWriter(request, given)
        try:
            await writer.send()
        finally:
            self._note(request.method, told, given, writer.bytes_written)

    def _answer(self, request: Request, told: Told) -> Answer | Coming | None:
        """Return the answer, or what will; None if the request has been put off. Raises `Refused`."""
        rules = self._in_force()
        incoming = rules.fields.sort_values(request.head.shape.names, request.head.values)
        told.trace_id = incoming.trace_id
        path = request.path
        if path.startswith(OWN) and path[len(OWN) : len(OWN) + 1] in {"", "/"}:
            return self._attach(request, incoming, rules, told)
        ruled = rules.of(request.method, path, incoming)
        policy = told.policy = ruled.policy
        if self._tracing is not None and (span := begun(self._tracing, policy, incoming)) is not None:
            told.span, told.trace_id = span, span.trace_id
        if policy.mode == "deny":
            told.call = identity.call_of(policy, "", incoming)
            raise Refused(Kind.DENIED, f"{policy.tool} is not launched here", close=not request.body.whole)
        if policy.effect == "read":
            return self._pass(request, incoming, ruled, told, "")
        if policy.mode == "off":
            return self._pass(request, incoming, ruled, told, "off")
        if ruled.observed is not None:
            return self._observe(request, incoming, ruled, ruled.observed, told)
        data = body.at_hand(request, policy.limits.request_body_bytes)
        if data is None:
            return self._read_on(request, incoming, ruled, told)
        given = self._guarded(request, incoming, ruled, told, data)
        return self._begin(request, ruled, told, given) if isinstance(given, Arrival) else given

    async def _read_on(self, request: Request, incoming: Incoming, ruled: Ruled, told: Told) -> Answer:
        """Answer a call whose body has not come in whole yet."""
        data = await body.read_whole(request, ruled.policy.limits.request_body_bytes)
        given = self._guarded(request, incoming, ruled, told, data)
        if isinstance(given, Arrival):
            given = self._call(ruled, given)
        return given if isinstance(given, Answer) else await given

    def _guarded(
        self, request: Request, incoming: Incoming, ruled: Ruled, told: Told, data: bytes
    ) -> Answer | Coming | Arrival:
        """Answer a repetition from what is kept near; anything else is an arrival, for the guard."""
        policy, recall = ruled.policy, self._recall
        sign = recall.sign(request.head.line, incoming, data)
        known = None if sign is None else recall.get(sign)
        if known is None:
            known = self._work_out(request.head.line, incoming, ruled, data, told)
            if known is None:
                if policy.key.on_missing == "forward":
                    return self._pass(request, incoming, ruled, told, "no-key", data)
                raise Refused(Kind.KEY_MISSING, f"send {ruled.identity.wanted()}")
            if sign is not None:
                recall.put(sign, data, known)
        told.take(known)
        given = self._guard.at_once(policy.tool, known.ref.operation, known.mark)
        if given is not None:
            if told.span is not None and (kept := self._works.replays.get(known.ref.operation)) is not None:
                told.span.follows(kept.record)
            return given
        arrival = self._arrival(request, incoming, ruled, known, data)
        return arrival if told.span is None else told.span.taken_by(arrival)

    def _begin(self, request: Request, ruled: Ruled, told: Told, arrival: Arrival) -> Coming | None:
        """Put the request off until its call has ended, if it can be begun at once."""

        def answered(look: Look) -> Coroutine[Any, Any, None] | None:
            given = look()
            timed = _timely(ruled, given) if isinstance(given, Answer) else self._in_time(ruled, given)
            return self._give(request, told, timed)

        if self._guard.begin(arrival, lambda look: request.caller.go_on(request, lambda _: answered(look))):
            request.put_off = True
            return None
        return self._call(ruled, arrival)

    @staticmethod
    def _work_out(line: Line, incoming: Incoming, ruled: Ruled, data: bytes, told: Told) -> Known | None:
        """Return what a call is; None if it has no identity. Raises `Refused`."""
        meant = ruled.identity.meant(incoming, data)
        key = meant.key
        if key is None:
            told.effect, told.lacking = meant.effect, meant.lacking
            return None
        mark = ruled.identity.fingerprint(
            key, line.raw_method, line.raw_target, ruled.identity.principal(incoming), data,
            json_body=is_json(incoming.content_type), plain=meant.plain,
        )  # fmt: skip
        ref = ref_of(ruled.identity.separate(key, mark))
        call = identity.call_of(ruled.policy, key.tenant, incoming)
        return Known(ref, mark, call, meant.effect, meant.lacking)

    def _call(self, ruled: Ruled, arrival: Arrival) -> Coming:
        return self._in_time(ruled, self._guard.call(arrival))

    @staticmethod
    async def _in_time(ruled: Ruled, coming: Coming) -> Answer:
        return _timely(ruled, await coming)

    async def _observe(self, request: Request, incoming: Incoming, ruled: Ruled, shadow: Ruled, told: Told) -> Answer:
        """Forward as if nothing were guarded, while a shadow of the request finds out what would have been done."""
        policy = ruled.policy
        told.call = identity.call_of(policy, "", incoming)
        begun, whole = await body.look_ahead(request, policy.limits.request_body_bytes)
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
        self, request: Request, incoming: Incoming, shadow: Ruled, data: bytes, told: Told, seen: Observed
    ) -> asyncio.Task[str] | str:
        """Begin to find out what would have been done, or say what is plain at once."""
        try:
            known = self._work_out(request.head.line, incoming, shadow, data, told)
            if known is None:
                return "unprotected" if shadow.policy.key.on_missing == "forward" else "key-missing"
            told.take(known)
            arrival = self._arrival(request, incoming, shadow, known, data)
        except Refused as refused:
            return refused.kind.value.slug
        return self._observer.judge(replace(arrival, forward=seen))

    async def _attach(self, request: Request, incoming: Incoming, rules: Rules, told: Told) -> Answer:
        """Answer what is asked of Holdfast itself; nothing of it ever reaches a tool."""
        asked = attach.asked(request, rules, incoming, PATIENCE_MARGIN_MS)
        told.policy, told.operation = asked.policy, asked.ref.operation
        told.call = identity.call_of(asked.policy, "", incoming)
        return await self._attaching.answer(asked)

    @staticmethod
    def _arrival(request: Request, incoming: Incoming, ruled: Ruled, known: Known, data: bytes) -> Arrival:
        policy, ref, line = ruled.policy, known.ref, request.head.line
        headers = ruled.headers(incoming)
        deferrable = incoming.answers_async and _attachable(ruled, incoming, ref)
        if deferrable:
            headers = without_respond_async(headers)
        sent = data
        if (key_goes := policy.upstream.idempotency) is not None:
            headers, sent = with_key(key_goes, headers, data, ref.operation)
        outbound = Outbound(
            ruled.origin, line.raw_method, line.raw_target, headers, sent, connect_ms=policy.timeouts.connect_ms,
            keep_bytes_max=policy.result.body_bytes_max,
        )  # fmt: skip
        patience_ms = None if incoming.patience_ms is None else max(0, incoming.patience_ms - PATIENCE_MARGIN_MS)
        plan = None if ruled.planner is None else ruled.planner.plan(ref, known.call, incoming, data)
        return Arrival(
            policy, ref, known.call, known.mark, outbound, request.gone, patience_ms,
            ruled.identity.principal(incoming), deferrable, plan, known.effect,
        )  # fmt: skip

    async def _pass(
        self,
        request: Request,
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
            self._recall = Recall()
        return self._rules

    def _note(self, method: str, told: Told, given: Answer, sent: int) -> None:
        """Count and log one answered request."""
        seconds = time.perf_counter() - told.start_s
        works = self._works
        tool = told.policy.tool if told.policy is not None else ""
        works.metrics.answered(tool, given.outcome, seconds)
        if given.upstream_s is not None and told.operation:
            works.metrics.forwarded(tool, given.upstream_s, max(0.0, seconds - given.upstream_s))
        if told.span is not None:
            told.span.end(told.known, given)
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
        call, known = told.call, told.known
        keyed = self._works.log.keyed
        mark, effect = "", ""
        if known is not None:
            mark = known.payload_hash = known.payload_hash or keyed(known.mark)
            if told.effect:
                effect = known.effect_hash = known.effect_hash or keyed(told.effect)
        elif told.effect:
            effect = keyed(told.effect)
        return RequestLine(
            "", "info", SERVICE, "request", told.operation, call.tenant, tool, call.thread_id, call.run_id,
            call.step_id, call.tool_call_id, mark, effect, given.outcome, given.how, "", given.problem,
            given.attempt, method, given.status, given.upstream_status, given.audit_id, round(seconds * 1_000, 3),
            given.late, sent, told.trace_id, self._rules.name, told.lacking, given.effect_of,
        )  # fmt: skip


def _refusal(refused: Refused, told: Told) -> Answer:
    given = answer.refusal(refused.kind, refused.detail, told.operation, close=refused.close)
    if refused.allow:
        given.headers += ((b"Allow", refused.allow.encode()),)
    return given


def _timely(ruled: Ruled, given: Answer) -> Answer:
    """Bound the silences of an answer that is a stream."""
    if given.stream is not None:
        given.stream = Timely(given.stream, ruled.policy.timeouts.upstream_ms / 1_000)
    return given


def _attachable(ruled: Ruled, incoming: Incoming, ref: Ref) -> bool:
    """Say whether the operation's id can be derived without the body: else nobody could ask for it by GET."""
    key = ruled.identity.key(incoming, b"")
    return key is not None and ref_of(key) == ref


def _word(task: asyncio.Task[str]) -> str:
    """Return what a shadow found out; nothing, if the process ended before it did."""
    return "" if task.cancelled() else task.result()
