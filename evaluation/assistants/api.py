"""The simulated API over HTTP, as the openai and the azure-ai-agents clients speak it.

Every path is served with `/v1` before it and without (the second client puts `api-version` into the query in its
place). Beside the API there is the truth about it, for tests: `GET /_simulator/submissions` lists every hand-in of tool
outputs, taken or not, and what its caller was told; for `GET /_simulator/runs` see `truth`. `GET /_simulator/waiting`
lists all runs that wait for outputs, for coordinators that poll: the API lists runs by thread alone, and whoever polls
keeps a table of open conversations.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from evaluation.assistants.life import CALLS_MAX, Life, Refusal
from evaluation.assistants.listing import page
from evaluation.assistants.script import Fate
from evaluation.assistants.things import ENDED, Run, Thread
from evaluation.assistants.truth import open_runs, page_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_MAX = 4 * 1024 * 1024


class Submission(Struct, frozen=True):
    """One hand-in of outputs. `answered` is the HTTP status, 0 for a connection that was closed instead."""

    run_id: str
    step_id: str
    outputs: dict[str, str]
    taken: bool
    answered: int
    at: float


class Api:
    """The handlers. `now` returns Unix seconds; `notify` is told of each new status of a run."""

    def __init__(
        self, fate: Fate, notify: Callable[[Run], None] = lambda _: None, now: Callable[[], float] = time.time
    ) -> None:
        self.life = Life(self._changed, fate.pace, fate.expires_s)
        self.submissions: list[Submission] = []
        self._ended: list[Run] = []
        self._fate = fate
        self._notify = notify
        self._now = now
        self._before: dict[str, list[bytes]] = {}
        self._decided: set[str] = set()
        self._waiting: dict[str, Run] = {}
        self._alarms: dict[str, asyncio.TimerHandle] = {}

    def application(self) -> web.Application:
        """Return the application that serves the API."""
        application = web.Application(client_max_size=BODY_MAX, middlewares=[_spoken])
        for root in ("", "/v1"):
            thread = root + "/threads/{thread}"
            run = thread + "/runs/{run}"
            application.add_routes([
                web.post(root + "/assistants", self._create_assistant),
                web.post(root + "/threads", self._create_thread),
                web.get(thread, self._show_thread),
                web.post(thread + "/messages", self._create_message),
                web.get(thread + "/messages", self._list_messages),
                web.post(root + "/threads/runs", self._create_thread_and_run),
                web.post(thread + "/runs", self._create_run),
                web.get(thread + "/runs", self._list_runs),
                web.get(run, self._show_run),
                web.get(run + "/steps", self._list_steps),
                web.get(run + "/steps/{step}", self._show_step),
                web.post(run + "/submit_tool_outputs", self._submit),
                web.post(run + "/cancel", self._cancel),
                web.get(root + "/_simulator/waiting", self._show_waiting),
            ])  # fmt: skip
        application.router.add_get("/_simulator/submissions", self._show_submissions)
        application.router.add_get("/_simulator/runs", self._show_runs)
        application.on_cleanup.append(self._end)
        return application

    # -- threads and messages ------------------------------------------------------------------------------------

    async def _create_assistant(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        return _json({
            "id": "asst_simulated", "object": "assistant", "created_at": int(self._now()), "name": asked.get("name"),
            "description": None, "model": asked.get("model", "simulated"), "instructions": asked.get("instructions"),
            "tools": asked.get("tools", []), "tool_resources": {}, "metadata": {}, "top_p": 1.0, "temperature": 1.0,
            "response_format": "auto",
        })  # fmt: skip

    async def _create_thread(self, request: web.Request) -> web.Response:
        thread = self._thread_of(await _body(request))
        return self._created(thread.shown(), thread.id)

    def _thread_of(self, asked: dict[str, Any]) -> Thread:
        now = self._now()
        thread = self.life.create_thread(now, asked.get("metadata") or {})
        for message in asked.get("messages") or ():
            self._say(thread, message)
        return thread

    async def _show_thread(self, request: web.Request) -> web.Response:
        return _json(self.life.thread(request.match_info["thread"]).shown())

    async def _create_message(self, request: web.Request) -> web.Response:
        shown = self._say(self.life.thread(request.match_info["thread"]), await _body(request))
        return self._created(shown, shown["id"])

    def _say(self, thread: Thread, asked: dict[str, Any]) -> dict[str, Any]:
        text, role = _text(asked.get("content")), str(asked.get("role"))
        return self.life.add_message(thread, role, text, self._now(), asked.get("metadata") or {}).shown()

    async def _list_messages(self, request: web.Request) -> web.Response:
        thread = self.life.thread(request.match_info["thread"])
        wanted = request.query.get("run_id")
        found = [message.shown() for message in thread.messages if wanted is None or message.run_id == wanted]
        return _json(page(found, request.query))

    # -- runs ----------------------------------------------------------------------------------------------------

    async def _create_thread_and_run(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        return self._run_in(self._thread_of(asked.get("thread") or {}), asked)

    async def _create_run(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        thread = self.life.thread(request.match_info["thread"])
        if asked.get("additional_messages") and thread.active is None:
            for message in asked["additional_messages"]:
                self._say(thread, message)
        return self._run_in(thread, asked)

    def _run_in(self, thread: Thread, asked: dict[str, Any]) -> web.Response:
        if asked.get("stream"):
            raise Refusal(400, "This simulator does not stream: leave 'stream' out.")
        assistant = asked.get("assistant_id")
        if not isinstance(assistant, str) or not assistant:
            raise Refusal(400, "Missing required parameter: 'assistant_id'.", code="missing_required_parameter")
        said = next((message.text for message in reversed(thread.messages) if message.role == "user"), "")
        plan, turn = self._fate.plan(said)
        run = self.life.create_run(
            thread, assistant, plan, self._now(), metadata=asked.get("metadata") or {}, turn=turn,
            instructions=asked.get("instructions") or "", tools=asked.get("tools") or [],
        )  # fmt: skip
        return self._created(run.shown(), run.name)

    def _advance(self, run: Run) -> None:
        """Let what is due happen to a run, and wake up for what comes next."""
        self.life.advance(run, self._now())
        self._arm(run)

    def _arm(self, run: Run) -> None:
        if (alarm := self._alarms.pop(run.id, None)) is not None:
            alarm.cancel()
        if (at := self.life.next_at(run)) is not None:
            loop = asyncio.get_running_loop()
            self._alarms[run.id] = loop.call_later(max(0.0, at - self._now()), self._advance, run)

    def _changed(self, run: Run) -> None:
        """A run has a new status or new calls: remember when, and how it was before, for stale reads; tell who
        listens."""
        if run.status in ENDED:
            run.over_at = self._now()
            self._ended.append(run)
        elif (step := run.waiting) is not None:
            step.asked_at = step.asked_at or self._now()
        shown = self._before.setdefault(run.id, [])
        shown.append(msgspec.json.encode(run.shown()))
        del shown[:-2]
        self._notify(run)
        asyncio.get_running_loop().call_soon(self._arm, run)  # when next is not known before the change is whole
        if run.waiting is None:
            self._waiting.pop(run.id, None)
        else:
            self._waiting[run.id] = run
            self._perhaps_regenerate(run)

    def _perhaps_regenerate(self, run: Run) -> None:
        """Decide once for each step whether a replica's restart is to befall it."""
        subject = f"{run.id}:{len(run.steps)}"
        if subject in self._decided:
            return
        self._decided.add(subject)
        for fault, same_step in (("regenerate", True), ("regenerate_step", False)):
            if self._fate.strikes(fault, f"{run.name}:{len(run.steps)}"):
                loop = asyncio.get_running_loop()
                loop.call_later(self._fate.pace(run).think_s, self._regenerate, run, same_step)
                return

    def _regenerate(self, run: Run, same_step: bool) -> None:
        self.life.regenerate(run, self._now(), same_step=same_step)

    async def _list_runs(self, request: web.Request) -> web.Response:
        thread = self.life.thread(request.match_info["thread"])
        return _json(page([run.shown() for run in thread.runs], request.query))

    async def _show_run(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if self._fate.strikes("slow_read", run.name):
            await asyncio.sleep(self._fate.script.slow)
        if self._fate.strikes("fail_read", run.name):
            raise Refusal(503, "The server is overloaded or not ready yet.", "server_error")
        if self._fate.strikes("stale_read", run.name):
            return web.Response(body=self._before[run.id][0], content_type="application/json")
        return _json(run.shown())

    def _run(self, request: web.Request) -> Run:
        return self.life.run(request.match_info["thread"], request.match_info["run"])

    async def _list_steps(self, request: web.Request) -> web.Response:
        run = self._run(request)
        return _json(page([step.shown(run) for step in run.steps], request.query))

    async def _show_step(self, request: web.Request) -> web.Response:
        run = self._run(request)
        for step in run.steps:
            if step.id == request.match_info["step"]:
                return _json(step.shown(run))
        raise Refusal(404, f"No run step found with id '{request.match_info['step']}'.")

    async def _cancel(self, request: web.Request) -> web.Response:
        run = self._run(request)
        self.life.cancel(run, self._now())
        return _json(run.shown())

    # -- tool outputs --------------------------------------------------------------------------------------------

    async def _submit(self, request: web.Request) -> web.Response:
        run = self._run(request)
        asked = await _body(request)
        step = run.waiting
        step_id = "" if step is None else step.id
        _count(run, asked)
        outputs = _outputs(asked)

        def note(*, taken: bool, answered: int) -> None:
            self.submissions.append(Submission(run.id, step_id, outputs, taken, answered, self._now()))

        for fault, answered in (("submit_refused_503", 503), ("submit_refused_cut", 0)):
            if self._fate.strikes(fault, run.name):
                note(taken=False, answered=answered)
                return _fail(request, answered)
        try:
            self.life.submit(run, outputs, self._now())
        except Refusal as refusal:
            note(taken=False, answered=refusal.status)
            raise
        assert step is not None
        step.taken_at = self._now()
        for fault, answered in (("submit_applied_503", 503), ("submit_applied_cut", 0)):
            if self._fate.strikes(fault, run.name):
                note(taken=True, answered=answered)
                return _fail(request, answered)
        note(taken=True, answered=200)
        return _json(run.shown())

    async def _show_submissions(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.submissions), content_type="application/json")

    async def _show_runs(self, request: web.Request) -> web.Response:
        if request.query.get("open") == "true":
            return _json(open_runs(self.life.runs.values()))
        since = request.query.get("since", "0")
        return _json(page_of(self._ended, int(since) if since.isdecimal() else 0))

    async def _show_waiting(self, _: web.Request) -> web.Response:
        return _json({"object": "list", "data": [run.shown() for run in self._waiting.values()]})

    # -- the rest ------------------------------------------------------------------------------------------------

    def _created(self, shown: dict[str, Any], subject: str) -> web.Response:
        if self._fate.strikes("create_applied_503", subject):
            raise Refusal(503, "The server is overloaded or not ready yet.", "server_error")
        return _json(shown)

    async def _end(self, _: web.Application) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()


