"""The adapter against servers that are broken or hostile: raw sockets, one answer, and what is believed of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coordinator import assistants
from coordinator.assistants import Assistants
from coordinator.backend import Accepted, Away, Created, Gone, Output, Refused, Seen, StepOutputs, Unclear
from coordinator.exchange import AioExchange
from evaluation.address import unused_address
from tests.coordinator.raw_server import HANGS, RESETS, Raw, http, raw_server

RUN: dict[str, Any] = {"id": "run_1", "thread_id": "thread_1", "status": "in_progress", "expires_at": 1_800_000_000}
OUTPUTS = [Output("call_1", '"done"')]


@contextlib.asynccontextmanager
async def told(*answers: bytes, **more: Any) -> AsyncIterator[tuple[Assistants, Raw]]:
    """Serve these answers, and yield an adapter to their server."""
    async with raw_server(*answers) as raw:
        backend = Assistants(f"{raw.url}/v1", AioExchange(4), **({"within_s": 5.0} | more))
        yield backend, raw
        await backend.close()


def shown(value: Any, status: str = "200 OK", *fields: str) -> bytes:
    """Return an answer with JSON, on a connection that ends with it."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return http(status, body, "Connection: close", *fields)


def run(**changed: Any) -> bytes:
    """Return an answer that shows a run, some members changed."""
    return shown(RUN | changed)


def requiring(*calls: Any, kind: str = "submit_tool_outputs") -> bytes:
    """Return an answer that shows a run that waits for these calls."""
    return run(status="requires_action", required_action={"type": kind, "submit_tool_outputs": {"tool_calls": calls}})


