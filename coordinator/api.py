"""The coordinator's HTTP API (contract, section 4): turns, runs, results posted back, notifications, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web
from msgspec import Struct

from coordinator import account, transitions
from coordinator.backend import Away, Gone, Seen, Unclear
from coordinator.backend import Refused as BackendRefused
from coordinator.correlation import Unmatched
from coordinator.inbox import Entry, Inbox
from coordinator.keeping import label_of
from coordinator.means import Means
from coordinator.outputs import BadOutput, read_posted
from coordinator.problems import Kind, Refused
from coordinator.records import Run, decode_run, encode, run_key
from coordinator.requests import answer, body_of, check_filled, limit_of, read
from coordinator.spans import caller_of, turn_span
from coordinator.store import Put, Standing, Written
from coordinator.turns import NotStarted, Started, TurnAsk, Turns
from coordinator.watching import Watching
from coordinator.webhooks import BadWebhook, Webhooks
from ledger.store import StoreUnavailable
from process.tracing import Value

WEBHOOK_KEEP_MS = 15 * 60 * 1_000
"""How long a notification's id is remembered: three times as long as its signature is good for."""
HURRYING = frozenset({"requires_action", "completed", "failed", "cancelled", "expired", "incomplete"})
"""Statuses that somebody has something to do about; the others are news that no one waits for."""


class RunAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/runs`: a run that somebody else has made."""

    thread_id: str
    run_id: str
    backend: str = ""
    tenant: str = ""
    user: str = ""


class Reason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a dead letter is dropped, and who says so."""

    reason: str
    actor: str = ""


class Api:
    """The handlers. `stopping` says whether new work is still taken."""

    def __init__(
        self, means: Means, watching: Watching, turns: Turns, inbox: Inbox, webhooks: Webhooks | None,
        stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._means = means
        self._watching = watching
        self._turns = turns
        self._inbox = inbox
        self._webhooks = webhooks
        self._stopping = stopping

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.post("/v1/turns", self._start_turn),
            web.post("/v1/runs", self._track),
            web.get("/v1/runs", self._list_runs),
            web.get("/v1/runs/{run}", self._show_run),
            web.post("/v1/runs/{run}/cancel", self._cancel),
            web.post("/v1/webhooks/{backend}", self._webhook),
            web.post("/v1/tool-outputs", self._tool_output),
            web.get("/v1/dead-letters", self._list_letters),
            web.post("/v1/dead-letters/{letter}/requeue", self._requeue),
            web.post("/v1/dead-letters/{letter}/drop", self._drop),
        ]

    # -- turns and runs ------------------------------------------------------------------------------------------

    async def _start_turn(self, request: web.Request) -> web.Response:
        self._check_going()
        ask = await read(request, TurnAsk)
        for name in ("client_turn_id", "message", "assistant_id"):
            check_filled(name, getattr(ask, name))
        with turn_span(self._means.tracing, request.headers) as span:
            told = await self._turns.start(ask, "" if span is None else span.parent)
            if span is not None:
                span.set(_traced(told))
        if isinstance(told, Started):
            self._means.metrics.turns.labels("started" if told.anew else "known").inc()
            return answer({"thread_id": told.thread_id, "run_id": told.run_id}, 201 if told.anew else 200)
        self._means.metrics.turns.labels(told.why).inc()
        raise _not_started(told)

    async def _track(self, request: web.Request) -> web.Response:
        self._check_going()
        ask, means = await read(request, RunAsk), self._means
        check_filled("thread_id", ask.thread_id)
        check_filled("run_id", ask.run_id)
        backend = self._backend(ask.backend)
        loop = asyncio.get_running_loop()
        run = transitions.begun(
            backend,
            ask.thread_id,
            ask.run_id,
            means.now_ms(),
            tenant=ask.tenant,
            user=ask.user,
            trace=caller_of(means.tracing, request.headers),
        )
        key, version, began = run_key(backend, ask.run_id), means.version(), loop.time()
        room = len(self._watching) < means.limits.runs_max
        put = Put(
            key, None, version, encode(run), label=label_of(run), owner=means.owner if room else "",
            then="keep" if room else "hurry", in_ms=means.limits.visibility_ms if room else None,
        )  # fmt: skip
        try:
            told = await means.store.swap(put)
        except StoreUnavailable:  # the same write again has the effect of one; the first may have been done
            told = await means.store.swap(put)
        if isinstance(told, Written):
            if room:
                place = Standing(key, version, put.record, means.owner)
                self._watching.adopt(place, began + means.limits.visibility_ms / 1_000)
            return answer(account.line(run), 202)
        assert told.standing is not None
        stands = decode_run(told.standing.record)
        if stands.thread_id != ask.thread_id:
            raise Refused(
                Kind.CONFLICT, f"run {ask.run_id} is tracked in thread {stands.thread_id}", field="thread_id",
                remedy="send the thread that the run belongs to",
            )  # fmt: skip
        return answer(account.line(stands), 200)

    async def _list_runs(self, request: web.Request) -> web.Response:
        limit = limit_of(request)
        try:
            page = await self._means.store.scan(request.query.get("status", ""), request.query.get("cursor", ""), limit)
        except ValueError as error:
            raise Refused(Kind.BAD_REQUEST, str(error), field="cursor", remedy="begin without one") from None
        runs = [decode_run(place.record) for place in page.places if place.key.startswith("run:")]
        return answer({"runs": [account.line(run) for run in runs], "cursor": page.cursor})

    async def _show_run(self, request: web.Request) -> web.Response:
        run, _ = await self._run(request)
        return answer(account.whole(run))

    async def _cancel(self, request: web.Request) -> web.Response:
        run, key = await self._run(request)
        told = await self._means.backend.cancel(run.thread_id, run.run_id)
        await self._hurry(key, "cancel")
        match told:
            case Seen():
                self._means.log.event("run.cancel", thread_id=run.thread_id, run_id=run.run_id, status=told.status)
                return answer({"run_id": run.run_id, "status": told.status}, 202)
            case BackendRefused():
                raise Refused(Kind.RUN_ENDED, told.why)
            case Gone():
                raise Refused(Kind.NOT_FOUND, told.why)
            case Away() | Unclear():
                raise Refused(Kind.BACKEND_AWAY, told.why, remedy="ask for the run, and cancel it again")

    async def _run(self, request: web.Request) -> tuple[Run, str]:
        key = run_key(self._means.backend.name, request.match_info["run"])
        standing = await self._means.store.read(key)
        if standing is None:
            raise Refused(Kind.NOT_FOUND, f"run {request.match_info['run']} is not tracked")
        return decode_run(standing.record), key

    # -- what comes from elsewhere ---------------------------------------------------------------------------------

    async def _webhook(self, request: web.Request) -> web.Response:
        backend, means = self._backend(request.match_info["backend"]), self._means
        if self._webhooks is None:
            raise Refused(Kind.NOT_FOUND, "notifications are not taken here", remedy="start with --webhook-secret-file")
        try:
            told = self._webhooks.verify(request.headers, await body_of(request))
        except BadWebhook as error:
            means.metrics.webhooks.labels(error.why).inc()
            kind = Kind.BAD_REQUEST if error.why == "malformed" else Kind.UNAUTHORIZED
            raise Refused(kind, str(error)) from None
        means.notifications.came(asyncio.get_running_loop().time())
        if not told.run_id or told.status not in HURRYING:
            means.metrics.webhooks.labels("idle").inc()
            return answer({"taken": False})
        key = run_key(backend, told.run_id)
        if self._watching.nudge(key, "webhook", stale=False):
            means.metrics.webhooks.labels("taken").inc()
            return answer({"taken": True})
        new = await means.store.hear(told.webhook_id, WEBHOOK_KEEP_MS, key)
        means.metrics.webhooks.labels("taken" if new else "known").inc()
        self._watching.nudged("")
        return answer({"taken": new})

    async def _tool_output(self, request: web.Request) -> web.Response:
        self._check_going()
        means = self._means
        try:
            posted = read_posted(await body_of(request))
        except BadOutput as error:
            means.metrics.posted.labels("bad").inc()
            raise Refused(Kind.BAD_REQUEST, error.detail, field=error.field, remedy=error.remedy) from None
        entry = Entry(
            means.backend.name, posted.thread_id, posted.run_id, posted.tool_call_id, posted.output, means.now_ms(),
            posted.step_id,
        )  # fmt: skip
        told = await self._inbox.accept(entry)
        means.metrics.posted.labels(told.why if isinstance(told, Unmatched) else told).inc()
        match told:
            case "accepted":
                return answer({"accepted": True}, 202)
            case "duplicate":
                return answer({"accepted": True, "duplicate": True}, 200)
            case "conflict":
                raise Refused(
                    Kind.CONFLICT, f"call {entry.tool_call_id} has another output already", field="output",
                    remedy="nothing is to be done: the first output stands",
                )  # fmt: skip
            case "full":
                raise Refused(Kind.QUEUE_FULL, f"{means.limits.queue_max} outputs wait", remedy="send it again, later")
            case "unknown-run":
                raise Refused(
                    Kind.UNKNOWN_RUN, f"run {entry.run_id} is not tracked", field="run_id",
                    remedy="track it with POST /v1/runs, then send the output again",
                )  # fmt: skip
            case Unmatched(why="unknown-call"):
                raise Refused(Kind.UNKNOWN_CALL, told.detail, field="tool_call_id", remedy="send it again, later")
            case Unmatched():
                raise Refused(Kind.UNCORRELATED, told.detail, field=_FIELDS[told.why], remedy=_REMEDIES[told.why])

    # -- dead letters --------------------------------------------------------------------------------------------

    async def _list_letters(self, request: web.Request) -> web.Response:
        letters, cursor = await self._means.store.letters(request.query.get("cursor", ""), limit_of(request))
        shown = []
        for letter in letters:
            entry = _entry(letter.entry)
            shown.append({
                "letter": letter.id, "reason": letter.reason, "detail": letter.detail,
                "since": account.instant(letter.since_ms), "thread_id": entry.thread_id, "run_id": entry.run_id,
                "step_id": entry.step_id, "tool_call_id": entry.tool_call_id, "bytes": len(entry.output),
            })  # fmt: skip
        return answer({"letters": shown, "cursor": cursor})

    async def _requeue(self, request: web.Request) -> web.Response:
        letter = request.match_info["letter"]
        if not await self._means.store.requeue(letter):
            raise Refused(Kind.NOT_FOUND, f"there is no dead letter {letter}")
        self._means.log.event("letter.requeued", letter=letter)
        self._inbox.kick()
        return answer({"requeued": letter}, 202)

    async def _drop(self, request: web.Request) -> web.Response:
        letter, told = request.match_info["letter"], await read(request, Reason)
        check_filled("reason", told.reason)
        if not await self._means.store.drop(letter):
            raise Refused(Kind.NOT_FOUND, f"there is no dead letter {letter}")
        self._means.log.event("letter.dropped", level="warning", letter=letter, reason=told.reason, actor=told.actor)
        return answer({"dropped": letter})

    # -- the rest ------------------------------------------------------------------------------------------------

    async def _hurry(self, key: str, why: str) -> None:
        if not self._watching.nudge(key, why, stale=False):
            await self._means.store.hurry(key)
            self._watching.nudged("")

    def _backend(self, named: str) -> str:
        name = self._means.backend.name
        if named not in {"", name}:
            raise Refused(Kind.NOT_FOUND, f"there is no backend {named!r}", field="backend", remedy=f"it is {name!r}")
        return name

    def _check_going(self) -> None:
        if self._stopping():
            raise Refused(Kind.STOPPING, "it lets go of its runs for another replica")


def _traced(told: Started | NotStarted) -> dict[str, Value]:
    if isinstance(told, NotStarted):
        return {"error.type": told.why}
    return {"gen_ai.conversation.id": told.thread_id, "holdfast.run_id": told.run_id, "holdfast.anew": told.anew}


_FIELDS = {"thread-mismatch": "thread_id", "step-mismatch": "step_id", "ambiguous": "tool_call_id"}
_REMEDIES = {
    "thread-mismatch": "send the thread that the run belongs to",
    "step-mismatch": "send the step that asked for the call, or none",
    "ambiguous": "name the call",
}


def _not_started(told: NotStarted) -> Refused:
    match told.why:
        case "mismatch":
            return Refused(
                Kind.TURN_REUSED, told.detail, field="client_turn_id", remedy="send a new one for a new turn"
            )
        case "busy":
            return Refused(Kind.THREAD_BUSY, told.detail, remedy="send it again when the thread's run has ended")
        case "pending":
            return Refused(Kind.TURN_PENDING, told.detail, remedy="send it again under the same client_turn_id")
        case "refused":
            return Refused(Kind.BACKEND_REFUSED, told.detail, backend_status=told.status)
        case _:
            return Refused(Kind.BACKEND_AWAY, told.detail, remedy="send it again under the same client_turn_id")


def _entry(data: bytes) -> Entry:
    try:
        return msgspec.json.decode(data, type=Entry)
    except msgspec.DecodeError:
        return Entry("", "", "", "", "", 0)
