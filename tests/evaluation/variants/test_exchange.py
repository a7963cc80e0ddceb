"""One HTTP exchange, over real sockets: what it ends as, and that nothing is sent twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from evaluation.address import unused_address
from evaluation.variants.exchange import HttpExchange, Lost, NotSent, Replied
from tests.coordinator.raw_server import HANGS, RESETS, http, raw_server

REPLY = http("201 Created", b"{}", "X-Audit: 7")


@pytest.fixture
async def exchange() -> AsyncIterator[HttpExchange]:
    """An exchange."""
    opened = HttpExchange(4)
    yield opened
    await opened.close()


async def test_whole_answer_is_replied(exchange: HttpExchange) -> None:
    """With its fields by their names in lower case."""
    async with raw_server(REPLY) as raw:
        told = await exchange.send("POST", raw.url, {"X-Run-Id": "run_1"}, b"{}", within_s=20)
    assert isinstance(told, Replied)
    assert (told.status, told.fields["x-audit"], told.body) == (201, "7", b"{}")
    assert b"X-Run-Id: run_1" in raw.requests[0]


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
async def test_connection_that_breaks_is_lost_and_nothing_is_sent_again(exchange: HttpExchange, method: str) -> None:
    """Left to itself the library would send a GET or a PUT a second time."""
    async with raw_server(RESETS, REPLY) as raw:
        told = await exchange.send(method, raw.url, {}, within_s=20)
    assert isinstance(told, Lost)
    assert not told.timed_out
    assert len(raw.requests) == 1


async def test_answer_that_is_cut_is_lost(exchange: HttpExchange) -> None:
    """It was on its way: the tool has acted."""
    async with raw_server(REPLY[:-1]) as raw:
        told = await exchange.send("POST", raw.url, {}, within_s=20)
    assert isinstance(told, Lost)
    assert not told.timed_out


async def test_answer_that_does_not_come_in_time_is_lost(exchange: HttpExchange) -> None:
    """And is told apart from a connection that broke."""
    async with raw_server(HANGS) as raw:
        told = await exchange.send("POST", raw.url, {}, within_s=0.05)
    assert told == Lost("no answer within 0.05 s", timed_out=True)


async def test_refused_connection_is_not_sent(exchange: HttpExchange) -> None:
    """Nobody listens there."""
    assert isinstance(await exchange.send("POST", unused_address().url, {}, within_s=20), NotSent)
