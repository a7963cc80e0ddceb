"""Tool calls through the proxy, in virtual time: when one asks again, how soon, and what is told in the end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.exchange import Lost, NotSent, Replied
from coordinator.executor import NOT_YET_S, RETRIES_MAX, RETRY_AFTER_S_MAX, Executor
from coordinator.tools import Ask, Told
from proxy.problems import Kind, headers
from tests.coordinator.scripted_exchange import Answer, ScriptedExchange, problem, reply
from tests.proxy.virtual import in_virtual_time, now

ASK = Ask("thread_1", "run_1", "step_1", "call_1", "create_ticket", '{"subject": "a"}')
DONE = reply(200, {"id": 1}, Holdfast_Outcome="executed", Holdfast_Operation="op_1")
IN_FLIGHT = problem("in-flight", 409, retry_after=1)
MAY_END = problem("outcome-unknown", 504, can_end=True)
CANNOT_END = problem("outcome-unknown", 409, can_end=False)
NOT_SENT = problem("not-sent", 502)
AWAY = problem("store-unavailable", 503)
DOWN = NotSent("refused")
RESET = Lost("reset")


async def called(
    *answers: Answer | tuple[float, Answer], within_s: float = 60.0, ask: Ask = ASK
) -> tuple[Told, ScriptedExchange]:
    """Ask for a call; return what was told and what went over the wire."""
    exchange = ScriptedExchange(*answers)
    executor = Executor("http://proxy:8100/", exchange, lambda: 1.0)
    async with asyncio.timeout(within_s + 0.001):  # never later than was agreed
        told = await executor.call(ask, asyncio.get_running_loop().time() + within_s)
    assert told.tries == len(exchange.sent)
    return told, exchange


@in_virtual_time
async def test_call_goes_to_its_tool_with_the_ids_that_are_set_and_the_patience_that_is_left() -> None:
    """Arguments as they were written; no field for what there is no id of."""
    ask = replace(ASK, tenant="acme", traceparent="00-1-2-01")
    told, exchange = await called(DONE, ask=ask, within_s=20)
    (sent,) = exchange.sent
    assert (sent.method, sent.url, sent.body) == ("POST", "http://proxy:8100/tools/create_ticket", b'{"subject": "a"}')
    assert sent.fields == {
        "Content-Type": "application/json", "X-Run-Id": "run_1", "X-Tool-Call-Id": "call_1", "X-Thread-Id": "thread_1",
        "X-Step-Id": "step_1", "X-Tenant-Id": "acme", "traceparent": "00-1-2-01", "Prefer": "wait=19",
    }  # fmt: skip
    assert told == Told("answered", '{"id": 1}', 200, "executed", "op_1")


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (reply(200, [1]), [1]),
        (reply(404, {"why": "no user"}), {"error": {"status": 404, "body": {"why": "no user"}}}),
        (reply(500, "no", Holdfast_Outcome="executed", Holdfast_Operation="op_1"),
         {"error": {"status": 500, "body": "no"}}),
        (reply(401, "no", Holdfast_Outcome="not-executed", Holdfast_Operation="op_1"),
         {"error": {"status": 401, "body": "no"}}),
    ],
)  # fmt: skip
@in_virtual_time
async def test_answer_of_the_tool_is_handed_in_good_or_bad(answer: Replied, output: Any) -> None:
    """One try; an error of the tool's is the model's business."""
    told, _ = await called(answer)
    assert (told.verdict, json.loads(told.output), told.status, told.tries) == ("answered", output, answer.status, 1)


@in_virtual_time
async def test_answer_that_is_too_large_is_told_by_its_size() -> None:
    """The exchange has kept nothing of it but that."""
    told, _ = await called(replace(DONE, body=b"", kept=False, body_bytes=10**7, sha256="abc"))
    error = json.loads(told.output)["error"]
    assert (told.verdict, error["outcome"], error["bytes"], error["sha256"]) == ("answered", "too-large", 10**7, "abc")


# -- asking again ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "verdict"),
    [
        (NOT_SENT, "unreached"),
        (problem("body-timeout", 408), "refused"),
        (problem("upstream-lost", 502, operation=""), "unreached"),
        (reply(429, "slow"), "answered"),
        (reply(503, "busy"), "answered"),
    ],
)
@in_virtual_time
async def test_call_that_is_refused_for_now_is_tried_twice_more_under_the_same_ids(
    refused: Replied, verdict: str
) -> None:
    """With growing pauses; then what there is to be told is told."""
    told, exchange = await called(refused)
    assert (told.verdict, told.tries) == (verdict, 1 + RETRIES_MAX)
    pauses = [later.at - sent.at - 0.01 for sent, later in zip(exchange.sent, exchange.sent[1:], strict=False)]
    assert pauses == pytest.approx([0.2, 0.4])
    assert len({(sent.url, sent.fields["X-Tool-Call-Id"], sent.body) for sent in exchange.sent}) == 1
    told, _ = await called(refused, refused, DONE)
    assert (told.verdict, told.output, told.tries) == ("answered", '{"id": 1}', 3)


@pytest.mark.parametrize("refused", [AWAY, problem("overloaded", 503, retry_after=1)], ids=["ledger away", "stopping"])
@in_virtual_time
async def test_call_that_holdfast_refuses_for_now_is_asked_for_again_until_it_takes_it(refused: Replied) -> None:
    """The sidecar restarts, or its ledger fails over: the model hears nothing of it, and the tool was not asked."""
    told, exchange = await called(*[refused] * 6, DONE)
    assert (told.verdict, told.output, told.tries) == ("answered", '{"id": 1}', 7)
    assert len({(sent.url, sent.fields["X-Tool-Call-Id"], sent.body) for sent in exchange.sent}) == 1


@pytest.mark.parametrize("pause_s", [0, 1])
@in_virtual_time
async def test_who_goes_on_refusing_for_now_is_believed_in_the_end(pause_s: int) -> None:
    """After a while the run had better be told, in Holdfast's own words; at once where there is no time to wait."""
    refused = problem("store-unavailable", 503, retry_after=pause_s)
    told, exchange = await called(refused)
    assert (told.verdict, told.problem) == ("refused", "store-unavailable")
    assert NOT_YET_S - 2.1 < exchange.sent[-1].at - exchange.sent[0].at <= NOT_YET_S + 0.01
    assert told.tries >= 8
    told, _ = await called(refused, within_s=0.1)
    assert (told.verdict, told.tries) == ("refused", 1)


