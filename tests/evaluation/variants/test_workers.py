"""The worker pool, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from evaluation.variants.agents import Call, Seen
from evaluation.variants.exchange import Lost, NotSent, Replied
from evaluation.variants.metrics import Metrics
from evaluation.variants.workers import Workers
from tests.proxy.virtual import in_virtual_time, now

RUN = Seen("thread_1", "run_1", "requires_action", (), {"tenant": "t1", "user": "u1"})
CALL = Call("call_1", "create_ticket", '{"subject": "a"}')
DONE = Replied(201, {}, b'{"id": 1}')


class Tool:
    """An exchange that gives its answers in order, the last of them for ever; a number is how long it is silent."""

    def __init__(self, *answers: Replied | NotSent | Lost | float) -> None:
        self._answers = list(answers)
        self.sent: list[tuple[float, str, Mapping[str, str], bytes | None]] = []
        self.together = self._at_work = 0

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None = None, *, within_s: float
    ) -> Replied | NotSent | Lost:
        """See `evaluation.variants.exchange.Exchange`."""
        self.sent.append((now(), url, fields, body))
        self._at_work += 1
        self.together = max(self.together, self._at_work)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        await asyncio.sleep(min(within_s, answer) if isinstance(answer, float) else 0.1)
        self._at_work -= 1
        if isinstance(answer, float):
            return DONE if answer < within_s else Lost("no answer in time", timed_out=True)
        return answer

    async def close(self) -> None:
        """There is nothing to let go of."""

    def pool(self, workers: int = 4) -> Workers:
        """Return a pool that works with it."""
        return Workers("http://tools", self, Metrics(), workers=workers, chance=lambda: 1.0)


def error(output: str) -> dict[str, Any]:
    """Return the error that an output tells of."""
    told: dict[str, Any] = json.loads(output)["error"]
    return told


@in_virtual_time
async def test_call_goes_out_under_its_ids_with_its_arguments() -> None:
    """As a proxy needs them to know the call again."""
    tool = Tool(DONE)
    assert await tool.pool().call(RUN, CALL) == '{"id": 1}'
    ((_, url, fields, body),) = tool.sent
    assert (url, body) == ("http://tools/tools/create_ticket", b'{"subject": "a"}')
    ids = {name: value for name, value in fields.items() if name.startswith("X-") and name != "X-Request-Id"}
    assert ids == {
        "X-Run-Id": "run_1", "X-Thread-Id": "thread_1", "X-Tool-Call-Id": "call_1", "X-Tenant-Id": "t1",
        "X-User-Id": "u1",
    }  # fmt: skip


@in_virtual_time
async def test_call_that_is_not_answered_in_time_is_sent_again_twice() -> None:
    """After 10 s each, with pauses that double; each attempt has a request id of its own, and the ids stay."""
    tool = Tool(11.0)
    output = await tool.pool().call(RUN, CALL)
    assert error(output)["outcome"] == "timed-out"
    assert [round(at, 2) for at, *_ in tool.sent] == [0.0, 10.5, 21.5]
    assert len({fields["X-Request-Id"] for _, _, fields, _ in tool.sent}) == 3
    assert len({fields["X-Tool-Call-Id"] for _, _, fields, _ in tool.sent}) == 1


@in_virtual_time
async def test_second_try_that_is_answered_is_the_calls_output() -> None:
    """Whatever became of the first."""
    assert await Tool(11.0, DONE).pool().call(RUN, CALL) == '{"id": 1}'


@in_virtual_time
async def test_tool_that_says_when_is_asked_again_then() -> None:
    """429 with Retry-After."""
    tool = Tool(Replied(429, {"retry-after": "3"}, b""), DONE)
    await tool.pool().call(RUN, CALL)
    assert round(tool.sent[1][0], 2) == 3.1


@in_virtual_time
async def test_tool_that_cannot_be_reached_is_waited_for_within_the_attempt() -> None:
    """Nothing was sent: it is the same attempt, under the same request id, until its 10 s are over."""
    refused = NotSent("refused")
    tool = Tool(refused, refused, refused, DONE)
    assert await tool.pool().call(RUN, CALL) == '{"id": 1}'
    assert [round(at, 2) for at, *_ in tool.sent] == [0.0, 0.6, 1.2, 1.8]
    assert len({fields["X-Request-Id"] for _, _, fields, _ in tool.sent}) == 1
    gone = Tool(refused)
    assert error(await gone.pool().call(RUN, CALL))["outcome"] == "unreachable"
    assert len({fields["X-Request-Id"] for _, _, fields, _ in gone.sent}) == 3


@in_virtual_time
async def test_failure_that_is_an_answer_is_not_tried_again() -> None:
    """It is handed in as an error."""
    tool = Tool(Replied(500, {}, b"broken"))
    assert error(await tool.pool().call(RUN, CALL)) == {"outcome": "failed", "status": 500, "body": "broken"}
    assert len(tool.sent) == 1


@in_virtual_time
async def test_pool_has_so_many_attempts_under_way_and_no_more() -> None:
    """The others wait; a pause between two tries is nobody's turn."""
    tool = Tool(1.0)
    pool = tool.pool(workers=3)
    await asyncio.gather(*(pool.call(RUN, CALL) for _ in range(9)))
    assert tool.together == 3
    assert round(now(), 2) == 3.0


@in_virtual_time
async def test_arguments_that_are_no_object_reach_no_tool() -> None:
    """Models write those, too: the call's output says what is wrong."""
    tool = Tool(DONE)
    for arguments in ("", "{", "[1]", '"a"', '{"a": "\ud800"}'):
        assert error(await tool.pool().call(RUN, Call("call_1", "create_ticket", arguments)))["outcome"] == "refused"
    assert tool.sent == []
