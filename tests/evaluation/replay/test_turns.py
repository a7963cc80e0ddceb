"""Turns: what a run of them would do, and what of it is meant."""

from __future__ import annotations

import msgspec

from evaluation.assistants.script import Fate, Script
from evaluation.replay.turns import Call, Identity, Turn
from evaluation.tools.asking import payload_hash

REFUND = Call("refund_payment", {"payment_id": "pay-1", "amount": 5})
TWICE = Call("refund_payment", {"amount": 5, "payment_id": "pay-1"}, meant=False)
LOOK = Call("get_order", {"order_id": "1"}, effect="read")
TURN = Turn("a", 0, "acme", "u1", "th", "a", steps=((LOOK, REFUND), (TWICE,)))


def test_call_that_is_planned_twice_is_meant_once() -> None:
    """Both calls would have the effect, whatever the order of their arguments' members; one of them is wanted. What
    reads is neither."""
    body = b'{"payment_id": "pay-1", "amount": 5}'
    effect = Identity("refund_payment", "acme", "u1", payload_hash(body))
    assert TURN.planned() == (effect, effect)
    assert TURN.intended() == (effect,)


def test_message_makes_the_simulated_model_plan_the_turns_calls() -> None:
    """The simulated API reads the steps out of the message, in their order, with their arguments; and what is then sent
    to a tool has the payload hash by which the turn knows its effect. The run goes by the client's id."""
    planned, name = Fate(Script()).plan(TURN.message())
    assert [[call.tool for call in step] for step in planned] == [["get_order", "refund_payment"], ["refund_payment"]]
    assert name == TURN.client_turn_id
    assert msgspec.json.decode(planned[0][1].arguments) == REFUND.arguments
    assert payload_hash(planned[0][1].arguments.encode()) == TURN.intended()[0].payload_hash


def test_turn_without_calls_makes_the_model_plan_none() -> None:
    """A mere question is answered without tools."""
    assert Fate(Script()).plan(msgspec.structs.replace(TURN, steps=()).message())[0] == []