@in_virtual_time
async def test_refusal_that_does_not_pass_by_itself_is_told_at_once() -> None:
    """A ledger that lost its memory refuses for minutes, and says so: nobody keeps a place among the calls for that."""
    forgot = dict(headers(Kind.STORE_FORGOT, 0))
    told, _ = await called(problem("store-unavailable", 503, retry_after=int(forgot[b"Retry-After"])), DONE)
    assert (told.verdict, told.problem, told.tries) == ("refused", "store-unavailable", 1)


@in_virtual_time
async def test_refusals_for_now_are_counted_from_the_first_in_a_row() -> None:
    """What was heard in between shows that the proxy was back."""
    told, _ = await called(AWAY, (NOT_YET_S, IN_FLIGHT), AWAY, AWAY, DONE)
    assert (told.verdict, told.tries) == ("answered", 5)


@pytest.mark.parametrize(
    "slug", ["key-reused", "effect-duplicate", "result-unavailable", "key-missing", "denied", "new"]
)
@in_virtual_time
async def test_refusal_that_a_retry_would_not_help_is_told_at_once(slug: str) -> None:
    """With Holdfast's own words, and its id of the call."""
    told, _ = await called(problem(slug, 409))
    assert (told.verdict, told.problem, told.detail, told.operation, told.tries) == (
        "refused", slug, f"it is {slug}", "op_1", 1,
    )  # fmt: skip


@in_virtual_time
async def test_retry_after_is_honoured_within_bounds() -> None:
    """Number or moment; a wish that is too long, or longer than there is time, ends the tries."""
    _, exchange = await called(problem("store-unavailable", 503, retry_after=5), DONE)
    assert exchange.sent[1].at - exchange.sent[0].at == pytest.approx(5.01)
    date = {"Date": "Wed, 25 Nov 2026 10:00:00 GMT", "Retry_After": "Wed, 25 Nov 2026 10:00:07 GMT"}
    _, exchange = await called(reply(429, "slow", **date), DONE)
    assert exchange.sent[1].at - exchange.sent[0].at == pytest.approx(7.01)
    for wish, within_s in ((RETRY_AFTER_S_MAX + 1, 600), (20, 10)):
        told, _ = await called(problem("store-unavailable", 503, retry_after=int(wish)), within_s=within_s)
        assert (told.verdict, told.tries) == ("refused", 1)


@pytest.mark.parametrize("open_still", [IN_FLIGHT, MAY_END], ids=["in flight", "may end"])
@in_virtual_time
async def test_call_that_may_still_be_heard_of_is_attached_to_until_it_has_ended(open_still: Replied) -> None:
    """However often; the patience that the proxy is told of shrinks, and the result comes as soon as it is there."""
    told, exchange = await called(*[(10.0, open_still)] * 4, (3.0, DONE), within_s=100)
    assert (told.verdict, told.tries) == ("answered", 5)
    assert [sent.wait_s for sent in exchange.sent] == [99, 89, 79, 69, 59]
    assert now() == pytest.approx(43 + 4 * 0.05)


@pytest.mark.parametrize("answer", [IN_FLIGHT, MAY_END, DOWN, RESET], ids=["in flight", "may end", "down", "reset"])
@in_virtual_time
async def test_answer_that_comes_at_once_is_never_a_busy_loop(answer: Answer) -> None:
    """Pauses grow to two seconds, and the end comes when it was agreed."""
    told, exchange = await called(answer, within_s=60)
    assert (told.verdict, told.output) == ("overdue", "")
    assert now() == pytest.approx(60)
    assert 30 <= len(exchange.sent) <= 35


