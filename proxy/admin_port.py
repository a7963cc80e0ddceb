"""The admin port: what operators ask and decide, as JSON (contract, section 3). `process.admission` says who may.

Every listing is bounded in time and length and goes on by its cursor. Mutations are written into what they change: a
ruling into the operation's history, for good.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast, get_args

import msgspec
from aiohttp import hdrs, web

from ledger.records import CorruptRecord
from ledger.store import Phase, StoreUnavailable
from policies.faults import PolicyErrors
from policies.live import LivePolicies
from policies.matcher import PolicySet
from policies.model import ResultRules
from policies.units import duration_ms
from process.admission import Admission, NotAdmitted
from proxy import rulings
from proxy.admin_problems import CONTENT_TYPE, Fault, Refused
from proxy.heartbeat import Heartbeat
from proxy.operations import Filter, Found, Operations
from proxy.tail import FIELDS, TAILS_MAX, Tail
from proxy.works import Works

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Room for the largest result that a policy is likely to keep, in base64."""

BODY_S = 30.0
HEADER_S = 10.0
"""For a body, and for a request's head, to be whole, as on the data port."""

LIMIT_DEFAULT, LIMIT_MAX = 100, 500
VALUE_MAX = 4_096
"""Characters of a query's value; cursors are the longest."""

