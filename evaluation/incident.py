"""The incident of 14:12:09, as a caller lives through it: one tool call, a time-out, the same call again.

The figures are the log's own. The tool answers the first attempt 11.087 s after it was sent and the second one after
0.571 s; the caller gives up after 10 s, hangs up, and sends the same call again 13 ms later. `speed` divides every one
of these durations; what is measured is multiplied by it again, so that a timeline reads in the incident's own time.
"""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus

import aiohttp
from msgspec import Struct

from evaluation.tools.asking import payload_hash
from evaluation.tools.audit import Effect

BEGIN_MS = ((14 * 60 + 12) * 60 + 9) * 1000 + 3
"""The time of day of the log's first `requires_action`, 14:12:09.003, in milliseconds: every timeline starts here."""

DISPATCH_MS = 14
TIMEOUT_MS = 10_000
RETRY_MS = 13
TOOL_LATENCIES_MS = (11_087, 571)

TOOL = "create_ticket"
THREAD, RUN, STEP, CALL, USER = "thd_9c2a", "run_31f7", "stp_12", "call_A1", "usr_1042"
FIRST, SECOND = "gw_8b91", "gw_8b92"
BODY = json.dumps(
    {
        "user_id": USER,
        "subject": "Export fails since this morning",
        "body": "Every export to CSV ends in an error page. Please have a look.",
        "priority": "normal",
    }
).encode()
PAYLOAD_HASH = payload_hash(BODY)


class Event(Struct, frozen=True):
    """One line of a timeline; `at_ms` counts in the incident's time from its first line.

    `what` and `req` say which event it is, so that the same one can be found in another timeline.
    """

    at_ms: int
    component: str
    level: str
    message: str
    what: str
    req: str = ""

    @property
    def clock(self) -> str:
        """Return the incident's time of day, `14:12:09.003`."""
        seconds, thousandths = divmod(BEGIN_MS + self.at_ms, 1000)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{thousandths:03}"


class Answer(Struct, frozen=True):
    """What an attempt got. `outcome` and `late` are what Holdfast said about it, if it was there."""

    status: int
    audit_id: str
    outcome: str = ""
    late: bool = False


class Told(Struct, frozen=True):
    """What the caller saw: its log, what each attempt got (None for a time-out), and when it all began (Unix time)."""

    events: tuple[Event, ...]
    first: Answer | None
    second: Answer | None
    began: float


class Caller:
    """The tool executor of the incident, with its log.

    Its time-out hangs up: nobody is left on the other end of the first attempt when the tool answers.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, speed: float) -> None:
        self._session = session
        self._url = url
        self._speed = speed
        self._began = time.time()
        self._events: list[Event] = []

    async def live_through(self) -> Told:
        """Dispatch the call, and once more after a time-out."""
        self._began = time.time()
        message = f"run.status thread={THREAD} run={RUN} status=requires_action pending_tool_calls=1"
        self._log("coordinator", "INFO", message, "status")
        await self._pause(DISPATCH_MS)
        first = await self._attempt(FIRST)
        second = None
        if first is None:
            await self._pause(RETRY_MS)
            second = await self._attempt(SECOND)
        return Told(tuple(self._events), first, second, self._began)

    async def _attempt(self, req: str) -> Answer | None:
        message = f"POST /tools/{TOOL} req={req} user={USER} payload_hash={PAYLOAD_HASH[:4]}... timeout=10s"
        self._log("tool-exec", "INFO", message, "sent", req)
        sent = time.time()
        try:
            async with asyncio.timeout(TIMEOUT_MS / 1000 / self._speed):
                answer = await self._post(req)
        except TimeoutError:
            elapsed_ms = round((time.time() - sent) * 1000 * self._speed)
            self._log("tool-exec", "WARN", f"{TOOL} timeout req={req} elapsed_ms={elapsed_ms}", "timeout", req)
            return None
        message = f"{answer.status} {HTTPStatus(answer.status).phrase} req={req} tool_audit_id={answer.audit_id or '-'}"
        if answer.outcome:
            message += f" holdfast={answer.outcome}{',late' if answer.late else ''}"
        self._log("tool-exec", "INFO" if answer.status < 400 else "WARN", message, "answer", req)
        return answer

    async def _post(self, req: str) -> Answer:
        headers = {
            "Content-Type": "application/json",
            "X-Request-Id": req,
            "X-Thread-Id": THREAD,
            "X-Run-Id": RUN,
            "X-Step-Id": STEP,
            "X-Tool-Call-Id": CALL,
            "X-User-Id": USER,
        }
        async with self._session.post(f"{self._url}/tools/{TOOL}", data=BODY, headers=headers) as response:
            body = await response.read()
            return Answer(
                status=response.status,
                audit_id=_audit_id(body),
                outcome=response.headers.get("Holdfast-Outcome", ""),
                late=response.headers.get("Holdfast-Late") == "true",
            )

    async def _pause(self, incident_ms: int) -> None:
        await asyncio.sleep(incident_ms / 1000 / self._speed)

    def _log(self, component: str, level: str, message: str, what: str, req: str = "") -> None:
        at_ms = round((time.time() - self._began) * 1000 * self._speed)
        self._events.append(Event(at_ms, component, level, message, what, req))


def _audit_id(body: bytes) -> str:
    """Return the audit id in a tool's answer; nothing where the answer is not the tool's."""
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    return str(answer.get("id", "")) if isinstance(answer, dict) else ""


def executions(effects: tuple[Effect, ...], began: float, speed: float) -> tuple[Event, ...]:
    """Return the tool's audit as lines of the timeline that began at `began`."""
    return tuple(
        Event(
            at_ms=round((effect.ts - began) * 1000 * speed),
            component="tool",
            level="AUDIT",
            message=f"{effect.tool} executed req={effect.request_id} tool_audit_id={effect.audit_id}",
            what="executed",
            req=effect.request_id,
        )
        for effect in effects
    )