@web.middleware
async def _spoken(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals with the API's error object, and insist on its header as the API does."""
    try:
        _check_version(request)
        return await handler(request)
    except Refusal as refusal:
        error = {"message": str(refusal), "type": refusal.kind, "param": None, "code": refusal.code}
        return _json({"error": error}, refusal.status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        shown = {"message": f"Invalid URL ({request.method} {request.path})", "type": "invalid_request_error"}
        return _json({"error": shown | {"param": None, "code": None}}, error.status)


def _check_version(request: web.Request) -> None:
    spoken = request.headers.get("OpenAI-Beta") == "assistants=v2" or "api-version" in request.query
    if not spoken and not request.path.startswith("/_simulator/"):
        remedy = "Please try again by setting the header 'OpenAI-Beta: assistants=v2'."
        raise Refusal(400, f"You must provide the 'OpenAI-Beta' header to access the Assistants API. {remedy}")


def _fail(request: web.Request, status: int) -> web.Response:
    """Answer 503, or (for 0) not at all."""
    if status == 0:
        if request.transport is not None:  # else the caller was faster
            request.transport.abort()
        return web.Response(status=500)
    raise Refusal(status, "The server is overloaded or not ready yet.", "server_error")


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


async def _body(request: web.Request) -> dict[str, Any]:
    data = await request.read()
    try:
        found = msgspec.json.decode(data or b"{}")
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "We could not parse the JSON body of your request.")
    return found


def _text(content: Any) -> str:
    """Return a message's words; content is text, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return "\n".join(part if isinstance(part, str) else str(part.get("value", "")) for part in parts)
    raise Refusal(400, "Missing required parameter: 'content'.", code="missing_required_parameter")


def _count(run: Run, asked: dict[str, Any]) -> None:
    """Count an attempt to submit to a run's newest step that asked for calls."""
    for step in reversed(run.steps):
        if step.calls:
            step.attempts += 1
            listed = asked.get("tool_outputs")
            step.without_id += not all(
                isinstance(one, dict) and one.get("tool_call_id")
                for one in (listed if isinstance(listed, list) else ())
            )
            return


def _outputs(asked: dict[str, Any]) -> dict[str, str]:
    """Return the outputs of a hand-in by call id. Raises `Refusal`."""
    listed = asked.get("tool_outputs")
    if not isinstance(listed, list) or len(listed) > CALLS_MAX:
        raise Refusal(400, "Missing required parameter: 'tool_outputs'.", code="missing_required_parameter")
    outputs: dict[str, str] = {}
    for number, one in enumerate(listed):
        call, output = (one.get("tool_call_id"), one.get("output", "")) if isinstance(one, dict) else (None, "")
        if not isinstance(call, str) or not isinstance(output, str):
            raise Refusal(400, f"Invalid type for 'tool_outputs[{number}]': expected an id and a text.")
        if call in outputs:
            raise Refusal(400, f"Duplicate tool output for call_id '{call}'.")
        outputs[call] = output
    return outputs