CALL = {"id": "call_1", "type": "function", "function": {"name": "act", "arguments": "{}"}}
UNSETTLED = {
    "500": shown({}, "500 Internal Server Error"), "502": shown(b"<html>", "502 Bad Gateway"),
    "504": shown(b"", "504 Gateway Timeout"), "408": shown(b"", "408 Request Timeout"),
    "302": shown(b"", "302 Found", "Location: /v1/threads"), "closed": b"", "reset": RESETS, "hangs": HANGS,
    "cut": http("200 OK", b"{}").replace(b"Length: 2", b"Length: 20"), "unframed": http("200 OK", b"{}", framed=False),
    "nonsense": b"\x00\x01\x02\r\n\r\n", "gzip": shown(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip"),
    "html": shown(b"<html>"), "empty": shown(b""), "list": shown([]),
}  # fmt: skip


@pytest.mark.fault(65)
@pytest.mark.parametrize("answer", UNSETTLED.values(), ids=UNSETTLED)
async def test_answer_that_settles_nothing_is_unclear_for_changes_and_nothing_for_looks(answer: bytes) -> None:
    """Each change went out once; what became of it, nobody says."""
    async with told(answer, within_s=0.5) as (backend, raw):
        changes = [
            await backend.submit("thread_1", "run_1", OUTPUTS),
            await backend.cancel("thread_1", "run_1"),
            await backend.create_thread({}),
            await backend.create_message("thread_1", "hello", {}),
            await backend.create_run("thread_1", "asst_1", {}),
        ]
        assert [type(change) for change in changes] == [Unclear] * 5
        assert len(raw.requests) == 5
        looks = [
            await backend.look("thread_1", "run_1"),
            await backend.steps("thread_1", "run_1", ["call_1"]),
            await backend.find_message("thread_1", {}),
            await backend.find_run("thread_1", {}),
        ]
        assert [type(look) for look in looks] == [Away] * 4
        assert len(raw.requests) == 9
    assert all(one.why for one in [*changes, *looks])  # type: ignore[union-attr]  # as was just asserted


async def test_api_that_is_not_there_has_been_sent_nothing() -> None:
    """A change that provably did not go out may be asked for again."""
    backend = Assistants(unused_address().url, AioExchange(4))
    assert isinstance(await backend.submit("thread_1", "run_1", OUTPUTS), Away)
    assert isinstance(await backend.create_thread({}), Away)
    assert isinstance(await backend.look("thread_1", "run_1"), Away)
    await backend.close()


@pytest.mark.parametrize(("field", "wish_ms"), [("Retry-After: 7", 7_000), ("Retry-After: soon", None), ("X: y", None)])
async def test_overloaded_api_has_taken_nothing_and_says_when_to_come_again(field: str, wish_ms: int | None) -> None:
    """429 is a clear answer, for changes as well."""
    async with told(shown({"error": {"message": "slow down"}}, "429 Too Many Requests", field)) as (backend, _):
        for answer in (await backend.look("thread_1", "run_1"), await backend.submit("thread_1", "run_1", OUTPUTS)):
            assert answer == Away("429: slow down", wish_ms)


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
async def test_refused_change_has_changed_nothing_and_refused_look_learned_nothing(status: int) -> None:
    """In the API's words, or by its status where there are none."""
    for body, words in (({"error": {"message": "no"}}, "no"), (b"<html>", f"status {status}")):
        async with told(shown(body, f"{status} No")) as (backend, _):
            assert await backend.submit("thread_1", "run_1", OUTPUTS) == Refused(status, words)
            assert await backend.look("thread_1", "run_1") == Away(f"{status}: {words}")


async def test_thread_that_cannot_be_created_because_nothing_is_there_is_refused() -> None:
    """A wrong base URL is told as such."""
    async with told(shown({"error": {"message": "Invalid URL"}}, "404 Not Found")) as (backend, _):
        assert await backend.create_thread({}) == Refused(404, "Invalid URL")
        assert await backend.create_run("thread_1", "asst_1", {}) == Gone("Invalid URL")


@pytest.mark.parametrize(
    "answer",
    [
        run(id="run_2"), run(thread_id="thread_2"), run(status="paused"), run(status=7), run(status=None),
        run(expires_at="soon"), run(id=7), shown({"status": "completed"}),
        run(status="requires_action"), requiring(), requiring(CALL, CALL), requiring(kind="approve"),
        requiring(CALL | {"type": "code_interpreter"}), requiring(CALL | {"function": None}),
        requiring(CALL | {"id": "call\n1"}), requiring(CALL | {"id": ""}), requiring(CALL | {"id": None}),
        requiring(CALL | {"function": {"name": "act"}}),
        requiring(CALL | {"function": {"name": "act", "arguments": {}}}),
        requiring(*[CALL | {"id": f"call_{number}"} for number in range(300)]),
        run(required_action="submit"), shown(b"[" * 100_000), shown(b'{"id": "\xff"}'),
    ],
)  # fmt: skip
async def test_malformed_run_is_not_guessed_at(answer: bytes) -> None:
    """What matters is there and makes sense, or nothing was learned; and a change that was answered so is unclear."""
    async with told(answer) as (backend, _):
        seen = await backend.look("thread_1", "run_1")
        assert isinstance(seen, Away)
        assert seen.why.startswith("a malformed run: ")
        assert len(seen.why) < 1_000
        assert isinstance(await backend.submit("thread_1", "run_1", OUTPUTS), Unclear)


async def test_members_that_do_not_matter_are_passed_over() -> None:
    """Vendors add to what the API's description has; and leave out what nobody needs."""
    more = RUN | {"model": 7, "tools": "many", "new": {}, "last_error": {"code": "server_error", "message": "sorry"}}
    async with told(shown(more | {"status": "failed"}), requiring(CALL | {"index": 0})) as (backend, _):
        assert await backend.look("thread_1", "run_1") == Seen("failed", error="server_error: sorry")
        seen = await backend.look("thread_1", "run_1")
        assert isinstance(seen, Seen)
        assert [call.tool_call_id for call in seen.calls] == ["call_1"]
        assert seen.expires_ms == 1_800_000_000_000
    incomplete = run(status="incomplete", incomplete_details={"reason": "max_tokens"})
    async with told(incomplete, run(status="queued", expires_at=None)) as (backend, _):
        assert await backend.look("thread_1", "run_1") == Seen("incomplete", error="max_tokens")
        assert await backend.look("thread_1", "run_1") == Seen("queued")


@pytest.mark.parametrize(
    "listing",
    [
        {}, {"data": {}}, {"data": [{}]}, {"data": [{"id": 7}]}, {"data": [], "has_more": True},
        {"data": [{"id": "a b", "metadata": {}}], "has_more": True},
    ],
)  # fmt: skip
async def test_malformed_listing_has_not_been_looked_through(listing: Any) -> None:
    """That there is none is said only of what was read to its end."""
    async with told(shown(listing)) as (backend, _):
        assert isinstance(await backend.find_run("thread_1", {"turn": "1"}), Away)
        assert isinstance(await backend.steps("thread_1", "run_1", ["call_1"]), Away)


async def test_listing_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that always has more is not followed for ever."""
    monkeypatch.setattr(assistants, "PAGES_MAX", 3)
    async with told(shown({"data": [{"id": "run_9"}], "has_more": True})) as (backend, raw):
        assert isinstance(await backend.find_run("thread_1", {"turn": "1"}), Away)
        assert len(raw.requests) == 3
        assert raw.requests[0].startswith(b"GET /v1/threads/thread_1/runs?limit=100&order=desc HTTP/1.1")
        assert raw.requests[-1].startswith(b"GET /v1/threads/thread_1/runs?limit=100&order=desc&after=run_9 HTTP/1.1")


async def test_newest_step_that_has_the_calls_is_the_one() -> None:
    """Steps come newest first; one that has only some of the calls, or is no step of tool calls, is passed over."""

    def step(number: int, *calls: str, kind: str = "tool_calls") -> Any:
        shown = [{"id": call, "type": "function", "function": {"name": "a", "arguments": "{}"}} for call in calls]
        return {"id": f"step_{number}", "type": kind, "step_details": {"type": kind, "tool_calls": shown}}

    said = step(4, kind="message_creation") | {"step_details": {"type": "message_creation", "message_creation": {}}}
    steps = [said, step(3, "call_1"), step(2, "call_1", "call_2", "call_3"), step(1, "call_1", "call_2")]
    async with told(shown({"data": steps})) as (backend, _):
        found = await backend.steps("thread_1", "run_1", ["call_1", "call_2"])
        assert found == StepOutputs("step_2", {"call_1": None, "call_2": None, "call_3": None})
        assert await backend.steps("thread_1", "run_1", ["call_4"]) is None


async def test_answer_that_is_too_large_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it goes on."""
    monkeypatch.setattr(assistants, "BODY_BYTES_MAX", 100)
    async with told(run(instructions="x" * 1_000)) as (backend, _):
        seen = await backend.look("thread_1", "run_1")
        assert isinstance(seen, Away)
        assert "more than 100 bytes" in seen.why
        assert isinstance(await backend.cancel("thread_1", "run_1"), Unclear)


async def test_requests_are_written_as_the_api_wants_them(tmp_path: Path) -> None:
    """The version's field, the token of the day, the query, metadata, and no field that nobody asked for."""
    token = tmp_path / "token"
    token.write_text("first\n")
    query = {"api-version": "v1", "x": "a b&c"}
    async with told(run(), shown({"id": "thread_1"}), run(), token_file=str(token), query=query) as (backend, raw):
        assert isinstance(await backend.look("thread_1", "run_1"), Seen)
        (tmp_path / "next").write_text("second")
        (tmp_path / "next").replace(token)
        assert await backend.create_thread({"turn": "1"}) == Created("thread_1")
        assert await backend.submit("thread_1", "run_1", OUTPUTS) == Accepted(
            Seen("in_progress", expires_ms=1_800_000_000_000)
        )
        look, create, submit = raw.requests
    head = f"Host: 127.0.0.1:{raw.port}", "OpenAI-Beta: assistants=v2", "Accept: application/json"
    lines = look.decode().split("\r\n")
    assert lines[0] == "GET /v1/threads/thread_1/runs/run_1?api-version=v1&x=a%20b%26c HTTP/1.1"
    assert {*head, "Authorization: Bearer first", "Accept-Encoding: identity"} < set(lines)
    assert b"Authorization: Bearer second\r\n" in create
    assert create.endswith(b'\r\n\r\n{"metadata":{"turn":"1"}}')
    assert submit.startswith(b"POST /v1/threads/thread_1/runs/run_1/submit_tool_outputs?api-version=v1&x=a%20b%26c ")
    assert submit.endswith(b'{"tool_outputs":[{"tool_call_id":"call_1","output":"\\"done\\""}]}')


@pytest.mark.parametrize("base", ["api.example", "ftp://a", "http://", "http://a?b", "http://u:p@a", ""])
def test_base_that_is_no_address_is_a_usage_error(base: str) -> None:
    """At start, and not at the first call."""
    with pytest.raises(ValueError, match="is not http"):
        Assistants(base, AioExchange(1))


def test_file_without_a_token_is_a_usage_error(tmp_path: Path) -> None:
    """No call would be let in."""
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ValueError, match="no secret"):
        Assistants("http://a", AioExchange(1), token_file=str(tmp_path / "token"))
