"""Notifications that came to the wrong region."""

from __future__ import annotations

import argparse

import pytest

from evaluation.variants.exchange import NotSent, Replied
from evaluation.variants.relaying import Relay, by_region, read_peer
from tests.evaluation.variants.test_workers import Tool
from tests.proxy.virtual import in_virtual_time

FIELDS = {"Webhook-Id": "msg_1", "Webhook-Timestamp": "1", "Webhook-Signature": "v1,x", "Host": "here", "X-Other": "y"}
PEERS = {"r1": ["http://one", "http://two"], "r2": ["http://three"]}
TAKEN = Replied(200, {}, b"{}")


@in_virtual_time
async def test_notification_goes_to_one_instance_of_its_region_as_it_was_signed() -> None:
    """With the fields of its signature, and no others."""
    exchange = Tool(TAKEN)
    assert await Relay(PEERS, exchange).pass_on("r1", FIELDS, b"body")
    ((_, url, fields, body),) = exchange.sent
    assert (url, body) == ("http://one/v1/webhooks/assistants", b"body")
    assert fields == {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}


@in_virtual_time
async def test_instance_that_is_gone_or_refuses_is_passed_over() -> None:
    """The next one is asked; and where none is left it is said that nobody took it."""
    exchange = Tool(NotSent("refused"), TAKEN)
    assert await Relay(PEERS, exchange).pass_on("r1", FIELDS, b"")
    assert [url for _, url, *_ in exchange.sent] == [f"http://{one}/v1/webhooks/assistants" for one in ("one", "two")]
    assert not await Relay(PEERS, Tool(Replied(401, {}, b""))).pass_on("r1", FIELDS, b"")
    assert not await Relay(PEERS, exchange).pass_on("r3", FIELDS, b"")


def test_peers_are_read_from_the_command_line() -> None:
    """A region and a URL each."""
    peers = [read_peer(text) for text in ("r1=http://one/", "r1=http://two", "r2=http://three")]
    assert by_region(peers) == PEERS
    for text in ("http://one", "=http://one", "r1=one", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            read_peer(text)
