"""The backend port for Assistants-style APIs (v2): threads and runs over HTTP, each call sent once.

| what comes back                                       | a call that only asks | a call that changes something   |
|-------------------------------------------------------|-----------------------|---------------------------------|
| nothing was sent: no name, refused, TLS, no time      | `Away`                | `Away`                          |
| 429                                                   | `Away`, Retry-After   | `Away`, Retry-After             |
| 404                                                   | `Gone`                | `Gone`                          |
| any other 4xx                                         | `Away`                | `Refused`                       |
| 2xx, as the API is described                          | what it says          | what it says                    |
| 5xx, time-out, reset, cut, 3xx, malformed             | `Away`                | `Unclear`                       |

A 408 says that our request did not come through in time; whether it was acted on, it does not: for a call that changes
something it is `Unclear`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, assert_never
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from coordinator import assistants_wire as wire
from coordinator.assistants_wire import Malformed, Page, Thing
from coordinator.backend import (
    Accepted,
    Away,
    Created,
    Gone,
    Output,
    Refused,
    Seen,
    StepOutputs,
    Unclear,
)
from coordinator.exchange import Exchange, Lost, NotSent, Replied
from coordinator.replies import retry_after_s
from process.tokens import Secrets

WITHIN_S = 10.0
"""For one call, all of it. A submission that takes longer is asked about, which costs less than waiting does."""

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Of an answer. A page of steps repeats all outputs: a hundred calls with large ones stay below."""

PAGE_SIZE = 100
"""The most that the API gives at once."""

PAGES_MAX = 100
"""10,000 messages, runs or steps: a thread that is longer is not looked through, and that is said."""

T = TypeVar("T")
S = TypeVar("S")
A = TypeVar("A")

_FIELDS = {"OpenAI-Beta": "assistants=v2", "Accept": "application/json"}


class _Said(Struct, frozen=True):
    """A 2xx: its body."""

    body: bytes


