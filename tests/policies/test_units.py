"""Durations, sizes and status lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.units import duration_ms, show_duration, show_size, show_statuses, size_bytes, statuses


@pytest.mark.parametrize(
    ("text", "ms"),
    [("0s", 0), ("200ms", 200), ("2s", 2_000), ("10m", 600_000), ("24h", 86_400_000), ("7d", 604_800_000)],
)
def test_duration_with_unit_is_milliseconds(text: str, ms: int) -> None:
    """Each unit means what it says."""
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "30", "1.5s", "-1s", "1 s", "1m30s", "2S", "s", "2s\n", "٣s", "9999999999999s", "10:30"]
)
def test_duration_written_any_other_way_is_refused(text: str) -> None:
    """There is one way to write a duration; a number without its unit is not one."""
    with pytest.raises(ValueError, match="has no unit|is not a duration"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("512KiB", 524_288), ("1MiB", 1_048_576), ("1MB", 1_000_000), ("2kB", 2_000), ("1GiB", 2**30)],
)
def test_size_with_unit_is_bytes(text: str, size: int) -> None:
    """KiB and MiB are powers of 1024, kB and MB of 1000."""
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1", "1M", "1mib", "1.5MiB", "1 MiB", "MiB", "1MiB\n"])
def test_size_written_any_other_way_is_refused(text: str) -> None:
    """An M that could be either is not guessed at."""
    with pytest.raises(ValueError, match="has no unit|is not a size"):
        size_bytes(text)


def test_status_class_leaves_408_out() -> None:
    """`4xx` does not make a request time-out final: the tool may have acted on what it had read (fault 26)."""
    assert statuses("4xx") == frozenset(range(400, 500)) - {408}
    assert statuses("408") == {408}


@pytest.mark.parametrize("text", ["1xx", "6xx", "100", "600", "0404", "4XX", "4x", "", "404\n"])
def test_status_that_cannot_settle_a_call_is_refused(text: str) -> None:
    """1xx is no outcome, and there is nothing above 599."""
    with pytest.raises(ValueError, match="neither a status"):
        statuses(text)


@given(st.integers(0, 10**12 - 1))
def test_shown_duration_reads_back_as_itself(ms: int) -> None:
    """What `explain` prints can be pasted into a policy."""
    assert duration_ms(show_duration(ms)) == ms


@given(st.integers(0, 10**12 - 1))
def test_shown_size_reads_back_as_itself(size: int) -> None:
    """What `explain` prints can be pasted into a policy."""
    assert size_bytes(show_size(size)) == size


@given(
    st.frozensets(st.integers(200, 599))
    | st.sets(st.sampled_from(["2xx", "4xx", "408", "5xx"])).map(
        lambda names: frozenset[int]().union(*map(statuses, names))
    )
)
def test_shown_statuses_read_back_as_themselves(found: frozenset[int]) -> None:
    """A class is shown only if all that it means is in the set."""
    assert frozenset[int]().union(*map(statuses, show_statuses(found))) == found
