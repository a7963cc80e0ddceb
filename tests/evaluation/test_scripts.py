"""Scripts: read strictly, drawn from repeatably."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import Struct

from evaluation.scripts import BadScript, Range, chance, convert, load


class Weather(Struct, frozen=True, forbid_unknown_fields=True):
    """A script."""

    rain: Range = Range(0, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rain: [2, 1]", "does not go from low to high"),
        ("rain: [.nan, 1]", "does not go from low to high"),
        ("rain: [1]", "rain"),
        ("snow: 1", "snow"),
        ("rain: [", "not YAML"),
        ("rain: [0, 1]\nrain: [0, 2]", "not YAML"),
    ],
)
def test_bad_script_is_refused_by_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    """A range the wrong way round, an unknown field, broken YAML and a doubled key are told, not guessed at."""
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(BadScript, match=told) as error:
        convert(path, load(path), Weather)
    assert str(error.value).startswith(str(path))


def test_empty_script_is_all_defaults(tmp_path: Path) -> None:
    """An empty file says nothing."""
    path = tmp_path / "script.yaml"
    path.touch()
    assert convert(path, load(path), Weather) == Weather()


def test_chance_depends_on_each_of_its_arguments_and_on_nothing_else() -> None:
    """The same draw again is the same number; another seed, kind, subject or count is another."""
    one = chance(1, "slow", "call", 1)
    assert one == chance(1, "slow", "call", 1)
    others = {
        chance(2, "slow", "call", 1),
        chance(1, "lost", "call", 1),
        chance(1, "slow", "c", 1),
        chance(1, "slow", "call", 2),
    }
    assert len(others | {one}) == 5


def test_chances_are_spread_evenly() -> None:
    """A rate strikes as often as it says: each tenth of the range gets a tenth of 10,000 draws, give or take 4 standard
    deviations."""
    draws = [chance(7, "slow", f"call_{number}", 1) for number in range(10_000)]
    tenths = [sum(int(draw * 10) == tenth for draw in draws) for tenth in range(10)]
    assert sum(tenths) == 10_000
    assert all(abs(count - 1000) < 120 for count in tenths)


def test_range_is_drawn_from_evenly() -> None:
    """The draw says how far from low to high."""
    assert [Range(1, 3).at(draw) for draw in (0, 0.5, 1)] == [1, 2, 3]
