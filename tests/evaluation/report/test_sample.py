"""What a sample of the calls tells, and how far off it is."""

from __future__ import annotations

from collections import Counter

import pytest

from evaluation.report.sample import told_by_samples
from tests.evaluation.replay.audits import effect, identity

USERS = [identity(f"p{number}", user=f"u{number % 7}") for number in range(200)]
MEANT = Counter(USERS)
ONCE = [effect(one, call=f"call_{place}") for place, one in enumerate(USERS)]


def test_sample_of_what_was_done_once_finds_nothing() -> None:
    """And is right; by call and by intent about 30 % of the effects are in it."""
    for told in told_by_samples(ONCE, MEANT, seed=1):
        assert (told.estimate, told.truth, told.bias, told.rmse) == (0, 0, 0, 0)
        assert 35 < told.effects < 85


def test_sample_of_calls_misses_most_duplicates_under_other_ids() -> None:
    """It has both halves of one with 0.3 x 0.3, so that it tells 0.3 of them; one of intents is right on average."""
    again = [effect(one, call=f"again_{place}") for place, one in enumerate(USERS)]
    by_call, by_intent = told_by_samples([*ONCE, *again], MEANT, seed=1)
    assert (by_call.by, by_intent.by) == ("call", "intent")
    assert by_call.truth == by_intent.truth == 200
    assert by_call.bias == pytest.approx(-0.7 * 200, abs=10)
    assert by_intent.bias == pytest.approx(0, abs=10)
    assert by_call.rmse > by_intent.rmse >= abs(by_intent.bias)


def test_sample_of_calls_sees_duplicates_under_one_id() -> None:
    """All attempts of a call go the same way."""
    again = [effect(one, call=f"call_{place}") for place, one in enumerate(USERS)]
    by_call, _ = told_by_samples([*ONCE, *again], MEANT, seed=1)
    assert by_call.bias == pytest.approx(0, abs=10)
    assert abs(by_call.estimate - 200) < 4 * by_call.standard_error


def test_same_seed_tells_the_same() -> None:
    """And another one something else."""
    again = [*ONCE, *(effect(one, call="call_again") for one in USERS[:50])]
    assert told_by_samples(again, MEANT, 1) == told_by_samples(again, MEANT, 1) != told_by_samples(again, MEANT, 2)
