"""What a tool makes of a request to act: its key, the wait, the effect with its line in the audit, what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from evaluation.tools.asking import Ask, call_of
from evaluation.tools.audit import Audit, Effect
from evaluation.tools.counts import Counts
from evaluation.tools.fate import Plan
from evaluation.tools.faults import ENDS, Fault
from evaluation.tools.keys import HonouredKeys, Word
from evaluation.tools.script import Script, Tool
from policies.selector import parse_selector


class Told(Struct, frozen=True):
    """What a request is told: a status, 0 for a connection that is cut instead, a body and header fields."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


class Job(Struct, frozen=True):
    """A request to act as it is worked on; `audit_id` is its effect's, should it have one."""

    ask: Ask
    tool: Tool
    plan: Plan
    audit_id: str
    arrived_at: float
    key: str = ""


class Work:
    """Does what is asked and writes it down. `now` returns Unix seconds."""

    def __init__(self, script: Script, audit: Audit, counts: Counts, now: Callable[[], float]) -> None:
        self._audit = audit
        self._counts = counts
        self._now = now
        self._keys = {
            name: HonouredKeys(parse_selector(tool.key.at), tool.key.window)
            for name, tool in script.tools.items()
            if tool.key is not None
        }
        for effect in audit.effects():
            if effect.key and (keys := self._keys.get(effect.tool)):
                keys.ended(effect.tenant, effect.key, effect.payload_hash, answer_of(effect), effect.ts)

    def key_of(self, tool: str, headers: Mapping[str, str], document: Any) -> str:
        """Return the idempotency key that a request brings to a tool that honours such; else nothing."""
        keys = self._keys.get(tool)
        return "" if keys is None else keys.key_of(headers, document)

    async def do(self, job: Job) -> Told:
        """Act, unless the plan or the request's key says otherwise; return what the request is told when it is time."""
        if job.plan.end.at_once:
            return self._nothing(job)
        if not job.key:
            effect = await self._act(job)
            return self._nothing(job) if effect is None else _told(job, answer_of(effect))
        keys, who = self._keys[job.ask.tool], (job.ask.tenant, job.key, job.ask.payload_hash)
        word, answer = keys.arrived(*who, job.arrived_at)
        if word is not Word.FRESH:
            return self._by_key(job, word, answer)
        done: bytes | None = None
        try:
            effect = await self._act(job)
            done = None if effect is None else answer_of(effect)
        finally:
            keys.ended(*who, done, self._now())
        return self._nothing(job) if done is None else _told(job, done)

    async def _act(self, job: Job) -> Effect | None:
        await pause(job.plan.before_s)
        end = job.plan.end
        if not end.applied:
            return None
        effect = Effect(
            **msgspec.structs.asdict(job.ask),
            audit_id=job.audit_id,
            key=job.key,
            arrived_at=job.arrived_at,
            ts=self._now(),
            answered=job.tool.status if end.status is None else end.status,
            faults=tuple(fault.value for fault in job.plan.faults),
        )
        self._audit.append(effect)
        return effect

    def _by_key(self, job: Job, word: Word, answer: bytes) -> Told:
        if word is Word.AT_WORK:
            told = Told(409, error("a request with this key is being worked on"))
        elif word is Word.OTHER_REQUEST:
            told = Told(422, error("this key came with another request"))
        elif job.plan.end.applied:
            told = _told(job, answer, {"Idempotent-Replayed": "true"})
        else:
            return self._nothing(job)
        self._counts.came_to_nothing(call_of(job.ask, job.key), f"key-{word.name.lower().replace('_', '-')}")
        return told

    def _nothing(self, job: Job) -> Told:
        fault = next(fault for fault in job.plan.faults if fault in ENDS)
        self._counts.came_to_nothing(call_of(job.ask, job.key), fault.value)
        return refusal(fault, job.tool)


async def pause(seconds: float) -> None:
    """Let some time pass. None is none: not even a turn of the event loop."""
    if seconds > 0:
        await asyncio.sleep(seconds)


def answer_of(effect: Effect) -> bytes:
    """Return what a tool says of what it did."""
    return msgspec.json.encode({"id": effect.audit_id, "status": "created", "user_id": effect.user_id})


def error(text: str) -> bytes:
    """Return the body of an answer that is no success."""
    return msgspec.json.encode({"error": text})


def refusal(fault: Fault, tool: Tool) -> Told:
    """Return what is told in place of an effect, or of what was to be read."""
    status = ENDS[fault].status
    assert status is not None
    if fault is Fault.IS_ERROR:
        return Told(status, msgspec.json.encode({"isError": True, "error": "the tool could not do it"}))
    retry_after = {"Retry-After": str(tool.retry_after)} if fault is Fault.THROTTLED else {}
    return Told(status, error(f"simulated: {fault.value}"), retry_after)


def _told(job: Job, answer: bytes, headers: dict[str, str] | None = None) -> Told:
    """Return what is told of an effect, or instead of that."""
    status = job.plan.end.status
    if status is None:
        return Told(job.tool.status, answer, headers or {})
    return Told(status, error("simulated: the answer was lost"))