class Assistants:
    """See `coordinator.backend.Backend`. `base` is the API's URL, up to and without `/threads`; `query` is added to
    each call's (`{"api-version": "…"}`); `token_file` holds the bearer token in its first line, and is read anew when
    it changes."""

    def __init__(
        self, base: str, exchange: Exchange, *, name: str = "assistants", token_file: str | None = None,
        query: Mapping[str, str] | None = None, within_s: float = WITHIN_S,
    ) -> None:  # fmt: skip
        """Raises `ValueError` for a URL that is not http(s)://host[:port][/path] or a file without a token, `OSError`
        for one that cannot be read."""
        parts = urlsplit(base)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or "@" in base:
            raise ValueError(f"{base!r} is not http(s)://host[:port][/path]")
        self.name = name
        self._base = base.rstrip("/")
        self._exchange = exchange
        self._tokens = None if token_file is None else Secrets(token_file)
        self._query = dict(query or {})
        self._within_s = within_s

    # -- asking --------------------------------------------------------------------------------------------------

    async def look(self, thread_id: str, run_id: str) -> Seen | Gone | Away:
        """See `Backend.look`."""
        said = await self._ask(_run(thread_id, run_id))
        if not isinstance(said, _Said):
            return said
        try:
            return wire.read_run(said.body, thread_id, run_id)[1]
        except Malformed as error:
            return Away(f"a malformed run: {error}")

    async def steps(self, thread_id: str, run_id: str, calls: Sequence[str]) -> StepOutputs | Gone | Away | None:
        """See `Backend.steps`."""
        path = f"{_run(thread_id, run_id)}/steps"
        return await self._search(path, lambda body: _page(wire.read_steps(body), wire.step_with, calls))

    async def find_message(self, thread_id: str, marker: Mapping[str, str]) -> Created | Gone | Away | None:
        """See `Backend.find_message`."""
        path = f"{_thread(thread_id)}/messages"
        return await self._search(path, lambda body: _page(wire.read_things(body), _marked, marker))

    async def find_run(self, thread_id: str, marker: Mapping[str, str]) -> Created | Gone | Away | None:
        """See `Backend.find_run`."""
        path = f"{_thread(thread_id)}/runs"
        return await self._search(path, lambda body: _page(wire.read_things(body), _marked, marker))

    # -- changing ------------------------------------------------------------------------------------------------

    async def submit(
        self, thread_id: str, run_id: str, outputs: Sequence[Output]
    ) -> Accepted | Refused | Gone | Away | Unclear:
        """See `Backend.submit`."""
        path = f"{_run(thread_id, run_id)}/submit_tool_outputs"
        said = await self._change(path, wire.submission(outputs))
        if not isinstance(said, _Said):
            return said
        try:
            return Accepted(wire.read_run(said.body, thread_id, run_id)[1])
        except Malformed as error:
            return Unclear(f"a malformed run: {error}")

    async def cancel(self, thread_id: str, run_id: str) -> Seen | Refused | Gone | Away | Unclear:
        """See `Backend.cancel`."""
        said = await self._change(f"{_run(thread_id, run_id)}/cancel", b"")
        if not isinstance(said, _Said):
            return said
        try:
            return wire.read_run(said.body, thread_id, run_id)[1]
        except Malformed as error:
            return Unclear(f"a malformed run: {error}")

    async def create_thread(self, marker: Mapping[str, str]) -> Created | Refused | Away | Unclear:
        """See `Backend.create_thread`."""
        created = await self._create("/threads", {"metadata": dict(marker)})
        return Refused(404, created.why) if isinstance(created, Gone) else created

    async def create_message(
        self, thread_id: str, text: str, marker: Mapping[str, str]
    ) -> Created | Refused | Gone | Away | Unclear:
        """See `Backend.create_message`."""
        asked = {"role": "user", "content": text, "metadata": dict(marker)}
        return await self._create(f"{_thread(thread_id)}/messages", asked)

    async def create_run(
        self, thread_id: str, assistant_id: str, marker: Mapping[str, str]
    ) -> Created | Refused | Gone | Away | Unclear:
        """See `Backend.create_run`."""
        asked = {"assistant_id": assistant_id, "metadata": dict(marker)}
        said = await self._change(f"{_thread(thread_id)}/runs", msgspec.json.encode(asked))
        if not isinstance(said, _Said):
            return said
        try:
            return Created(*wire.read_run(said.body, thread_id))
        except Malformed as error:
            return Unclear(f"a malformed run: {error}")

    async def close(self) -> None:
        """See `Backend.close`."""
        await self._exchange.close()

    # -- over the wire -------------------------------------------------------------------------------------------

    async def _create(self, path: str, asked: Mapping[str, Any]) -> Created | Refused | Gone | Away | Unclear:
        said = await self._change(path, msgspec.json.encode(asked))
        if not isinstance(said, _Said):
            return said
        try:
            return Created(wire.read_created(said.body))
        except Malformed as error:
            return Unclear(f"what was created is malformed: {error}")

    async def _search(self, path: str, read: Callable[[bytes], tuple[T | None, str]]) -> T | Gone | Away | None:
        """Look through a listing, the newest first, until `read` finds something on a page; it returns that, and the
        cursor of the next page."""
        page = {"limit": str(PAGE_SIZE), "order": "desc"}
        for _ in range(PAGES_MAX):
            said = await self._ask(path, page)
            if not isinstance(said, _Said):
                return said
            try:
                found, after = read(said.body)
            except Malformed as error:
                return Away(f"a malformed listing: {error}")
            if found is not None or not after:
                return found
            page["after"] = after
        return Away(f"a listing has more than {PAGES_MAX * PAGE_SIZE} entries")

    async def _ask(self, path: str, query: Mapping[str, str] | None = None) -> _Said | Gone | Away:
        match await self._send("GET", path, None, query or {}):
            case Replied(status=404, body=body):
                return Gone(wire.words_of_refusal(404, body))
            case Replied() as reply if 200 <= reply.status < 300 and reply.kept:
                return _Said(reply.body)
            case Replied() as reply:
                return _away(reply)
            case NotSent(why=why) | Lost(why=why):
                return Away(why)
            case _ as never:
                assert_never(never)

    async def _change(self, path: str, body: bytes) -> _Said | Refused | Gone | Away | Unclear:
        match await self._send("POST", path, body, {}):
            case Replied(status=404, body=told):
                return Gone(wire.words_of_refusal(404, told))
            case Replied(status=429) as reply:
                return _away(reply)
            case Replied() as reply if 200 <= reply.status < 300 and reply.kept:
                return _Said(reply.body)
            case Replied() as reply if 400 <= reply.status < 500 and reply.status != 408:
                return Refused(reply.status, wire.words_of_refusal(reply.status, reply.body))
            case Replied() as reply:
                return Unclear(_words(reply))
            case NotSent(why=why):
                return Away(why)
            case Lost(why=why):
                return Unclear(why)
            case _ as never:
                assert_never(never)

    async def _send(
        self, method: str, path: str, body: bytes | None, query: Mapping[str, str]
    ) -> Replied | NotSent | Lost:
        fields = dict(_FIELDS)
        if self._tokens is not None:
            fields["Authorization"] = f"Bearer {self._tokens.current()[0].decode('latin-1')}"
        if body:
            fields["Content-Type"] = "application/json"
        asked = urlencode({**self._query, **query}, quote_via=quote)
        url = self._base + path + ("?" + asked if asked else "")
        return await self._exchange.send(
            method, url, fields, body, within_s=self._within_s, keep_bytes_max=BODY_BYTES_MAX
        )


def _thread(thread_id: str) -> str:
    return f"/threads/{quote(thread_id, safe='')}"


def _run(thread_id: str, run_id: str) -> str:
    return f"{_thread(thread_id)}/runs/{quote(run_id, safe='')}"


def _page(page: Page[S], pick: Callable[[Sequence[S], A], T | None], wanted: A) -> tuple[T | None, str]:
    return pick(page.things, wanted), page.after


def _marked(things: Sequence[Thing], marker: Mapping[str, str]) -> Created | None:
    return next((Created(wire.check_id(thing.id)) for thing in things if wire.marked(thing, marker)), None)


def _away(reply: Replied) -> Away:
    after_s = retry_after_s(reply.fields.get("Retry-After", ""), reply.fields.get("Date", ""))
    return Away(_words(reply), None if after_s is None else round(after_s * 1_000))


def _words(reply: Replied) -> str:
    """Return what there is to be said of an answer that settles nothing."""
    if not reply.kept:
        return f"an answer of more than {BODY_BYTES_MAX} bytes"
    return f"{reply.status}: {wire.words_of_refusal(reply.status, reply.body)}"
