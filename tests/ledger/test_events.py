"""Events are values, and none is left out of the union that the table of states goes through."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
from msgspec import Struct

from ledger import events
from ledger.events import AttemptEnd, Happening
from tests.ledger.samples import ENDINGS, FINDINGS, NEW, ending

KINDS = {kind for _, kind in inspect.getmembers(events, inspect.isclass) if kind.__module__ == events.__name__}


def test_every_event_is_one_of_the_happenings() -> None:
    """What is not in the union would not be asked for by `assert_never` where a case is missing."""
    assert set(get_args(Happening)) == {kind for kind in KINDS if issubclass(kind, Struct)}


@pytest.mark.parametrize("kind", get_args(AttemptEnd))
def test_every_end_of_an_attempt_names_its_token(kind: type[Struct]) -> None:
    """An attempt speaks for itself alone (rule 5)."""
    assert kind.__struct_fields__[0] == "token"


@pytest.mark.parametrize("event", [*(ending(how, NEW) for how in ENDINGS), *FINDINGS.values()], ids=str)
def test_events_are_values(event: Struct) -> None:
    """Nobody changes one on its way, and two that say the same are the same."""
    assert type(event).__struct_config__.frozen
    assert type(event)(**{name: getattr(event, name) for name in event.__struct_fields__}) == event