STATES = get_args(Phase)
OPERATION = re.compile("op_[0-9a-f]{40}")
FILTERS = {"state", "tool", "run", "thread", "since", "cursor", "limit"}
SHORT = {"run": "run_id", "thread": "thread_id"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminPort:
    """Handles the requests of operators."""

    def __init__(self, works: Works, live: LivePolicies, heartbeat: Heartbeat, admission: Admission) -> None:
        self._works = works
        self._live = live
        self._heartbeat = heartbeat
        self._admission = admission
        self._operations = Operations(works, self._in_force)

    def application(self) -> web.Application:
        """Return the routes, behind the checks that hold for all of them."""
        app = web.Application(middlewares=[self._guarded], client_max_size=BODY_BYTES_MAX)
        app.add_routes(
            [
                web.get("/v1/operations", self._list),
                web.get("/v1/operations/{operation}", self._show),
                web.post("/v1/operations/{operation}/resolve", self._resolve),
                web.get("/v1/runs/{run_id}", self._run),
                web.get("/v1/policies", self._policies),
                web.post("/v1/policies/reload", self._reload),
                web.get("/v1/events", self._events, allow_head=False),
                web.post("/v1/store/accept", self._accept),
            ]
        )
        return app

    def runner(self) -> web.AppRunner:
        """Return what serves the port; listeners to events are let go of first when it is cleaned up."""
        app = self.application()
        app.on_shutdown.append(self._let_go)
        return web.AppRunner(
            app, access_log=None, handle_signals=False, keepalive_timeout=HEADER_S, shutdown_timeout=1.0,
            handler_cancellation=True,
        )  # fmt: skip

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer every refusal as a problem, whoever it comes from."""
        try:
            self._admission.check(request)
            return await handler(request)
        except NotAdmitted as error:
            return _problem(Refused(_TURNED_AWAY[error.why], str(error), field=error.field, remedy=error.remedy))
        except Refused as refused:
            return _problem(refused)
        except StoreUnavailable as error:
            return _problem(Refused(Fault.STORE_UNAVAILABLE, str(error), remedy="ask again when the store is back"))
        except CorruptRecord as error:
            return _problem(Refused(Fault.CONFLICT, str(error), state="unreadable"))
        except web.HTTPRequestEntityTooLarge:
            return _problem(Refused(Fault.TOO_LARGE, f"a body has {BODY_BYTES_MAX} bytes at most", field="body"))
        except web.HTTPMethodNotAllowed as error:
            answer = _problem(Refused(Fault.METHOD, f"{error.method} is not for {request.path}"))
            answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
            return answer
        except web.HTTPNotFound:
            return _problem(Refused(Fault.NOT_FOUND, f"there is nothing at {request.path}"))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever failed, who asked is told where to look
            self._works.log.event("request.failed", level="error", port="admin", error=repr(error))
            return _problem(Refused(Fault.INTERNAL, "the proxy's log says more"))

    # -- operations and runs ---------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        query = _query(request, FILTERS)
        state = query.get("state", "")
        if state and state not in STATES:
            raise Refused(
                Fault.BAD_REQUEST, f"{state!r} is no state", field="state", remedy=f"one of {', '.join(STATES)}"
            )
        wanted = Filter(
            tool=query.get("tool", ""), run=query.get("run", ""), thread=query.get("thread", ""),
            since_ms=_since_ms(query.get("since", ""), self._works.now_ms()),
        )  # fmt: skip
        limit = _limit(query.get("limit", ""))
        phase = cast("Phase | None", state or None)
        try:
            found = await self._operations.listed(phase, wanted, query.get("cursor", ""), limit)
        except ValueError as error:
            raise Refused(
                Fault.BAD_REQUEST, str(error), field="cursor", remedy="a cursor goes on with the listing that gave it"
            ) from None
        return _json(_page(found))

    async def _show(self, request: web.Request) -> web.Response:
        _query(request, set())
        _, standing = await self._find(request)
        return _json(self._operations.tell_whole(standing))

    async def _resolve(self, request: web.Request) -> web.Response:
        _query(request, set())
        ruling = rulings.read(await _body(request))
        ref, standing = await self._find(request)
        policy = self._operations.policy_of(standing.record)
        rules, replicas = (ResultRules(), 0) if policy is None else (policy.result, policy.replicas)
        result = None if ruling.response is None else rulings.result_of(ruling.response, rules.body_bytes_max)
        ruled = rulings.rule(self._works, ref, standing, ruling, result, rules, replicas)
        # An operator that hangs up has ruled all the same: the rest of it (the log, the metric) is done as well.
        record = await asyncio.shield(asyncio.get_running_loop().create_task(ruled))
        return _json(self._operations.tell_ruled(record, has_result=result is not None))

    async def _find(self, request: web.Request) -> Any:
        operation = request.match_info["operation"]
        try:
            found = await self._operations.find(operation) if OPERATION.fullmatch(operation) else None
        except TimeoutError:
            raise Refused(
                Fault.NOT_FOUND, f"{operation} is in no scope of the policies in force, and the store is too large to "
                "look through", remedy="load the policy of its tool and tenant", operation=operation,
            ) from None  # fmt: skip
        if found is None:
            raise Refused(Fault.NOT_FOUND, f"there is no operation {operation[:64]}", field="operation")
        return found

    async def _run(self, request: web.Request) -> web.Response:
        _query(request, set())
        run_id = request.match_info["run_id"]
        found = await self._operations.of_run(run_id)
        if not found.operations and not found.cursor:
            raise Refused(Fault.NOT_FOUND, f"no operation of run {run_id[:64]!r} is known", field="run_id")
        return _json({"run_id": run_id, "operations": found.operations, "complete": not found.cursor})

    # -- policies, the store ---------------------------------------------------------------------------------------

    async def _policies(self, request: web.Request) -> web.Response:
        _query(request, set())
        return _json(_told(self._in_force()) | {"policies": [_plain(policy) for policy in self._in_force().policies]})

    async def _reload(self, request: web.Request) -> web.Response:
        _query(request, set())
        await _body(request)
        try:
            return _json(_told(await self._live.reload()))
        except PolicyErrors as errors:
            faults = [str(fault) for fault in errors.faults]
            raise Refused(
                Fault.POLICIES, f"{len(faults)} fault(s)", faults=faults, remedy="holdfast policy check DIR"
            ) from None

    async def _accept(self, request: web.Request) -> web.Response:
        _query(request, set())
        await _body(request)
        left_ms = await self._heartbeat.accept()
        self._works.log.event("store.loss-accepted", level="warning", refusing_ms=left_ms)
        return _json({"accepted": left_ms > 0, "refusing_ms": left_ms})

    def _in_force(self) -> PolicySet:
        return self._live.current

    # -- events ----------------------------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Tail the log as server-sent events: `data` is a line, the event `dropped` says how many were missed."""
        query = _query(request, {*FIELDS, *SHORT})
        tails = self._works.log.tails
        if len(tails) >= TAILS_MAX:
            raise Refused(Fault.OVERLOADED, f"{TAILS_MAX} tails are followed already")
        answer = web.StreamResponse(headers=_FIELDS | {"Content-Type": "text/event-stream"})
        tail = Tail({SHORT.get(name, name): value for name, value in query.items() if value})
        tails.append(tail)
        try:
            await answer.prepare(request)
            await answer.write(b": what this process logs from now on\n\n")
            async for come in tail.follow():
                parts = [b"data: %b\n\n" % line for line in come.lines]
                if come.dropped:
                    parts.append(b'event: dropped\ndata: {"dropped": %d}\n\n' % come.dropped)
                await answer.write(b"".join(parts) or b": quiet\n\n")
        finally:
            tails.remove(tail)
        return answer

    async def _let_go(self, _: web.Application) -> None:
        for tail in self._works.log.tails:
            tail.close()


_FIELDS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


_TURNED_AWAY = {
    "unauthorized": Fault.UNAUTHORIZED, "forbidden": Fault.FORBIDDEN, "media-type": Fault.MEDIA_TYPE,
}  # fmt: skip


def _json(told: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(told), headers=_FIELDS | {"Content-Type": "application/json"})


def _problem(refused: Refused) -> web.Response:
    status = refused.fault.value.status
    headers = _FIELDS | {"Content-Type": CONTENT_TYPE}
    if refused.fault is Fault.UNAUTHORIZED:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return web.Response(status=status, body=refused.document(), headers=headers)


def _page(found: Found) -> dict[str, Any]:
    return {"operations": found.operations, "cursor": found.cursor}


def _told(policies: PolicySet) -> dict[str, Any]:
    return {"generation": policies.generation, "digest": policies.digest}


def _plain(policy: Any) -> Any:
    return msgspec.to_builtins(policy, builtin_types=(), order="deterministic")


def _query(request: web.Request, known: set[str]) -> dict[str, str]:
    """Return the query's parameters: known ones only, each once, none too long."""
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            remedy = f"known here: {', '.join(sorted(known)) or 'none'}"
            raise Refused(Fault.BAD_REQUEST, f"there is no parameter {name[:64]!r}", field=name[:64], remedy=remedy)
        if name in query:
            raise Refused(Fault.BAD_REQUEST, f"{name} is given twice", field=name)
        if len(value) > VALUE_MAX:
            raise Refused(Fault.BAD_REQUEST, f"{name} is longer than {VALUE_MAX} characters", field=name)
        query[name] = value
    return query


def _limit(text: str) -> int:
    if not text:
        return LIMIT_DEFAULT
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise Refused(Fault.BAD_REQUEST, f"{text[:32]!r} is no limit", field="limit", remedy=f"1 to {LIMIT_MAX}")
    return int(text)


def _since_ms(text: str, now_ms: int) -> int:
    """Return the moment that `since` means: so long ago (`90s`, `1h`), or a time as RFC 3339."""
    if not text:
        return 0
    try:
        return now_ms - duration_ms(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        remedy = "a duration with its unit, such as 90s or 1h, or a time such as 2026-11-24T09:00:00Z"
        raise Refused(Fault.BAD_REQUEST, f"{text[:64]!r} is no time", field="since", remedy=remedy) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise Refused(Fault.BODY_TIMEOUT, f"not whole within {BODY_S:.0f} s") from None
