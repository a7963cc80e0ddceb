"""The simulated tools over HTTP: JSON in, JSON out, and an audit of what they did.

`POST /tools/<tool>` acts, for a tool that writes: after the latency that its script says, it writes one line to the
audit, and then it answers with the audit id. A caller that has hung up does not stop it, and unless the script says so
it honours no idempotency key: those are the two properties of external tools that the incident was made of. Tools that
read leave a count and no line.

`GET /tickets?external_ref=<operation>` (the path is the script's, `/tools/<tool>` serves as well) is the tool's own
lookup, for whoever wants to know what became of a call: it finds what was done under an operation or a key, once the
lag is over, and nothing that is still being worked on.

`GET /_tools/audit` and `GET /_tools/counts` are the truth, for tests and measurements.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from evaluation.tools.asking import read_ask, subject_of
from evaluation.tools.audit import Audit, Effect
from evaluation.tools.counts import Counts
from evaluation.tools.fate import BadOverride, Fate, Override, Plan, parse_override
from evaluation.tools.faults import ENDS
from evaluation.tools.script import Script, Tool
from evaluation.tools.work import Job, Told, Work, error, pause, refusal

BODY_MAX = 16 * 1024 * 1024
"""Above what any shipped policy lets through: mails bring attachments."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FILTERS = frozenset(Effect.__struct_fields__) - {"faults"}
NUMBERS = frozenset({"since", "limit", "arrivals"})


class Api:
    """The handlers. `now` returns Unix seconds."""

    def __init__(self, script: Script, audit: Audit, now: Callable[[], float] = time.time) -> None:
        self._script = script
        self._audit = audit
        self._now = now
        self._fate = Fate(script)
        self._counts = Counts()
        self._work = Work(script, audit, self._counts, now)

    def application(self) -> web.Application:
        """Return the application that serves the tools."""
        application = web.Application(client_max_size=BODY_MAX)
        application.router.add_get("/_tools/audit", self._show_audit)
        application.router.add_get("/_tools/counts", self._show_counts)
        application.router.add_route("*", "/tools/{tool}", self._ask)
        for name, tool in self._script.tools.items():
            if tool.lookup:
                application.router.add_get(tool.lookup, self._lookup_of(name))
        return application

    async def _ask(self, request: web.Request) -> web.Response:
        name = request.match_info["tool"]
        tool = self._script.tool(name)
        try:
            override = self._override(request)
        except BadOverride as wrong:
            return _json(400, error(f"X-Simulate: {wrong}"))
        if tool.effect == "read":
            told, plan = await self._read(request, name, tool, override)
        elif request.method in SAFE:
            return self._look_up(request, name)
        else:
            self._counts.arrived()
            try:
                told, plan = await self._write(request, name, tool, override)
            finally:
                self._counts.settled()
        await pause(plan.answer_s - plan.before_s)
        return _response(request, told)

    def _override(self, request: web.Request) -> Override | None:
        text = request.headers.get("X-Simulate") if self._script.override else None
        return None if text is None else parse_override(text)

    async def _write(self, request: web.Request, name: str, tool: Tool, override: Override | None) -> tuple[Told, Plan]:
        arrived_at, audit_id = self._now(), self._audit.next_id(tool.prefix)
        body = await request.read()
        ask = read_ask(name, request.headers, body)
        plan = self._fate.plan(name, tool, subject_of(ask, self._script.subject), override)
        document = _document(body)
        if document is None:
            self._counts.came_to_nothing(name, "bad-request")
            return Told(400, error("the body is no JSON object")), plan
        key = self._work.key_of(name, request.headers, document)
        return await self._work.do(Job(ask, tool, plan, audit_id, arrived_at, key)), plan

    async def _read(self, request: web.Request, name: str, tool: Tool, override: Override | None) -> tuple[Told, Plan]:
        self._counts.read(name)
        ask = read_ask(name, request.headers, await request.read() or request.query_string.encode())
        plan = self._fate.plan(name, tool, subject_of(ask, self._script.subject), override)
        await pause(plan.before_s)
        fault = next((fault for fault in plan.faults if ENDS.get(fault) is plan.end), None)
        if fault is not None and plan.end.status is not None:
            return refusal(fault, tool), plan
        return Told(200, msgspec.json.encode({"tool": name, "results": [{"id": ask.payload_hash}]})), plan

    # -- lookups, and the truth ----------------------------------------------------------------------------------

    def _lookup_of(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def look_up(request: web.Request) -> web.Response:
            return self._look_up(request, name)

        return look_up

    def _look_up(self, request: web.Request, name: str) -> web.Response:
        reference, tool, now = request.query.get("external_ref", ""), self._script.tool(name), self._now()
        found = [
            {
                "id": effect.audit_id, "status": "created", "user_id": effect.user_id, "external_ref": reference,
                "operation": effect.operation, "created_at": effect.ts,
            }
            for count, effect in enumerate(self._audit.under(name, reference))
            if effect.ts + self._fate.lag_s(tool, reference, count) <= now
        ]  # fmt: skip
        return _json(200, msgspec.json.encode({"items": found}))

    async def _show_audit(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        if unknown := query.keys() - FILTERS - NUMBERS - {"settled"}:
            return _json(
                400, error(f"{', '.join(sorted(unknown))}: the audit can be asked by {', '.join(sorted(FILTERS))}")
            )
        try:
            numbers = {name: int(query.pop(name)) for name in NUMBERS & query.keys()}
        except ValueError:
            return _json(400, error(f"{', '.join(sorted(NUMBERS))} are numbers"))
        settled = query.pop("settled", "") == "true"
        await self._counts.until(numbers.get("arrivals", 0), settled=settled)
        onward, entries = self._audit.page(max(0, numbers.get("since", 0)), numbers.get("limit"), query)
        page = {
            "arrivals": self._counts.arrivals, "in_flight": self._counts.in_flight, "effects": len(self._audit),
            "next": onward, "entries": entries,
        }  # fmt: skip
        return _json(200, msgspec.json.encode(page))

    async def _show_counts(self, request: web.Request) -> web.Response:
        counts = self._counts.shown(request.query.get("call", ""))
        return _json(200, msgspec.json.encode({**counts, "effects": len(self._audit)}))


def _document(body: bytes) -> dict[str, Any] | None:
    """Return a body's JSON object, or None if it is none."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _response(request: web.Request, told: Told) -> web.Response:
    if told.status == 0:
        if request.transport is not None:  # else the caller was faster
            request.transport.abort()
        return web.Response(status=500)  # which nobody gets
    return _json(told.status, told.body, told.headers)


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