@in_virtual_time
async def test_call_whose_time_is_over_is_overdue_with_what_was_known_last() -> None:
    """A call that hangs is let go of in time; one without any time is not asked for."""
    told, _ = await called((10.0, MAY_END), (100.0, DONE), within_s=30)
    assert (told.verdict, told.tries, told.operation) == ("overdue", 2, "op_1")
    assert "the proxy's answer was lost" in told.detail
    assert now() == pytest.approx(30)
    told, exchange = await called(DONE, within_s=0)
    assert (told.verdict, exchange.sent) == ("overdue", [])


@in_virtual_time
async def test_unknown_that_nothing_but_a_person_can_end_is_told_at_once() -> None:
    """Nobody waits for what will not come; a proxy that does not say is taken for one that knows no way."""
    for answer in (CANNOT_END, problem("outcome-unknown", 409)):
        told, _ = await called(answer)
        assert (told.verdict, told.problem, told.operation, told.tries) == ("unknown", "outcome-unknown", "op_1", 1)
    told, _ = await called((5.0, MAY_END), CANNOT_END)
    assert (told.verdict, told.tries) == ("unknown", 2)


@in_virtual_time
async def test_reply_of_the_tool_that_settles_nothing_is_asked_about() -> None:
    """A guarded tool's 503 may have come after it had acted: the proxy knows whether that can still be found out."""
    unsettled = reply(503, "busy", Holdfast_Outcome="unknown", Holdfast_Operation="op_1")
    told, _ = await called(unsettled, CANNOT_END)
    assert (told.verdict, told.tries) == ("unknown", 2)
    told, _ = await called(unsettled, MAY_END, DONE)
    assert (told.verdict, told.tries) == ("answered", 3)


# -- a proxy that goes and comes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [DOWN, RESET, problem("internal", 500)], ids=["down", "reset", "internal"])
@in_virtual_time
async def test_sidecar_that_restarts_is_asked_again_under_the_same_key(gone: Answer) -> None:
    """Its ledger makes that safe, however often it takes; the call's result is had in the end."""
    told, exchange = await called(*[gone] * 9, DONE)
    assert (told.verdict, told.output, told.tries) == ("answered", '{"id": 1}', 10)
    assert len({sent.fields["X-Tool-Call-Id"] for sent in exchange.sent}) == 1


@in_virtual_time
async def test_read_whose_connection_broke_is_tried_twice_more() -> None:
    """It leaves no trace in the ledger: it is the usual retry, and no more."""
    told, _ = await called(RESET, ask=replace(ASK, write=False))
    assert (told.verdict, told.tries) == ("unreached", 3)


@in_virtual_time
async def test_read_waits_a_while_for_a_sidecar_that_is_down() -> None:
    """Nothing was sent, and a restart takes seconds; it does not wait for as long as there is time, as a write does."""
    read = replace(ASK, write=False)
    told, _ = await called(RESET, *[DOWN] * 7, reply(200, [1]), ask=read)
    assert (told.verdict, told.output, told.tries) == ("answered", "[1]", 9)
    told, exchange = await called(DOWN, ask=read)
    assert told.verdict == "unreached"
    assert exchange.sent[-1].at - exchange.sent[0].at <= NOT_YET_S + 0.01


# -- what cannot be asked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"arguments": "{subject: a}"}, "the arguments are not JSON"),
        ({"arguments": '{"a": "\ud800"}'}, "the arguments are not JSON"),
        ({"arguments": "[" * 100_000}, "the arguments are not JSON"),
        ({"tool": "../admin"}, "no name of a tool"),
        ({"tool": "a/b"}, "no name of a tool"),
        ({"tool": ".."}, "no name of a tool"),
        ({"tool_call_id": "call\r\nX-Run-Id: run_2"}, "X-Tool-Call-Id"),
        ({"run_id": "rün"}, "X-Run-Id"),
        ({"user": "x" * 256}, "X-User-Id"),
    ],
)
@in_virtual_time
async def test_call_that_cannot_be_put_into_a_request_is_refused_unsent(change: dict[str, str], detail: str) -> None:
    """Models write bad JSON; ids come from elsewhere."""
    told, exchange = await called(DONE, ask=replace(ASK, **change))
    assert (told.verdict, told.problem, exchange.sent) == ("refused", "bad-request", [])
    assert detail in told.detail


@in_virtual_time
async def test_call_without_arguments_is_sent_with_none() -> None:
    """A function without parameters is called with an empty text by some models."""
    _, exchange = await called(DONE, ask=replace(ASK, arguments=" "))
    assert exchange.sent[0].body == b"{}"


@pytest.mark.parametrize("url", ["proxy:8100", "ftp://proxy", "http://", "http://proxy?x=1", ""])
def test_proxy_that_is_no_address_is_a_usage_error(url: str) -> None:
    """At start, and not at the first call."""
    with pytest.raises(ValueError, match="is not http"):
        Executor(url, ScriptedExchange(), lambda: 0.0)
