"""What callers can be told, in short, and one call played with everybody there: a row of the table."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from policies.model import ToolPolicy
from proxy.answer import Answer
from tests.proxy.scripted import Step
from tests.proxy.world import POLICY, World, arrival

EXECUTED, JOINED, REPLAYED = (200, "", "executed"), (200, "", "joined"), (200, "", "replayed")
LOST, TIMED_OUT = (502, "outcome-unknown", "unknown"), (504, "outcome-unknown", "unknown")
UNKNOWN = (409, "outcome-unknown", "unknown")
NOT_SENT = (502, "not-sent", "not-executed")
IN_FLIGHT = (409, "in-flight", "refused")
UNAVAILABLE = (409, "result-unavailable", "refused")
KEY_REUSED = (422, "key-reused", "refused")
STORE_DOWN = (503, "store-unavailable", "refused")
OVERLOADED = (503, "overloaded", "refused")
"""Status, problem and outcome, as `tests.proxy.world.told` has them."""


class Row(Struct):
    """Who got what."""

    first: Answer
    beside: Answer
    afar: Answer
    later: list[Answer]


async def row(story: World, step: Step, policy: ToolPolicy = POLICY) -> Row:
    """Play one call that ends as `step` says, with two joiners and two later arrivals."""
    story.tool.will(step)
    asked = arrival(policy=policy)
    first = story.a.ask(asked)
    await asyncio.sleep(0.005)
    beside, afar = story.a.ask(asked), story.b.ask(asked)
    answers = await asyncio.gather(first, beside, afar)
    await asyncio.sleep(0.1)
    return Row(*answers, [await story.b.answer(asked), await story.a.answer(asked)])
