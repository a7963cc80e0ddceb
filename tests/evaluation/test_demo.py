"""What the demo takes for proof, and what it does not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from evaluation.agent_run import AgentRun
from evaluation.demo import Replay, Side, checks
from evaluation.incident import FIRST, SECOND, Answer
from tests.evaluation.conftest import effect

DIRECT = Side(
    name="directly",
    timeline=(),
    audit=(effect("tkt_901", SECOND), effect("tkt_900", FIRST)),
    arrivals=2,
    first=None,
    second=Answer(201, "tkt_901"),
)
GUARDED = Side(
    name="through holdfast",
    timeline=(),
    audit=(effect("tkt_900", FIRST),),
    arrivals=1,
    first=None,
    second=Answer(201, "tkt_900", "joined", late=True),
)


AGENT = AgentRun({}, (), (), ())


def holds(direct: Side, guarded: Side) -> bool:
    """Say whether the two stories pass."""
    return Replay(1.0, direct, guarded, checks(direct, guarded), AGENT).holds


def test_two_tickets_against_one_and_the_late_result_holds() -> None:
    """The incident without Holdfast and its absence with it is what the demo claims."""
    assert holds(DIRECT, GUARDED)


@pytest.mark.parametrize(
    "guarded",
    [
        replace(GUARDED, audit=DIRECT.audit, arrivals=2),
        replace(GUARDED, audit=()),
        replace(GUARDED, arrivals=2),
        replace(GUARDED, second=None),
        replace(GUARDED, second=Answer(409, "", "refused")),
        replace(GUARDED, second=Answer(201, "tkt_901", "joined", late=True)),
        replace(GUARDED, second=Answer(201, "tkt_900", "joined", late=False)),
        replace(GUARDED, audit=(effect("tkt_900", SECOND),)),
        replace(GUARDED, first=Answer(201, "tkt_900")),
    ],
)
def test_guarded_story_that_is_otherwise_fails(guarded: Side) -> None:
    """A second execution, a lost or foreign result, or no time-out at all: each of them fails the demo."""
    assert not holds(DIRECT, guarded)


@pytest.mark.parametrize(
    "direct", [replace(DIRECT, audit=DIRECT.audit[:1]), replace(DIRECT, first=Answer(201, "tkt_900"))]
)
def test_direct_story_without_the_incident_fails(direct: Side) -> None:
    """A demo whose tool did not show the fault proves nothing, and says so."""
    assert not holds(direct, GUARDED)
